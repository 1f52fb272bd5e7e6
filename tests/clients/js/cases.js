/**
 * Runs cases of the folder cases/ as they are asked for: node cases.js BOOTSTRAP
 *
 * A line on stdin, {"case": "...", "unique": "..."}, runs one; a line on stdout, {"case": "...", "error": null or a
 * stack}, answers it. The end of stdin ends the program. One process runs them all, as Node's start costs more than a case.
 */
const readline = require('node:readline')
const { registerCodecs } = require('./codecs')
const { World } = require('./world')

const cases = {
  ...require('./cases/admin'),
  ...require('./cases/produce'),
  ...require('./cases/consume'),
  ...require('./cases/events'),
}

async function main(bootstrap) {
  await registerCodecs()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const wanted = JSON.parse(line)
    const world = new World(bootstrap, wanted.unique)
    let error = null
    try {
      if (!cases[wanted.case]) throw new Error(`no case is called ${wanted.case}`)
      await cases[wanted.case](world)
    } catch (failure) {
      error = failure.stack ?? String(failure)
    }
    await world.close().catch(failure => (error ??= `while closing: ${failure.stack}`))
    console.log(JSON.stringify({ case: wanted.case, error }))
  }
}

main(process.argv[2])
