/** What KafkaJS's admin client does: topics, offsets, groups, configs. */
const assert = require('node:assert/strict')
const { ConfigResourceTypes } = require('kafkajs')
const { next, texts, until } = require('../world')

/** createTopics with numPartitions: true for a new topic, false for one that is there; listed, described. */
exports.topics_are_created_listed_and_described = async world => {
  const admin = await world.admin()
  const topics = [{ topic: world.topic, numPartitions: 3, configEntries: [{ name: 'retention.ms', value: '7654321' }] }]
  assert.equal(await admin.createTopics({ topics }), true)
  assert.equal(await admin.createTopics({ topics }), false)
  assert.ok((await admin.listTopics()).includes(world.topic))
  const metadata = await admin.fetchTopicMetadata({ topics: [world.topic] })
  assert.equal(metadata.topics.length, 1)
  const partitions = metadata.topics[0].partitions.sort((a, b) => a.partitionId - b.partitionId)
  assert.deepEqual(
    partitions.map(({ partitionId, leader, replicas, isr }) => [partitionId, leader, replicas, isr]),
    [0, 1, 2].map(index => [index, 1, [1], [1]])
  )
}

/** validateOnly answers as the real thing would and creates nothing. */
exports.validate_only_creates_nothing = async world => {
  const admin = await world.admin()
  const topics = [{ topic: world.topic, numPartitions: 2 }]
  // Without waitForLeaders: false KafkaJS would wait for the leaders of a topic that it did not create.
  assert.equal(await admin.createTopics({ validateOnly: true, waitForLeaders: false, topics }), true)
  assert.ok(!(await admin.listTopics()).includes(world.topic))
}

/** Bad requests come back as the error of each topic, by Kafka's names. */
exports.bad_topics_are_refused_by_name = async world => {
  const admin = await world.admin()
  const refusal = async topics => {
    const error = await admin.createTopics({ topics }).then(
      () => assert.fail(`${JSON.stringify(topics)} was created`),
      failure => failure
    )
    return [error.name, ...error.errors.map(each => each.type)]
  }
  const failed = 'KafkaJSAggregateError'
  assert.deepEqual(await refusal([{ topic: 'a name with spaces' }]), [failed, 'INVALID_TOPIC_EXCEPTION'])
  assert.deepEqual(await refusal([{ topic: world.topic, numPartitions: 0 }]), [failed, 'INVALID_PARTITIONS'])
  assert.deepEqual(await refusal([{ topic: world.topic, replicationFactor: 2 }]), [failed, 'INVALID_REPLICATION_FACTOR'])
  const nonsense = [{ name: 'no.such.setting', value: '1' }]
  assert.deepEqual(await refusal([{ topic: world.topic, configEntries: nonsense }]), [failed, 'INVALID_CONFIG'])
  assert.ok(!(await admin.listTopics()).includes(world.topic))
}

/** createPartitions grows a topic; records of the old partitions stay, and the new ones are empty. */
exports.partitions_are_added = async world => {
  await world.createTopic(1)
  await world.fill(5)
  const admin = await world.admin()
  await admin.createPartitions({ topicPartitions: [{ topic: world.topic, count: 3 }] })
  await until(
    async () => (await admin.fetchTopicMetadata({ topics: [world.topic] })).topics[0].partitions.length === 3,
    'three partitions'
  )
  const offsets = await admin.fetchTopicOffsets(world.topic)
  assert.deepEqual(Object.fromEntries(offsets.map(({ partition, high }) => [partition, high])), { 0: '5', 1: '0', 2: '0' })
  const fewer = admin.createPartitions({ topicPartitions: [{ topic: world.topic, count: 2 }] })
  await assert.rejects(fewer, { type: 'INVALID_PARTITIONS' })
}

/** A deleted topic is gone from the list, and its name can be used again for an empty one. */
exports.topics_are_deleted = async world => {
  await world.createTopic(2)
  await world.fill(4)
  const admin = await world.admin()
  await admin.deleteTopics({ topics: [world.topic] })
  await until(async () => !(await admin.listTopics()).includes(world.topic), 'the topic is gone')
  await until(() => admin.createTopics({ topics: [{ topic: world.topic }] }), 'the topic is created again')
  assert.deepEqual(await admin.fetchTopicOffsets(world.topic), [{ partition: 0, offset: '0', high: '0', low: '0' }])
}

/** fetchTopicOffsets and fetchTopicOffsetsByTimestamp tell where each partition begins, ends and was at a time. */
exports.offsets_of_topics = async world => {
  await world.createTopic(2)
  const producer = await world.producer()
  const at = 1_700_000_000_000
  const messages = Array.from({ length: 10 }, (_, number) => ({
    value: String(number),
    partition: 1,
    timestamp: String(at + 10 * number),
  }))
  await producer.send({ topic: world.topic, messages })
  const admin = await world.admin()
  const order = (a, b) => a.partition - b.partition
  assert.deepEqual((await admin.fetchTopicOffsets(world.topic)).sort(order), [
    { partition: 0, offset: '0', high: '0', low: '0' },
    { partition: 1, offset: '10', high: '10', low: '0' },
  ])
  const byTime = await admin.fetchTopicOffsetsByTimestamp(world.topic, at + 35)
  // Where nothing is as late as that, KafkaJS gives the end of the partition.
  assert.deepEqual(byTime.sort(order), [
    { partition: 0, offset: '0' },
    { partition: 1, offset: '4' },
  ])
}

/** describeCluster names this broker, the controller and the cluster. */
exports.cluster_is_described = async world => {
  const cluster = await (await world.admin()).describeCluster()
  assert.deepEqual(
    cluster.brokers.map(({ nodeId, host, port }) => [nodeId, `${host}:${port}`]),
    [[1, world.bootstrap]]
  )
  assert.equal(cluster.controller, 1)
  assert.equal(cluster.clusterId.length, 22)
}

/** describeConfigs gives a topic's own value and the broker's defaults. */
exports.configs_are_described = async world => {
  const admin = await world.admin()
  const configEntries = [{ name: 'cleanup.policy', value: 'delete' }, { name: 'max.message.bytes', value: '2097152' }]
  await admin.createTopics({ topics: [{ topic: world.topic, configEntries }] })
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [
      { type: ConfigResourceTypes.TOPIC, name: world.topic, configNames: ['max.message.bytes', 'segment.bytes'] },
      { type: ConfigResourceTypes.BROKER, name: '1', configNames: ['num.partitions'] },
    ],
  })
  const values = resources.flatMap(each => each.configEntries.map(({ configName, configValue }) => [configName, configValue]))
  assert.deepEqual(Object.fromEntries(values), {
    'max.message.bytes': '2097152',
    'segment.bytes': '1073741824',
    'num.partitions': '1',
  })
}

/** A group is listed and described while it works and when it is empty; deleted only then. */
exports.groups_are_listed_described_and_deleted = async world => {
  await world.createTopic(2)
  const admin = await world.admin()
  const consumer = await world.consumer()
  await consumer.subscribe({ topics: [world.topic] })
  const joined = next(consumer, consumer.events.GROUP_JOIN)
  await consumer.run({ eachMessage: async () => {} })
  const { memberId } = await joined
  assert.ok((await admin.listGroups()).groups.some(each => each.groupId === world.group && each.protocolType === 'consumer'))
  const describe = async () => (await admin.describeGroups([world.group])).groups[0]
  const stable = await describe()
  assert.deepEqual(
    [stable.state, stable.protocolType, stable.protocol, stable.members.map(each => [each.memberId, each.clientId])],
    ['Stable', 'consumer', 'RoundRobinAssigner', [[memberId, 'ottla-tests']]]
  )
  await assert.rejects(admin.deleteGroups([world.group]), error => error.groups[0].error.type === 'NON_EMPTY_GROUP')
  await consumer.stop()
  const empty = await describe()
  assert.deepEqual([empty.state, empty.members], ['Empty', []])
  assert.deepEqual(
    (await admin.deleteGroups([world.group])).map(({ groupId, errorCode }) => [groupId, errorCode]),
    [[world.group, 0]]
  )
  assert.equal((await describe()).state, 'Dead')
  assert.ok(!(await admin.listGroups()).groups.some(each => each.groupId === world.group))
}

/**
 * setOffsets and resetOffsets move groups without members.
 * At once and each on a connection of its own, as KafkaJS joins each group for the 5 s of a fetch that finds nothing.
 */
exports.offsets_of_groups_are_set_and_reset = async world => {
  await world.createTopic(2)
  await world.fill(20, { partitions: 2 })
  const admin = await world.admin()
  const { topic, group } = world
  assert.deepEqual(await world.committed(), { 0: -1, 1: -1 })
  const partitions = [{ partition: 0, offset: '3' }, { partition: 1, offset: '7' }]
  const another = await world.open(world.kafka.admin())
  await Promise.all([
    admin.setOffsets({ groupId: group, topic, partitions }),
    another.resetOffsets({ groupId: `${group}-earliest`, topic, earliest: true }),
  ])
  assert.deepEqual(await world.committed(), { 0: 3, 1: 7 })
  // KafkaJS commits -2 for "the beginning", and its consumers understand that.
  assert.deepEqual(await world.committed(`${group}-earliest`), { 0: -2, 1: -2 })
}

/** alterConfigs sets what it names and takes everything else back to its default. */
exports.configs_are_altered = async world => {
  const admin = await world.admin()
  await admin.createTopics({ topics: [{ topic: world.topic, configEntries: [{ name: 'retention.ms', value: '1000000' }] }] })
  const resource = { type: ConfigResourceTypes.TOPIC, name: world.topic }
  const alter = (name, value) => admin.alterConfigs({ resources: [{ ...resource, configEntries: [{ name, value }] }] })
  await alter('max.message.bytes', '2097152')
  const value = async name => {
    const { resources } = await admin.describeConfigs({ resources: [{ ...resource, configNames: [name] }] })
    return resources[0].configEntries[0].configValue
  }
  assert.equal(await value('max.message.bytes'), '2097152')
  assert.equal(await value('retention.ms'), '604800000')
  await assert.rejects(alter('retention.ms', 'a week'), { type: 'INVALID_CONFIG' })
  assert.equal(await value('max.message.bytes'), '2097152')
}

/** deleteTopicRecords moves the beginning of a partition; who reads from the beginning starts there. */
exports.records_are_deleted = async world => {
  await world.createTopic()
  await world.fill(10)
  const admin = await world.admin()
  await admin.fetchTopicOffsets(world.topic) // deleteTopicRecords knows no leader unless something has asked before
  await admin.deleteTopicRecords({ topic: world.topic, partitions: [{ partition: 0, offset: '6' }] })
  assert.deepEqual(await admin.fetchTopicOffsets(world.topic), [{ partition: 0, offset: '10', high: '10', low: '6' }])
  assert.deepEqual(texts(await world.readAll(4)), ['6', '7', '8', '9'])
}
