const { Kafka } = require('kafkajs')

module.exports.kafka = new Kafka({
  clientId: 'taxi-rank',
  brokers: ['localhost:9092'],
})
