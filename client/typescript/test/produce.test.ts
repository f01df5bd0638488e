import assert from 'node:assert/strict'
import { test } from 'node:test'

import { z } from 'zod'

import { Client, defineJob, events, http, type JobEvent, Problem, workflow } from '../src/index.js'
import { bothWays, eventually, weir } from './weir.js'

const plain = defineJob<{ n?: number }, unknown>('plain')

bothWays('options are kept, and a unique key makes one job', async ({ client, queue }) => {
  const options = { queue, priority: 8, delay_seconds: 3600, max_attempts: 3, tags: ['vip'], unique: { key: queue } }
  const first = await client.enqueue(plain, { n: 1 }, options)
  const second = await client.enqueue(plain, { n: 2 }, options)
  assert.deepEqual([first.duplicate, second.duplicate, second.id], [false, true, first.id])
  const job = await first.job()
  assert.deepEqual([job.args, job.priority, job.state, job.max_attempts, job.tags], [{ n: 1 }, 8, 'scheduled', 3, ['vip']])
  const batch = await client.enqueueMany(plain, [{ args: {} }, { args: {}, options: { unique: { key: queue } } }], { queue })
  assert.deepEqual(batch.map((handle) => handle.duplicate), [false, true])
  await first.cancel()
  assert.equal((await first.job()).state, 'cancelled')
})

bothWays('the defaults of a job type hold, and options of one job come before them', async ({ client, queue }) => {
  const type = defineJob('defaults', { args: z.object({}), queue, priority: 2, tags: ['a'] })
  const [a, b] = await client.enqueueMany(type, [{ args: {} }, { args: {}, options: { priority: 9 } }], { tags: ['b'] })
  assert.deepEqual([(await a!.job()).priority, (await b!.job()).priority, (await b!.job()).tags], [2, 9, ['b']])
})

bothWays('the same call with the same key makes no second job', async ({ client, queue }) => {
  const options = { queue, idempotency_key: queue }
  const [first, second] = [await client.enqueue(plain, {}, options), await client.enqueue(plain, {}, options)]
  assert.deepEqual([second.id, second.duplicate], [first.id, true])
  const key = { queue, idempotency_key: `${queue}-batch` }
  const batches = [await client.enqueueMany(plain, [{ args: {} }, { args: {} }], key), await client.enqueueMany(plain, [{ args: {} }, { args: {} }], key)]
  assert.deepEqual(batches[1]!.map((handle) => handle.id), batches[0]!.map((handle) => handle.id))
  await assert.rejects(client.enqueue(plain, { n: 3 }, options), (error) => error instanceof Problem && error.code === 'idempotency_mismatch')
})

bothWays('what weir refuses is a problem with its code and place', async ({ client, queue }) => {
  await assert.rejects(client.enqueue(plain, {}, { queue, priority: 11 }), (error) => {
    assert.ok(error instanceof Problem)
    assert.deepEqual([error.code, error.status], ['invalid_argument', 422])
    assert.match(error.places[0]!.location, /priority/)
    return true
  })
  const missing = client.handle(plain, '999999999999')
  await assert.rejects(missing.job(), (error) => error instanceof Problem && error.code === 'job_not_found')
})

bothWays('the results of steps flow into those after them', async ({ client, queue, work }) => {
  const reserve = defineJob('reserve', { queue, args: z.object({ order: z.number() }), result: z.object({ shelf: z.string() }) })
  const charge = defineJob('charge', { queue, args: z.object({ order: z.number() }), result: z.object({ at: z.iso.datetime().transform((t) => new Date(t)) }) })
  const ship = defineJob('ship', { queue, args: z.object({}), result: z.string(), needs: { charge, reserve } })
  work((worker) => {
    worker.handle(reserve, ({ args }) => ({ shelf: `s-${args.order}` }))
    worker.handle(charge, () => ({ at: '2026-01-31T09:00:00Z' }))
    worker.handle(ship, ({ dependencies }) => `${dependencies.reserve.shelf} at ${dependencies.charge.at.getUTCHours()}`)
  })
  const plan = workflow('order', { metadata: { by: 'test' } })
  const reserved = plan.step('reserve', reserve, { order: 7 })
  const charged = plan.step('charge', charge, { order: 7 }, { after: [reserved], priority: 9 })
  const shipped = plan.step('ship', ship, {}, { after: [charged, reserved] })
  // @ts-expect-error ship needs the result of charge too
  workflow('typed').step('ship', ship, {}, { after: [reserved] })
  // @ts-expect-error and cannot begin
  workflow('typed').step('ship', ship, {})
  // @ts-expect-error args are typed
  workflow('typed').step('reserve', reserve, { order: 'x' })
  const run = await client.submit(plan)
  const result: string = await run.result(shipped)
  assert.equal(result, 's-7 at 9')
})

bothWays('a step waits for a time or a signal', async ({ client, queue, work }) => {
  const after = defineJob('after', { queue, args: z.object({}), result: z.unknown() })
  work((worker) => worker.handle(after, ({ dependencies }) => dependencies))
  const plan = workflow('approval')
  const approved = plan.wait<'approved', { by: string }>('approved', { signal: 'approved' })
  const done = plan.step('after', after, {}, { after: [approved] })
  const run = await client.submit(plan)
  await http(weir().url).rest.POST('/v1/workflows/{id}/signals/{name}', { params: { path: { id: run.id, name: 'approved' } }, body: { payload: { by: 'ann' } } })
  assert.deepEqual(await run.result(done), { approved: { by: 'ann' } })
})

bothWays('a schedule makes typed jobs', async ({ client, queue, work }) => {
  const days: string[] = []
  const report = defineJob('report', { queue, args: z.object({ day: z.string() }) })
  work((worker) => worker.handle(report, ({ args }) => void days.push(args.day)))
  const next = await client.schedule(queue, { every_seconds: 1 }, report, { day: '{{scheduled_date}}' })
  assert.ok(next instanceof Date)
  await eventually('it fires', () => days.length > 0)
  assert.match(days[0]!, /^\d{4}-\d\d-\d\d$/)
  await client.unschedule(queue)
})

test('events are an iterator, which goes on after the last one that is known', async () => {
  const client = new Client(http(weir().url))
  const queue = 'watched'
  const leave = new AbortController()
  const seen: JobEvent[] = []
  const watching = (async () => {
    for await (const event of events(http(weir().url), { queue, event: ['enqueued', 'cancelled'], signal: leave.signal })) seen.push(event)
  })()
  await eventually('the first is seen', async () => {
    await client.enqueue(plain, {}, { queue })
    return seen.length > 0
  })
  const { id } = seen.at(-1)!
  leave.abort()
  await watching
  const handle = await client.enqueue(plain, {}, { queue })
  for await (const event of events(http(weir().url), { queue, lastEventId: id })) {
    if (event.job_id === handle.id) break
  }
  await assert.rejects(events(http(weir().url), { job_id: 'x' }).next(), (error) => error instanceof Problem && error.status === 422)
})

test('calls are tried again with the same key, as weir says', async () => {
  const keys: (string | null)[] = []
  const waits: number[] = []
  let last = 0
  const to = http(weir().url, {
    async fetch(request) {
      keys.push(request.headers.get('Idempotency-Key'))
      waits.push(Date.now() - last)
      last = Date.now()
      if (keys.length === 1) throw new TypeError('fetch failed')
      if (keys.length === 2) return Response.json({ code: 'overloaded', status: 503, detail: 'too much' }, { status: 503, headers: { 'Retry-After': '1' } })
      const answer = await fetch(request)
      if (keys.length > 3) return answer
      await answer.text()
      throw new TypeError('the answer is lost')
    },
  })
  const handle = await new Client(to).enqueue(plain, {}, { queue: 'again' })
  assert.equal(keys.length, 4)
  assert.equal(new Set(keys).size, 1)
  assert.equal(handle.duplicate, true, 'the third try had made it')
  assert.ok(waits[2]! >= 1000, `it waits for ${waits[2]} ms where it was told 1 s`)
})

test('a batch whose answer is lost is sent again, and stored once', async () => {
  let calls = 0
  const to = http(weir().url, {
    async fetch(request) {
      const answer = await fetch(request)
      if (++calls !== 1) return answer
      await answer.text()
      throw new TypeError('the answer is lost')
    },
  })
  const handles = await new Client(to).enqueueMany(plain, [{ args: {} }, { args: {} }], { queue: 'batch' })
  assert.deepEqual([calls, ...handles.map((handle) => handle.duplicate)], [2, true, true])
})

test('calls are given up when their time is over, or they are refused', async () => {
  const away = http('http://127.0.0.1:1', { retrySeconds: 0.5 })
  await assert.rejects(new Client(away).enqueue(plain, {}), (error) => error instanceof Problem && error.code === 'unreachable')
})

test('a key is sent, also one that changes', async () => {
  const sent: (string | null)[] = []
  let key = 0
  const to = http(weir().url, {
    key: () => `weir_${++key}`,
    fetch(request) {
      sent.push(request.headers.get('Authorization'))
      return fetch(request)
    },
  })
  await to.rest.GET('/v1/queues')
  await to.rest.GET('/v1/queues')
  assert.deepEqual(sent, ['Bearer weir_1', 'Bearer weir_2'])
})
