/** Consuming in a group: where it begins, what it commits, how a handler keeps its place. */
const assert = require('node:assert/strict')
const { byPlace, next, texts, until } = require('../world')

const numbers = (first, end) => Array.from({ length: end - first }, (_, at) => String(first + at))

/** A consumer that runs `handler`; resolves when it has joined. */
async function run(world, options, { fromBeginning = true, topics = [world.topic], config = {} } = {}) {
  const consumer = await world.consumer(config)
  await consumer.subscribe({ topics, fromBeginning })
  const joined = next(consumer, consumer.events.GROUP_JOIN)
  await consumer.run(options)
  return { consumer, joined: await joined }
}

/** fromBeginning reads what was there before; without it a new group begins at the end. */
exports.from_beginning_or_from_now = async world => {
  await world.createTopic()
  await world.fill(5)
  const everything = []
  await run(world, { eachMessage: async ({ message }) => void everything.push(message) })
  const later = []
  const late = await run(
    world,
    { eachMessage: async ({ message }) => void later.push(message) },
    { fromBeginning: false, config: { groupId: `${world.group}-late` } }
  )
  // The end is looked up with the first fetch, not when the group is joined.
  await next(late.consumer, late.consumer.events.FETCH)
  await world.fill(3, { first: 5 })
  await until(() => everything.length === 8 && later.length >= 3, 'both have read')
  assert.deepEqual(texts(everything), numbers(0, 8))
  assert.deepEqual(texts(later), numbers(5, 8))
}

/** A handler that takes longer than the session stays a member as long as it calls heartbeat(). */
exports.each_message_with_heartbeat = async world => {
  await world.createTopic()
  await world.fill(2)
  const started = []
  const session = 400
  const eachMessage = async ({ message, heartbeat }) => {
    started.push(message.offset)
    for (const end = Date.now() + 2 * session; Date.now() < end; ) {
      await heartbeat()
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
  const { consumer } = await run(world, { eachMessage }, { config: { sessionTimeout: session } })
  let rebalances = 0
  consumer.on(consumer.events.REBALANCING, () => void (rebalances += 1))
  await until(async () => (await world.committed())[0] === 2, 'both are committed')
  assert.deepEqual([started, rebalances], [['0', '1'], 0])
}

/** A handler that forgets heartbeat() is put out of the group; KafkaJS joins again and gets the record again. */
exports.each_message_without_heartbeat = async world => {
  await world.createTopic()
  await world.fill(1)
  const admin = await world.admin()
  const started = []
  const eachMessage = async ({ message }) => {
    started.push(message.offset)
    if (started.length > 1) return
    await until(async () => (await admin.describeGroups([world.group])).groups[0].state === 'Empty', 'the session is over')
  }
  const { consumer, joined } = await run(world, { eachMessage }, { config: { sessionTimeout: 400 } })
  const again = await next(consumer, consumer.events.GROUP_JOIN)
  await until(async () => (await world.committed())[0] === 1, 'the record is committed')
  assert.notEqual(again.memberId, joined.memberId)
  assert.deepEqual(started, ['0', '0'])
}

/** pause() in a handler stops that partition alone; its resume function lets it go on where it was. */
exports.each_message_with_pause = async world => {
  await world.createTopic(2)
  await world.fill(10, { partitions: 2 })
  const found = []
  let resume
  const eachMessage = async ({ partition, message, pause }) => {
    found.push({ partition, offset: message.offset })
    if (partition === 0 && message.offset === '1') resume = pause()
  }
  const { consumer } = await run(world, { eachMessage })
  const of = partition => found.filter(each => each.partition === partition).map(({ offset }) => Number(offset))
  await until(() => resume && of(1).length === 5, 'the other partition goes on')
  await world.fill(1, { partitions: 2, first: 1 })
  await until(() => of(1).length === 6, 'a record that comes during the pause')
  assert.deepEqual(of(0), [0, 1])
  assert.deepEqual(consumer.paused(), [{ topic: world.topic, partitions: [0] }])
  resume()
  await until(() => of(0).length === 5, 'the paused partition')
  assert.deepEqual([of(0), of(1)], [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5]])
}

/** eachBatch sees whole batches with their watermark, resolves offsets one by one and commits when it likes. */
exports.each_batch = async world => {
  await world.createTopic()
  await world.fill(10)
  const seen = []
  let uncommitted
  const eachBatch = async ({ batch, resolveOffset, heartbeat, commitOffsetsIfNecessary, uncommittedOffsets, isRunning }) => {
    seen.push([batch.topic, batch.partition, batch.highWatermark, batch.messages.length])
    for (const message of batch.messages.slice(0, 4)) {
      assert.ok(isRunning())
      resolveOffset(message.offset)
      await heartbeat()
    }
    uncommitted = uncommittedOffsets()
    await commitOffsetsIfNecessary(uncommitted)
    await consumer.pause([{ topic: world.topic }])
  }
  const consumer = await world.consumer()
  await consumer.subscribe({ topics: [world.topic], fromBeginning: true })
  await consumer.run({ eachBatchAutoResolve: false, autoCommit: false, eachBatch })
  await until(async () => (await world.committed())[0] === 4, 'four are committed')
  assert.deepEqual(seen, [[world.topic, 0, '10', 10]])
  assert.deepEqual(uncommitted, { topics: [{ topic: world.topic, partitions: [{ partition: '0', offset: '4' }] }] })
  await consumer.stop()
  const rest = []
  await run(world, { eachBatch: async ({ batch }) => void rest.push(...batch.messages) })
  await until(() => rest.length >= 6, 'the rest')
  assert.deepEqual(texts(rest), numbers(4, 10))
}

/** autoCommit false: nothing is committed but what commitOffsets says, metadata included; the next member starts there. */
exports.manual_commit_and_resume = async world => {
  await world.createTopic()
  await world.fill(20)
  const first = []
  const { consumer } = await run(world, { autoCommit: false, eachMessage: async ({ message }) => void first.push(message) })
  await until(() => first.length === 20, 'everything is read')
  assert.deepEqual(await world.committed(), { 0: -1 })
  await consumer.commitOffsets([{ topic: world.topic, partition: 0, offset: '12', metadata: 'a dozen' }])
  const admin = await world.admin()
  const [{ partitions }] = await admin.fetchOffsets({ groupId: world.group, topics: [world.topic] })
  assert.deepEqual(partitions, [{ partition: 0, offset: '12', metadata: 'a dozen' }])
  await consumer.disconnect()
  const second = []
  await run(world, { autoCommit: false, eachMessage: async ({ message }) => void second.push(message) })
  await until(() => second.length >= 8, 'the rest is read')
  assert.deepEqual(texts(second), numbers(12, 20))
  assert.deepEqual(await world.committed(), { 0: 12 })
}

/** With a threshold commits come while a batch is worked on, not only after it. */
exports.auto_commit_by_threshold = async world => {
  await world.createTopic()
  await world.fill(10)
  const commits = []
  const consumer = await world.consumer()
  consumer.on(consumer.events.COMMIT_OFFSETS, ({ payload }) =>
    void commits.push(Number(payload.topics[0].partitions[0].offset)))
  await consumer.subscribe({ topics: [world.topic], fromBeginning: true })
  await consumer.run({ autoCommitThreshold: 4, eachMessage: async () => {} })
  await until(() => commits.at(-1) === 10, 'everything is committed')
  assert.deepEqual(commits, [4, 8, 10])
  assert.deepEqual(await world.committed(), { 0: 10 })
}

/** seek moves a running consumer back. */
exports.seek = async world => {
  await world.createTopic()
  await world.fill(6)
  const found = []
  const { consumer } = await run(world, { eachMessage: async ({ message }) => void found.push(message) })
  await until(() => found.length === 6, 'everything once')
  consumer.seek({ topic: world.topic, partition: 0, offset: '4' })
  await until(() => found.length === 8, 'the last two again')
  assert.deepEqual(texts(found), [...numbers(0, 6), '4', '5'])
}

/** A pattern subscribes to every topic it matches. */
exports.topics_by_pattern = async world => {
  await world.createTopic(1, `${world.topic}.a`)
  await world.createTopic(1, `${world.topic}.b`)
  await world.createTopic(1, `not-${world.topic}.c`)
  for (const letter of ['a', 'b']) await world.fill(2, { topic: `${world.topic}.${letter}` })
  await world.fill(2, { topic: `not-${world.topic}.c` })
  const found = []
  await run(
    world,
    { eachMessage: async ({ topic }) => void found.push(topic) },
    { topics: [new RegExp(`^${world.topic}\\.[abc]$`)] }
  )
  await until(() => found.length >= 4, 'both topics')
  assert.deepEqual(found.sort(), ['a', 'a', 'b', 'b'].map(letter => `${world.topic}.${letter}`))
}

/** Several partitions at once keep each its own order. */
exports.partitions_consumed_concurrently = async world => {
  await world.createTopic(3)
  await world.fill(60, { partitions: 3 })
  const found = []
  let together = 0
  let most = 0
  const eachMessage = async ({ partition, message }) => {
    most = Math.max(most, (together += 1))
    await new Promise(setImmediate)
    together -= 1
    found.push({ partition, ...message })
  }
  await run(world, { partitionsConsumedConcurrently: 3, eachMessage })
  await until(() => found.length === 60, 'everything')
  assert.ok(most > 1, 'one after the other')
  for (const index of [0, 1, 2]) {
    const mine = texts(found.filter(({ partition }) => partition === index))
    assert.deepEqual(mine, numbers(0, 60).filter(number => number % 3 === index))
  }
  assert.equal(found.sort(byPlace).length, 60)
}
