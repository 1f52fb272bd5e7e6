// Type "ann north" to tell where Ann's taxi is: the north is partition 0, everywhere else partition 1.
const { kafka } = require('./client')
const readline = require('readline')

async function main() {
  const producer = kafka.producer()
  await producer.connect()
  console.log('producer connected')

  const terminal = readline.createInterface({ input: process.stdin, output: process.stdout })
  terminal.setPrompt('> ')
  terminal.prompt()

  for await (const line of terminal) {
    const [driver, location] = line.split(' ')
    await producer.send({
      topic: 'taxi-positions',
      messages: [
        {
          partition: location.toLowerCase() === 'north' ? 0 : 1,
          key: 'position',
          value: JSON.stringify({ driver, location }),
        },
      ],
    })
    terminal.prompt()
  }

  await producer.disconnect()
}

main()
