// The TypeScript SDK beside BullMQ: how many jobs a second one process works, and what a job costs it in processor time.
//
//   node bench.mjs [JOBS] [ROUNDS]
//
// It needs `weir` (or WEIR_BIN), and redis-server on the PATH. Each starts on a free port with a folder of its own: PostgreSQL with its
// default settings, so that a commit is on the disk, and Redis with an append-only file that is synced every second. Each
// round works the same jobs with each of them in turn, 100 at once, with a handler that returns a small result.
import { spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import { Client, defineJob, http, sql, Worker } from '@weirhq/weir'
import * as bullmq from 'bullmq'
import { Redis } from 'ioredis'
import pg from 'pg'

const jobs = Number(process.argv[2] ?? 20_000)
const rounds = Number(process.argv[3] ?? 3)
const concurrency = 100
const batch = 1_000
const args = (n) => ({ n, text: 'x'.repeat(200) })

async function startWeir(folder) {
  const child = spawn(process.env.WEIR_BIN ?? 'weir', ['dev', '--data-dir', folder, '--addr', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const facts = {}
  for await (const line of createInterface(child.stdout)) {
    facts.url ??= /REST +(http:\S+)\/v1/.exec(line)?.[1]
    facts.port ??= /127\.0\.0\.1:(\d+), database weir/.exec(line)?.[1]
    if (/Stop with/.test(line)) break
  }
  const password = (await readFile(join(folder, 'postgres', 'weir.password'), 'utf8')).trim()
  return { url: facts.url, database: `postgres://postgres:${password}@127.0.0.1:${facts.port}/weir`, child }
}

async function startRedis(folder) {
  const port = await freePort()
  const settings = ['--port', port, '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec', '--maxmemory-policy', 'noeviction']
  const child = spawn('redis-server', settings.map(String), { stdio: ['ignore', 'pipe', 'inherit'] })
  for await (const line of createInterface(child.stdout)) if (/Ready to accept/.test(line)) break
  child.stdout.resume()
  return { port, child }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** counted resolves when it was called for each job. */
function counted() {
  let left = jobs
  let open
  const all = new Promise((resolve) => (open = resolve))
  return { all, one: () => --left === 0 && open() }
}

async function measured(run) {
  const [began, cpu] = [performance.now(), process.cpuUsage()]
  await run()
  const { user, system } = process.cpuUsage(cpu)
  return { perSecond: Math.round((1000 * jobs) / (performance.now() - began)), microseconds: Math.round((user + system) / jobs) }
}

async function weirRound(to, queue) {
  const kind = defineJob('bench', { queue })
  const client = new Client(to)
  const enqueue = await measured(async () => {
    for (let n = 0; n < jobs; n += batch) await client.enqueueMany(kind, Array.from({ length: batch }, (_, i) => ({ args: args(n + i) })))
  })
  const { all, one } = counted()
  const worker = new Worker(to, { queues: [queue], concurrency })
  worker.handle(kind, async (job) => ({ n: job.args.n })).on('ended', one)
  let running
  const work = await measured(() => {
    running = worker.run()
    return all
  })
  await worker.stop()
  await running
  return { enqueue, work }
}

async function bullRound(connection, name) {
  const queue = new bullmq.Queue(name, { connection })
  const enqueue = await measured(async () => {
    for (let n = 0; n < jobs; n += batch) await queue.addBulk(Array.from({ length: batch }, (_, i) => ({ name: 'bench', data: args(n + i) })))
  })
  const { all, one } = counted()
  let worker
  const work = await measured(() => {
    worker = new bullmq.Worker(name, async (job) => ({ n: job.data.n }), { connection, concurrency })
    worker.on('completed', one).on('error', console.error)
    return all
  })
  await worker.close()
  await queue.close()
  return { enqueue, work }
}

const folder = await mkdtemp(join(tmpdir(), 'weir-bench-'))
await chmod(folder, 0o755) // started by root, PostgreSQL runs as another user
const [weir, redis] = [await startWeir(join(folder, 'weir')), await startRedis(folder)]
const pool = new pg.Pool({ connectionString: weir.database })
const contenders = {
  'weir over REST': (round) => weirRound(http(weir.url), `rest-${round}`),
  'weir over SQL': async (round) => {
    const to = sql(pool)
    const result = await weirRound(to, `sql-${round}`)
    await to.close()
    return result
  },
  'BullMQ': async (round) => {
    const connection = new Redis({ host: '127.0.0.1', port: redis.port, maxRetriesPerRequest: null })
    const result = await bullRound(connection, `bull-${round}`)
    await connection.quit()
    return result
  },
}
console.log(`${jobs} jobs, ${concurrency} at once; enqueued and worked a second, and processor time of this process a job`)
try {
  for (let round = 1; round <= rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) {
      const { enqueue, work } = await run(round)
      console.log(`${name.padEnd(15)} enqueued ${enqueue.perSecond}/s ${enqueue.microseconds} µs   worked ${work.perSecond}/s ${work.microseconds} µs`)
    }
  }
} finally {
  await pool.end()
  const ended = [weir, redis].map(({ child }) => new Promise((resolve) => child.once('exit', resolve)))
  for (const { child } of [weir, redis]) child.kill('SIGTERM')
  await Promise.all(ended)
  await rm(folder, { recursive: true })
}
