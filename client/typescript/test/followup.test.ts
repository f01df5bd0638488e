import assert from 'node:assert/strict'

import { z } from 'zod'

import { cancel, defineJob, existing, JobFailed, workflow } from '../src/index.js'
import { bothWays, database, eventually } from './weir.js'

const parent = defineJob<{ n?: number }, string>('parent')
const next = defineJob('next', { args: z.object({ n: z.number() }) })

/** jobsOf returns the jobs of a queue, in order. */
async function jobsOf(queue: string): Promise<{ n: string; tenant: string | null; parent: string | null }[]> {
  const text = "select args ->> 'n' as n, tenant, parent_id::text as parent from weir.jobs where queue = $1 order by id"
  return (await database().query<{ n: string; tenant: string | null; parent: string | null }>(text, [queue])).rows
}

bothWays('a handler enqueues follow-up jobs', async ({ client, queue, work }) => {
  const later = `${queue}-later`
  work((worker) =>
    worker.handle(parent, async (job) => {
      await job.enqueue(next, { n: 1 }, { queue: later })
      void job.enqueue(next, { n: 2 }, { queue: later })
      return 'done'
    }),
  )
  const handle = await client.enqueue(parent, {}, { queue, tenant: 'acme' })
  assert.equal(await handle.result(), 'done')
  const child = { tenant: 'acme', parent: handle.id }
  assert.deepEqual(await jobsOf(later), [{ n: '1', ...child }, { n: '2', ...child }])
})

bothWays('follow-up jobs of attempts that do not complete are not stored', async ({ client, queue, work }) => {
  const later = `${queue}-later`
  work((worker) =>
    worker.handle(parent, async (job) => {
      if (job.args.n === 3) void job.enqueue(next, {} as { n: number })
      await job.enqueue(next, { n: 1 }, { queue: later, ...(job.args.n === 2 && { priority: 11 }) })
      if (job.args.n === 1) throw new Error('no')
      return 'done'
    }),
  )
  const types = []
  for (const n of [1, 2, 3]) {
    const failed = await (await client.enqueue(parent, { n }, { queue, max_attempts: 1 })).result().catch((error: unknown) => error)
    assert.ok(failed instanceof JobFailed)
    types.push(failed.job.error?.type)
  }
  assert.deepEqual(types, ['Error', 'follow_up', 'Invalid'])
  assert.deepEqual(await jobsOf(later), [])
})

bothWays('follow-up jobs of a lost lease are not stored', async ({ client, queue, work }) => {
  const later = `${queue}-later`
  const ended: string[] = []
  const worker = work((worker) =>
    worker.handle(parent, async (job) => {
      if (job.attempt === 1) {
        await database().query('update weir.job_lease set expires_at = clock_timestamp() where job_id = $1', [job.id])
        const lost = "select from weir.job_event where job_id = $1 and kind = 'lost'"
        await eventually('the lease is taken back', async () => (await database().query(lost, [job.id])).rowCount === 1)
      }
      await job.enqueue(next, { n: job.attempt }, { queue: later })
      return 'done'
    }),
  )
  worker.on('ended', (_job, outcome) => ended.push(outcome))
  worker.on('lost', () => ended.push('lost'))
  const handle = await client.enqueue(parent, {}, { queue })
  await handle.result()
  await eventually('both attempts ended', () => ended.length === 2)
  assert.deepEqual(ended.sort(), ['complete', 'lost'])
  assert.deepEqual((await jobsOf(later)).map((job) => job.n), ['2'])
})

bothWays('a handler adds steps to its workflow', async ({ client, queue, work }) => {
  const ran: number[] = []
  work((worker) => {
    worker.handle(parent, async (job) => {
      const plan = workflow('more')
      const first = plan.step('first', next, { n: 1 }, { after: [existing('list', parent)], queue })
      plan.step('second', next, { n: 2 }, { after: [first], queue })
      await job.addSteps(plan)
      return 'listed'
    })
    worker.handle(next, (job) => {
      ran.push(job.args.n)
    })
  })
  const plan = workflow('flow')
  plan.step('list', parent, {}, { queue })
  const { id } = await client.submit(plan)
  const state = async () => (await database().query<{ state: string }>('select state from weir.workflows where id = $1', [id])).rows[0]?.state
  await eventually('the workflow completes', async () => (await state()) === 'completed')
  assert.deepEqual(ran, [1, 2])
})

bothWays('a completion in a transaction stores follow-up jobs with it', async ({ client, queue, work }) => {
  const later = `${queue}-later`
  work((worker) =>
    worker.handle(parent, async (job) => {
      await job.enqueue(next, { n: job.attempt }, { queue: later })
      const tx = await database().connect()
      try {
        await tx.query('begin')
        const completed = await job.completeTx(tx, 'done')
        if (job.attempt === 1) throw new Error('not this time')
        await tx.query('commit')
        return completed
      } finally {
        await tx.query('rollback')
        tx.release()
      }
    }),
  )
  const handle = await client.enqueue(parent, {}, { queue, retry: { strategy: 'fixed', base_seconds: 0, jitter: false } })
  assert.equal(await handle.result(), 'done')
  assert.deepEqual((await jobsOf(later)).map((job) => job.n), ['2'])
})

bothWays('a handler cancels its job, with a reason, and that is no failure', async ({ client, queue, work }) => {
  work((worker) => worker.handle(parent, () => cancel(new Error('paid already'))))
  const handle = await client.enqueue(parent, {}, { queue, max_attempts: 1 })
  await assert.rejects(handle.result(), (error) => error instanceof JobFailed && error.job.state === 'cancelled' && error.job.error?.message === 'paid already')
  assert.deepEqual((await handle.job()).errors ?? [], [])
})
