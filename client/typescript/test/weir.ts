// A weir for the tests of a file, both ways to it, and waits for a state rather than a time.

import { after, before, test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'

import pg from 'pg'

import { Client, http, sql, type Transport, Worker, type WorkerOptions } from '../src/index.js'
import { type LocalWeir, startWeir } from '../src/testing.js'

export interface Setting {
  to: Transport
  client: Client
  /** A queue that no other test uses. */
  queue: string
  /** Starts a worker, which is stopped at the end of the test. */
  work(prepare: (worker: Worker) => void, options?: Partial<WorkerOptions>): Worker
}

let local: LocalWeir | undefined
let pool: pg.Pool | undefined
let queues = 0

/** The weir of this file. */
export const weir = () => local!

/** A pool of connections to its database. */
export const database = () => pool!

before(async () => {
  local = await startWeir()
  pool = new pg.Pool({ connectionString: local.databaseUrl, max: 10 })
  pool.on('error', () => undefined)
})

after(async () => {
  await pool?.end()
  await local?.stop()
})

/** bothWays tests over REST, and straight over SQL. */
export function bothWays(name: string, run: (setting: Setting, t: TestContext) => Promise<void>): void {
  for (const way of ['REST', 'SQL'] as const) {
    test(`${name}, over ${way}`, async (t) => {
      const to = way === 'REST' ? http(weir().url) : sql(database())
      const queue = `q-${way}-${process.pid}-${++queues}`
      const running: Worker[] = []
      const work: Setting['work'] = (prepare, options) => {
        const worker = new Worker(to, { queues: [queue], graceSeconds: 10, ...options })
        prepare(worker)
        running.push(worker)
        worker.run().catch((error: unknown) => t.diagnostic(`the worker ended: ${String(error)}`))
        return worker
      }
      try {
        await run({ to, client: new Client(to), queue, work }, t)
      } finally {
        await Promise.all(running.map((worker) => worker.stop({ graceSeconds: 0 })))
        await to.close()
      }
    })
  }
}

/** eventually waits for a state that must come. */
export async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; !(await holds()); await delay(20)) {
    if (Date.now() > end) throw new Error(`in vain: ${what}`)
  }
}

export function latch(): { open: () => void; opened: Promise<void> } {
  let open!: () => void
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { open, opened }
}

/** untilStopped is a handler's wait for its signal. It throws the signal's reason. */
export function untilStopped(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason as Error)
    signal.addEventListener('abort', () => reject(signal.reason as Error))
  })
}
