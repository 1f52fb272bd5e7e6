/**
 * A program of a chaos run with KafkaJS: node chaos.js transform PROCESS BOOTSTRAP key=value ... (tests/history/programs).
 *
 * KafkaJS commits the offsets of a transaction without its member's generation, so that a group of several of these could
 * do its work twice: it is run alone in its group.
 */
const fs = require('fs')
const { Kafka, logLevel, Partitioners } = require('kafkajs')

const [role, name, bootstrap, ...words] = process.argv.slice(2)
const options = Object.fromEntries(words.map(word => word.split(/=(.*)/s).slice(0, 2)))
const group = options.group
let stopped = false

/** Straight to the pipe: what lies in a buffer dies with the process. */
function tell(event, fields = {}) {
  const at = Math.round((performance.timeOrigin + performance.now()) * 1000)
  const line = Buffer.from(JSON.stringify({ event, at, process: name, ...fields }) + '\n')
  for (let written = 0; written < line.length; ) {
    try {
      written += fs.writeSync(1, line, written)
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

function end(error) {
  tell('ended', error === undefined ? {} : { error: String(error) })
  process.exit(error === undefined ? 0 : 1)
}

/** Tries again what failed on the way; what the coordinator refuses is for the caller. */
async function again(work) {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!/Connection|Timeout|Closed|NumberOfRetries/.test(error.name)) throw error
    }
  }
}

async function transform() {
  const kafka = new Kafka({
    clientId: name,
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 30, retries: 30, maxRetryTime: 500 },
  })
  const producer = kafka.producer({
    transactionalId: options.id,
    idempotent: true,
    maxInFlightRequests: 1,
    transactionTimeout: 10000,
    createPartitioner: Partitioners.DefaultPartitioner,
  })
  await producer.connect()
  // The producer id is asked for with the first transaction; an empty one has the id without having written anything.
  const first = await again(() => producer.transaction())
  await first.abort()
  tell('initialized', { transactional_id: options.id })
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: Number(options.session_ms ?? 6000),
    heartbeatInterval: 300,
    maxWaitTimeInMs: 100,
    maxBytesPerPartition: 2000,
  })
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    const partitions = payload.memberAssignment[options.source] ?? []
    if (partitions.length > 0) {
      tell('assigned', { group, partitions: partitions.map(partition => [options.source, partition]) })
    }
  })
  await consumer.connect()
  await consumer.subscribe({ topics: [options.source], fromBeginning: true })
  let number = 0
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset }) => {
      if (stopped || batch.messages.length === 0) return
      number += 1
      const txn = `${name}/${number}`
      const { topic, partition, messages } = batch
      tell('begin', { txn })
      const records = messages.map(({ offset, value }) => [topic, partition, Number(offset), value.toString()])
      tell('poll', { isolation: 'committed', records, group, txn })
      const done = await inTransaction(producer, txn, records, partition, number)
      if (done === undefined) return end(`${txn} has no known outcome`)
      if (done) return resolveOffset(messages.at(-1).offset)
      tell('seek', { positions: [[topic, partition, records[0][2]]] })
      consumer.seek({ topic, partition, offset: messages[0].offset })
    },
  })
  consumer.on(consumer.events.CRASH, ({ payload }) => end(payload.error))
  process.once('SIGTERM', async () => {
    stopped = true
    await consumer.disconnect()
    await producer.disconnect()
    end()
  })
}

/** True if committed, false if aborted, undefined if nobody can know. */
async function inTransaction(producer, txn, records, partition, number) {
  const [topic, , first] = records[0]
  const values = records.map(([, , , value]) => `${value}~${txn}`)
  let transaction
  try {
    transaction = await producer.transaction()
    records.forEach(([, , offset], at) =>
      tell('send', { topic: options.target, partition, value: values[at], txn, cause: [topic, partition, offset] })
    )
    const messages = values.map(value => ({ value, partition }))
    const [{ baseOffset }] = await transaction.send({ topic: options.target, messages })
    values.forEach((value, at) =>
      tell('sent', { topic: options.target, partition, offset: Number(baseOffset) + at, value })
    )
    const next = records.at(-1)[2] + 1
    tell('commit_offsets', { group, offsets: [[topic, partition, next]], txn })
    const offsets = [{ partition, offset: String(next) }]
    await transaction.sendOffsets({ consumerGroupId: group, topics: [{ topic, partitions: offsets }] })
    if (number === Number(options.dies_in ?? 0)) {
      tell('fault', { what: 'dies', target: name })
      process.kill(process.pid, 'SIGKILL')
    }
    const every = Number(options.abort_every ?? 0)
    if (every > 0 && number % every === 0) throw new Error('aborted on purpose')
  } catch (error) {
    tell('abort', { txn })
    try {
      await transaction.abort()
    } catch (second) {
      tell('unsure', { txn, error: `${error}; ${second}` })
      return undefined
    }
    tell('aborted', { txn })
    return false
  }
  tell('commit', { txn })
  try {
    await transaction.commit()
  } catch (error) {
    tell('unsure', { txn, error: String(error) })
    return undefined
  }
  tell('committed', { txn })
  return true
}

if (role !== 'transform') throw new Error(`no role is called ${role}`)
transform().catch(end)
