/** Producing: codecs, acknowledgements, shapes of records, and how a record finds its partition. */
const assert = require('node:assert/strict')
const { CompressionTypes } = require('kafkajs')
const { byPlace, texts } = require('../world')

const everyCodec = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

async function comesBackWhole(world, codec) {
  await world.createTopic()
  const producer = await world.producer()
  const messages = Array.from({ length: 300 }, (_, number) => ({
    key: `key ${number}`,
    value: `value ${number} ${'x'.repeat(number)}`,
  }))
  const [answer] = await producer.send({ topic: world.topic, messages, compression: CompressionTypes[everyCodec[codec]] })
  assert.deepEqual([answer.partition, answer.errorCode, answer.baseOffset], [0, 0, '0'])
  const found = await world.readAll(300)
  assert.deepEqual(
    found.map(({ offset, key, value }) => ({ offset, key: key.toString(), value: value.toString() })),
    messages.map((message, number) => ({ offset: String(number), ...message }))
  )
}

/** Uncompressed records come back byte for byte. */
exports.codec_none = world => comesBackWhole(world, 'none')
/** KafkaJS's own codec. */
exports.codec_gzip = world => comesBackWhole(world, 'gzip')
/** kafkajs-snappy, which frames like Xerial's. */
exports.codec_snappy = world => comesBackWhole(world, 'snappy')
/** An lz4 frame. */
exports.codec_lz4 = world => comesBackWhole(world, 'lz4')
/** A zstd frame. */
exports.codec_zstd = world => comesBackWhole(world, 'zstd')

/** acks 0 returns nothing, 1 and -1 the offset; all three records are there. */
exports.every_kind_of_acknowledgement = async world => {
  await world.createTopic()
  const producer = await world.producer()
  const send = async acks => (await producer.send({ topic: world.topic, acks, messages: [{ value: `acks ${acks}` }] }))[0]
  assert.equal((await send(-1)).baseOffset, '0')
  assert.equal((await send(1)).baseOffset, '1')
  assert.equal(await send(0), undefined)
  assert.deepEqual(texts(await world.readAll(3)), ['acks -1', 'acks 1', 'acks 0'])
}

/** An idempotent producer gets its id and numbers its batches; nothing is there twice. */
exports.idempotent_producer = async world => {
  await world.createTopic()
  const producer = await world.producer({ idempotent: true, maxInFlightRequests: 1 })
  for (let round = 0; round < 5; round += 1) {
    const [{ baseOffset }] = await producer.send({ topic: world.topic, messages: [{ value: `a ${round}` }, { value: 'b' }] })
    assert.equal(baseOffset, String(2 * round))
  }
  assert.equal((await world.readAll(10)).length, 10)
}

/** Headers with one and several values, tombstones, empty values, own timestamps. */
exports.shapes_of_records = async world => {
  await world.createTopic()
  const producer = await world.producer()
  const timestamp = '1700000000123'
  const messages = [
    { key: 'k', value: null, timestamp },
    { key: null, value: '', headers: { one: 'first', many: ['a', 'b'], bytes: Buffer.from([0, 255]) } },
    { value: Buffer.from([0, 1, 254, 255]) },
  ]
  await producer.send({ topic: world.topic, messages })
  const [tombstone, withHeaders, bytes] = await world.readAll(3)
  assert.deepEqual([tombstone.key.toString(), tombstone.value, tombstone.timestamp], ['k', null, timestamp])
  assert.deepEqual([withHeaders.key, withHeaders.value.length], [null, 0])
  assert.equal(withHeaders.headers.one.toString(), 'first')
  assert.deepEqual(withHeaders.headers.many.map(String), ['a', 'b'])
  assert.deepEqual([...withHeaders.headers.bytes], [0, 255])
  assert.deepEqual([...bytes.value], [0, 1, 254, 255])
}

/** The default partitioner puts a key where Java's puts it: the expected partitions are murmur2's. */
exports.keys_choose_partitions_as_in_java = async world => {
  await world.createTopic(6)
  const producer = await world.producer()
  const keys = ['north', 'south', 'east', 'west', '', '42']
  await producer.send({ topic: world.topic, messages: keys.map(key => ({ key, value: key })) })
  const found = await world.readAll(keys.length)
  assert.deepEqual(
    Object.fromEntries(found.map(({ key, partition }) => [key.toString(), partition])),
    { north: 2, south: 5, east: 0, west: 5, '': 3, 42: 4 }
  )
}

/** A partitioner of one's own is asked for each message and sees the topic, its partitions and the message. */
exports.custom_partitioner = async world => {
  await world.createTopic(3)
  const seen = []
  const createPartitioner = () => ({ topic, partitionMetadata, message }) => {
    seen.push([topic, partitionMetadata.length])
    return { north: 0, south: 2 }[message.headers.region]
  }
  const producer = await world.producer({ createPartitioner })
  const regions = ['north', 'south', 'south', 'north']
  await producer.send({
    topic: world.topic,
    messages: regions.map((region, number) => ({ value: String(number), headers: { region } })),
  })
  const found = (await world.readAll(4)).sort(byPlace)
  assert.deepEqual(found.map(({ partition, value }) => [partition, value.toString()]), [[0, '0'], [0, '3'], [2, '1'], [2, '2']])
  assert.deepEqual(seen, regions.map(() => [world.topic, 3]))
}

/** An explicit partition wins over the key. */
exports.explicit_partition = async world => {
  await world.createTopic(2)
  const producer = await world.producer()
  const messages = [{ key: 'same', value: 'a', partition: 1 }, { key: 'same', value: 'b', partition: 0 }]
  await producer.send({ topic: world.topic, messages })
  const found = (await world.readAll(2)).sort(byPlace)
  assert.deepEqual(found.map(({ partition, value }) => [partition, value.toString()]), [[0, 'b'], [1, 'a']])
}

/** sendBatch reaches several topics at once. */
exports.batch_for_two_topics = async world => {
  const other = `${world.topic}-other`
  await world.createTopic(1)
  await world.createTopic(1, other)
  const producer = await world.producer()
  await producer.sendBatch({
    topicMessages: [
      { topic: world.topic, messages: [{ value: 'one' }] },
      { topic: other, messages: [{ value: 'two' }, { value: 'three' }] },
    ],
  })
  assert.deepEqual(texts(await world.readAll(1)), ['one'])
  const admin = await world.admin()
  assert.deepEqual((await admin.fetchTopicOffsets(other)).map(({ high }) => high), ['2'])
}

/** A topic that nobody created exists after the first record, with the broker's number of partitions. */
exports.first_record_creates_the_topic = async world => {
  const producer = await world.producer()
  await producer.send({ topic: world.topic, messages: [{ value: 'first' }] })
  assert.deepEqual(texts(await world.readAll(1)), ['first'])
  const admin = await world.admin()
  assert.equal((await admin.fetchTopicMetadata({ topics: [world.topic] })).topics[0].partitions.length, 1)
}
