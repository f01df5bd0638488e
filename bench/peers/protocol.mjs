// How a peer talks with the benchmark. It is started as `node peer.mjs <setup|produce|work> <url> <options>`.
//
//   produce   reads lines "<id> [args, args, …]", enqueues them in one transaction, answers "ok <id>" or "error <id> <message>"
//   work      writes lines "c <Unix ms> <n>" when a worker has job n in hand (where options.timed), "d <n>" when it is done
//
// Both end when their standard input does, after finishing what is under way.
import { createInterface } from 'node:readline'

export const [mode, url] = process.argv.slice(2)
export const options = JSON.parse(process.argv[4] ?? '{}')

let buffer = []
let flushing = null

function say(line) {
  buffer.push(line)
  flushing ??= setTimeout(flush, 2)
}

function flush() {
  flushing = null
  const text = buffer.join('\n') + '\n'
  buffer = []
  return new Promise((resolve) => process.stdout.write(text, resolve))
}

export function claimed(n) {
  if (options.timed) say(`c ${performance.timeOrigin + performance.now()} ${n}`)
}

export function completed(n) {
  say(`d ${n}`)
}

// serve runs the mode asked for: setup() makes the schema; produce() returns enqueue(args[]) and close(); work() returns stop().
export async function serve({ setup, produce, work }) {
  if (mode === 'setup') return setup()
  const input = createInterface({ input: process.stdin, crlfDelay: Infinity })
  if (mode === 'work') {
    const stop = await work()
    say('ready')
    for await (const _ of input); // nothing comes: this waits for the end
    await stop()
  } else {
    const { enqueue, close } = await produce()
    say('ready')
    const pending = new Set()
    for await (const line of input) {
      const space = line.indexOf(' ')
      const id = line.slice(0, space)
      const task = enqueue(JSON.parse(line.slice(space + 1))).then(
        () => say(`ok ${id}`),
        (error) => say(`error ${id} ${String(error).replaceAll('\n', ' ')}`),
      )
      pending.add(task)
      task.finally(() => pending.delete(task))
    }
    await Promise.all(pending)
    await close()
  }
  if (buffer.length > 0) await flush()
  process.exit(0)
}
