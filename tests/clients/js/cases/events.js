/** What KafkaJS tells about a consumer's life: joined, rebalancing, crashed, stopped. */
const assert = require('node:assert/strict')
const { next, until } = require('../world')

/** Runs a consumer and keeps every event of the kinds named. */
async function watched(world, kinds, options, config = {}, kafka = undefined) {
  const consumer = await world.consumer(config, kafka)
  const seen = []
  for (const kind of kinds) {
    consumer.on(consumer.events[kind], ({ type, payload }) => void seen.push({ kind, type, ...payload }))
  }
  await consumer.subscribe({ topics: [world.topic], fromBeginning: true })
  await consumer.run(options)
  return { consumer, seen, of: kind => seen.filter(each => each.kind === kind) }
}

/** consumer.group_join says who leads, by which protocol, and what this member owns. */
exports.group_join = async world => {
  await world.createTopic(3)
  const { of } = await watched(world, ['GROUP_JOIN'], { eachMessage: async () => {} })
  await until(() => of('GROUP_JOIN').length > 0, 'joined')
  const [event] = of('GROUP_JOIN')
  assert.equal(event.type, 'consumer.group_join')
  assert.deepEqual([event.groupId, event.isLeader, event.leaderId], [world.group, true, event.memberId])
  assert.equal(event.groupProtocol, 'RoundRobinAssigner')
  assert.deepEqual(event.memberAssignment, { [world.topic]: [0, 1, 2] })
}

/** consumer.rebalancing comes when a second member joins and when it leaves; each time the first joins again. */
exports.rebalancing = async world => {
  await world.createTopic(4)
  const kinds = ['GROUP_JOIN', 'REBALANCING']
  const first = await watched(world, kinds, { eachMessage: async () => {} })
  const owned = ({ of }) => of('GROUP_JOIN').at(-1)?.memberAssignment[world.topic] ?? []
  await until(() => owned(first).length === 4, 'the first owns everything')
  const second = await watched(world, kinds, { eachMessage: async () => {} })
  await until(() => owned(first).length === 2 && owned(second).length === 2, 'each owns half')
  assert.deepEqual([...owned(first), ...owned(second)].sort(), [0, 1, 2, 3])
  const [event] = first.of('REBALANCING')
  assert.deepEqual([event.type, event.groupId], ['consumer.rebalancing', world.group])
  assert.equal(event.memberId, first.of('GROUP_JOIN')[0].memberId)
  const before = first.of('REBALANCING').length
  await second.consumer.disconnect()
  await until(() => owned(first).length === 4, 'the first owns everything again')
  assert.ok(first.of('REBALANCING').length > before)
  assert.equal(first.of('GROUP_JOIN').at(-1).memberId, event.memberId)
}

/** A handler that keeps failing ends in consumer.crash; KafkaJS restarts the consumer, which goes on at that record. */
exports.crash_and_restart = async world => {
  await world.createTopic()
  await world.fill(3)
  const kafka = world.client({ retry: { initialRetryTime: 20, retries: 1 } })
  const started = []
  let failing = true
  const eachMessage = async ({ message }) => {
    started.push(message.offset)
    if (failing && message.offset === '1') throw new Error('cannot cope')
  }
  const { of } = await watched(world, ['CRASH'], { eachMessage }, {}, kafka)
  await until(() => of('CRASH').length > 0, 'the crash')
  const [event] = of('CRASH')
  assert.deepEqual([event.type, event.groupId, event.restart], ['consumer.crash', world.group, true])
  assert.deepEqual([event.error.name, event.error.cause.message], ['KafkaJSNumberOfRetriesExceeded', 'cannot cope'])
  failing = false
  await until(async () => (await world.committed())[0] === 3, 'everything is committed')
  assert.equal(started.filter(offset => offset === '0').length, 1)
  assert.deepEqual(started.slice(-2), ['1', '2'])
}

/** restartOnFailure false: the crash is final, and the member has left its group. */
exports.crash_for_good = async world => {
  await world.createTopic()
  await world.fill(1)
  const kafka = world.client({ retry: { initialRetryTime: 20, retries: 0, restartOnFailure: async () => false } })
  const eachMessage = async () => {
    throw new Error('cannot cope')
  }
  const { of } = await watched(world, ['CRASH', 'STOP', 'DISCONNECT'], { eachMessage }, {}, kafka)
  await until(() => of('CRASH').length > 0, 'the crash')
  assert.deepEqual([of('CRASH')[0].restart, of('STOP').length, of('DISCONNECT').length], [false, 1, 1])
  const admin = await world.admin()
  await until(async () => (await admin.describeGroups([world.group])).groups[0].members.length === 0, 'it has left')
}

/** Deleting the topic under a consumer neither crashes it nor hangs the client that stops it. */
exports.topic_deleted_under_a_consumer = async world => {
  await world.createTopic()
  await world.fill(1)
  const found = []
  const options = { eachMessage: async ({ message }) => void found.push(message.offset) }
  // Or its next question for metadata would create the topic again.
  const { consumer, of } = await watched(world, ['CRASH'], options, { allowAutoTopicCreation: false })
  await until(() => found.length === 1, 'the record')
  const admin = await world.admin()
  await admin.deleteTopics({ topics: [world.topic] })
  await until(async () => !(await admin.listTopics()).includes(world.topic), 'the topic is gone')
  await consumer.disconnect()
  assert.ok(of('CRASH').every(each => each.restart))
}

/** connect, fetch, heartbeat, commit_offsets, stop and disconnect in a consumer's life. */
exports.life_of_a_consumer = async world => {
  await world.createTopic()
  await world.fill(1)
  const kinds = ['CONNECT', 'FETCH', 'HEARTBEAT', 'COMMIT_OFFSETS', 'STOP', 'DISCONNECT', 'END_BATCH_PROCESS']
  const { consumer, of } = await watched(world, kinds, { eachMessage: async () => {} })
  await until(() => ['FETCH', 'HEARTBEAT', 'COMMIT_OFFSETS'].every(kind => of(kind).length > 0), 'a working consumer')
  const [commit] = of('COMMIT_OFFSETS')
  assert.deepEqual(commit.topics, [{ topic: world.topic, partitions: [{ partition: '0', offset: '1' }] }])
  assert.deepEqual([of('END_BATCH_PROCESS')[0].batchSize, of('END_BATCH_PROCESS')[0].highWatermark], [1, '1'])
  const stopped = next(consumer, consumer.events.STOP)
  await consumer.disconnect()
  await stopped
  assert.equal(of('DISCONNECT').length, 1)
}
