// node consumer.js GROUP, in as many terminals as you like.
const { kafka } = require('./client')

const group = process.argv[2]

async function main() {
  const consumer = kafka.consumer({ groupId: group })
  await consumer.connect()
  await consumer.subscribe({ topics: ['taxi-positions'], fromBeginning: true })

  await consumer.run({
    eachMessage: async ({ topic, partition, message, heartbeat, pause }) => {
      console.log(`${group}: [${topic}]: PART:${partition}:`, message.value.toString())
    },
  })
}

main()
