/**
 * One member of a group, as a process: node member.js BOOTSTRAP TOPIC SESSION_MS [GROUP]
 *
 * Without GROUP it has a group of its own, named after its process as tutorials do. Each line on stdout is one event:
 * {"event": "owns", "partitions": [...]}, {"event": "record", "partition": 0, "offset": 5, "value": "..."} or
 * {"event": "crash", "error": "..."}. SIGTERM makes it leave the group.
 */
const { Kafka, logLevel } = require('kafkajs')

const [bootstrap, topic, session_ms, group] = process.argv.slice(2)
const kafka = new Kafka({ clientId: 'member', brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { initialRetryTime: 50 } })
const consumer = kafka.consumer({
  groupId: group ?? `readers-${process.pid}`,
  sessionTimeout: Number(session_ms),
  heartbeatInterval: 100,
  maxWaitTimeInMs: 100,
})
const tell = event => console.log(JSON.stringify(event))

consumer.on(consumer.events.GROUP_JOIN, ({ payload }) =>
  tell({ event: 'owns', group: payload.groupId, partitions: payload.memberAssignment[topic] ?? [] })
)
consumer.on(consumer.events.CRASH, ({ payload }) => tell({ event: 'crash', error: String(payload.error) }))
process.once('SIGTERM', () => consumer.disconnect())

async function main() {
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) =>
      tell({ event: 'record', partition, offset: Number(message.offset), value: message.value.toString() }),
  })
}

main()
