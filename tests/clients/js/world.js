/** What a case works with: clients that are closed behind it, and waiting on conditions instead of sleeping. */
const { Kafka, logLevel, Partitioners } = require('kafkajs')

const WAIT_MS = 30_000

/** Resolves with the first truthy value of `condition`, asked again whenever `changed` was called and every 20 ms. */
async function until(condition, what, wait_ms = WAIT_MS) {
  const deadline = Date.now() + wait_ms
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`not within ${wait_ms} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

class World {
  constructor(bootstrap, unique) {
    this.bootstrap = bootstrap
    /** A name nobody else uses, for the topic and the group of this case. */
    this.topic = unique
    this.group = unique
    this.kafka = this.client()
    this.closers = []
  }

  client(config = {}) {
    return new Kafka({
      clientId: 'ottla-tests',
      brokers: [this.bootstrap],
      logLevel: logLevel.NOTHING,
      retry: { initialRetryTime: 30, retries: 8 },
      ...config,
    })
  }

  /** Connected, and disconnected when the case is over. */
  async open(client) {
    this.closers.push(() => client.disconnect())
    await client.connect()
    return client
  }

  async admin() {
    this.openAdmin ??= await this.open(this.kafka.admin())
    return this.openAdmin
  }

  async producer(config = {}) {
    return this.open(this.kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...config }))
  }

  /** A member that notices a rebalance within 100 ms. KafkaJS sends heartbeats between fetches, so these are short. */
  async consumer(config = {}, kafka = this.kafka) {
    return this.open(
      kafka.consumer({ groupId: this.group, maxWaitTimeInMs: 100, heartbeatInterval: 50, sessionTimeout: 6000, ...config })
    )
  }

  async createTopic(numPartitions = 1, topic = this.topic) {
    const admin = await this.admin()
    await admin.createTopics({ topics: [{ topic, numPartitions }] })
  }

  /** Produces values "0", "1", ... one partition after the other. */
  async fill(count, { partitions = 1, topic = this.topic, first = 0 } = {}) {
    const producer = await this.producer()
    const messages = Array.from({ length: count }, (_, at) => ({
      value: String(first + at),
      partition: (first + at) % partitions,
    }))
    await producer.send({ topic, messages })
  }

  /** Reads from the beginning in a group of its own until `count` records are there. */
  async readAll(count, topic = this.topic) {
    const consumer = await this.consumer({ groupId: `${this.group}-reader` })
    const found = []
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({ eachMessage: async ({ partition, message }) => void found.push({ partition, ...message }) })
    await until(() => found.length >= count, `${count} records, so far ${found.length}`)
    await consumer.stop()
    return found
  }

  /** The committed offset of each partition, as the group's coordinator tells it; -1 where there is none. */
  async committed(group = this.group, topic = this.topic) {
    const admin = await this.admin()
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return Object.fromEntries(partitions.map(({ partition, offset }) => [partition, Number(offset)]))
  }

  async close() {
    for (const closer of this.closers.reverse()) await closer()
  }
}

/** The next event of a kind; call it before what causes the event. */
function next(consumer, event) {
  return new Promise(resolve => {
    const remove = consumer.on(event, ({ payload }) => {
      remove()
      resolve(payload)
    })
  })
}

const byPlace = (a, b) => a.partition - b.partition || Number(a.offset) - Number(b.offset)
const texts = messages => messages.map(({ value }) => (value === null ? null : value.toString()))

module.exports = { World, until, next, byPlace, texts }
