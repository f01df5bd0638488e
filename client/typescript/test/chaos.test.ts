import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

import { Client, defineJob, http, Worker } from '../src/index.js'
import { bothWays, database, eventually, weir } from './weir.js'

const plain = defineJob<{ n: number }, number>('plain')

function jobs(n: number): { args: { n: number } }[] {
  return Array.from({ length: n }, (_, i) => ({ args: { n: i } }))
}

async function count(queue: string, state: string): Promise<number> {
  const text = `select count(*)::int as n from weir.job j join weir.queue q on q.id = j.queue_id
    join weir.job_outcome o on o.job_id = j.id where q.name = $1 and o.state = $2`
  return (await database().query(text, [queue, state])).rows[0].n as number
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => child.once('exit', (status) => resolve(status)))
}

bothWays('of 10,000 jobs each is handled and completed once', async ({ client, queue, work }, t) => {
  const runs = new Map<number, number>()
  const completed = new Set<string>()
  const prepare = (worker: Worker) => {
    worker.handle(plain, ({ args }) => {
      runs.set(args.n, (runs.get(args.n) ?? 0) + 1)
      return args.n
    })
    worker.on('ended', (job, outcome) => outcome === 'complete' && completed.add(job.id))
  }
  await client.enqueueMany(plain, jobs(10_000), { queue })
  const began = Date.now()
  work(prepare, { concurrency: 100 })
  work(prepare, { concurrency: 100 })
  await eventually('all are completed', () => completed.size === 10_000)
  t.diagnostic(`${Math.round(10_000_000 / (Date.now() - began))} jobs a second, two workers in one process`)
  assert.equal(runs.size, 10_000)
  assert.ok([...runs.values()].every((n) => n === 1))
  assert.equal(await count(queue, 'completed'), 10_000)
})

bothWays('what a killed worker held is handled by another, and one that is told to end releases the rest', async ({ client, queue, work, to }) => {
  const way = to.constructor.name === 'Http' ? ['rest', weir().url] : ['sql', weir().databaseUrl]
  const start = () => spawn(process.execPath, [fileURLToPath(new URL('child.js', import.meta.url)), ...way, queue], { stdio: 'inherit' })
  await client.enqueueMany(plain, jobs(3_000), { queue })
  const [doomed, told] = [start(), start()]
  const gone = [ended(doomed), ended(told)]
  await eventually('they work', async () => (await count(queue, 'completed')) > 300)
  doomed.kill('SIGKILL')
  told.kill('SIGTERM')
  assert.deepEqual(await Promise.all(gone), [null, 0])
  assert.ok((await count(queue, 'completed')) < 3_000, 'there is something left')
  work((worker) => worker.handle(plain, ({ args }) => args.n), { concurrency: 50 })
  await eventually('all are completed', async () => (await count(queue, 'completed')) === 3_000)
})

test('a worker goes on when its node is killed and comes back', async (t) => {
  const queue = 'killed-node'
  let node: ChildProcess | undefined
  const serve = (addr: string) =>
    new Promise<string>((resolve, reject) => {
      node = spawn(process.env['WEIR_BIN'] ?? 'weir', ['serve', '--database-url', weir().databaseUrl, '--addr', addr], { stdio: ['ignore', 'ignore', 'pipe'] })
      node.once('exit', (status) => reject(new Error(`weir serve ended with ${status}`)))
      createInterface(node.stderr!).on('line', (line) => {
        const at = /(127\.0\.0\.1:\d+)/.exec(line)
        if (at) resolve(at[1]!)
      })
    })
  const addr = await serve('127.0.0.1:0')
  const client = new Client(http(`http://${addr}`))
  const worker = new Worker(http(`http://${addr}`), { queues: [queue], concurrency: 10, leaseSeconds: 2 })
  const happened: string[] = []
  worker.on('trouble', (what) => happened.push(what)).on('recovered', () => happened.push('recovered'))
  let handled = 0
  worker.handle(plain, async ({ args }) => {
    handled++
    await new Promise((resolve) => setTimeout(resolve, 5))
    return args.n
  })
  await client.enqueueMany(plain, jobs(2_000), { queue })
  const running = worker.run()
  try {
    await eventually('it works', () => handled > 300)
    node!.removeAllListeners('exit')
    const dead = ended(node!)
    node!.kill('SIGKILL')
    await dead
    await eventually('the worker notices', () => happened.length > 0)
    const meanwhile = client.enqueue(plain, { n: -1 }, { queue })
    await serve(addr)
    assert.equal(await (await meanwhile).result(), -1, 'an enqueue of the time in between')
    await eventually('all are completed', async () => (await count(queue, 'completed')) === 2_001)
    assert.ok(happened.includes('recovered'), happened.join(', '))
    t.diagnostic(`${handled} runs of 2,001 jobs`)
  } finally {
    await worker.stop({ graceSeconds: 0 })
    await running
    node!.removeAllListeners('exit')
    node!.kill('SIGTERM')
  }
})
