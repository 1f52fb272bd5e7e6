const { kafka } = require('./client')

async function setUp() {
  const admin = kafka.admin()
  console.log('admin connects')
  await admin.connect()
  console.log('admin connected')

  await admin.createTopics({
    topics: [{ topic: 'taxi-positions', numPartitions: 2 }],
  })
  console.log('topics:', await admin.listTopics())

  await admin.disconnect()
}

setUp()
