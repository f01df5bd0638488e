import assert from 'node:assert/strict'
import { test } from 'node:test'

import { z } from 'zod'

import { cancel, Client, defineJob, discard, http, Invalid, JobFailed, Problem, retryIn, snooze, Stopped, Worker } from '../src/index.js'
import { bothWays, eventually, latch, untilStopped, weir } from './weir.js'

const greet = defineJob('greet', { args: z.object({ name: z.string() }), result: z.object({ text: z.string() }) })
const plain = defineJob<{ n?: number }, unknown>('plain')

bothWays('a typed job is enqueued, worked, and its result awaited', async ({ client, queue, work }) => {
  work((worker) => worker.handle(greet, (job) => ({ text: `hello ${job.args.name}` })))
  const handle = await client.enqueue(greet, { name: 'ann' }, { queue, tags: ['a'], metadata: { deep: { Er: 1 } } })
  assert.deepEqual(await handle.result(), { text: 'hello ann' })
  const job = await handle.job()
  assert.equal(job.state, 'completed')
  assert.deepEqual([job.tags, job.metadata], [['a'], { deep: { Er: 1 } }])
  assert.equal(typeof job.id, 'string')
})

bothWays('schemas transform on the way in, and refuse what they do not take', async ({ client, queue, work }) => {
  const at = defineJob('at', { args: z.object({ day: z.iso.date().transform((day) => new Date(day)) }), result: z.number() })
  work((worker) => {
    worker.handle(at, (job) => job.args.day.getUTCFullYear())
    worker.handle(plain, () => 'x')
  })
  assert.equal(await (await client.enqueue(at, { day: '2026-01-31' }, { queue })).result(), 2026)
  await assert.rejects(client.enqueue(at, { day: 'soon' }, { queue }), Invalid)
  const bad = await client.enqueue(defineJob<{ day: number }>('at'), { day: 1 }, { queue, max_attempts: 9 })
  await assert.rejects(bad.result(), (error) => error instanceof JobFailed && error.job.state === 'dead' && error.job.error?.type === 'Invalid')
  const wrong = defineJob('plain', { args: z.object({}), result: z.number() })
  await assert.rejects((await client.enqueue(wrong, {}, { queue })).result(), Invalid)
})

bothWays('what a handler throws is the failure, with its type and stack', async ({ client, queue, work }) => {
  class Refused extends Error {}
  work((worker) =>
    worker.handle(plain, ({ args }) => {
      if (args.n === 1) throw new Refused('no \0 zero \ud800', { cause: new TypeError('inner') })
      if (args.n === 2) throw 'a text'
      if (args.n === 3) return { n: 1n } // no JSON
      return { big: 'x'.repeat(2 << 20) } // too large
    }),
  )
  const errors = await Promise.all([1, 2, 3, 4].map(async (n) => {
    const handle = await client.enqueue(plain, { n }, { queue, max_attempts: 1 })
    const failed = await handle.result().then(() => undefined, (error: unknown) => error)
    assert.ok(failed instanceof JobFailed, String(failed))
    return failed.job.error!
  }))
  assert.deepEqual([errors[0]!.type, errors[0]!.message], ['Refused', 'no \ufffd zero \ufffd'])
  assert.match(errors[0]!.stack!, /worker\.test[\s\S]*Caused by: TypeError: inner/)
  assert.deepEqual([errors[1]!.type, errors[1]!.message], ['string', 'a text'])
  assert.equal(errors[2]!.type, 'TypeError')
  assert.equal(errors[3]!.type, 'refused')
})

bothWays('a handler snoozes, names its retry, discards, and cancels, by return or throw', async ({ client, queue, work }) => {
  const tries = new Map<string, number>()
  const kinds = ['snooze', 'retry', 'discard', 'cancel'] as const
  const types = Object.fromEntries(kinds.map((kind) => [kind, defineJob<unknown, string>(kind)])) as Record<(typeof kinds)[number], typeof plain>
  const first = (kind: string) => {
    tries.set(kind, (tries.get(kind) ?? 0) + 1)
    return tries.get(kind) === 1
  }
  work((worker) => {
    worker.handle(types.snooze, () => (first('snooze') ? snooze(0) : 'rested'))
    worker.handle(types.retry, () => {
      if (first('retry')) throw retryIn(0, new Error('busy'))
      return 'again'
    })
    worker.handle(types.discard, () => discard('useless'))
    worker.handle(types.cancel, () => {
      throw cancel()
    })
  })
  const [rested, again, dead, cancelled] = await Promise.all(kinds.map((kind) => client.enqueue(types[kind], {}, { queue })))
  assert.equal(await rested!.result(), 'rested')
  assert.equal((await rested!.job()).attempt, 1)
  assert.equal(await again!.result(), 'again')
  assert.equal((await again!.job()).attempt, 2)
  await assert.rejects(dead!.result(), (error) => error instanceof JobFailed && error.job.state === 'dead' && error.job.attempt === 1)
  await assert.rejects(cancelled!.result(), (error) => error instanceof JobFailed && error.job.state === 'cancelled')
})

bothWays('a job of a kind without a handler fails, and says so', async ({ client, queue, work }) => {
  work(() => undefined)
  const handle = await client.enqueue(plain, {}, { queue, max_attempts: 1 })
  await assert.rejects(handle.result(), (error) => error instanceof JobFailed && error.job.error?.type === 'NoHandler')
})

bothWays('a handler reports progress and logs, and learns that it is cancelled', async ({ client, queue, work }) => {
  const seen: unknown[] = []
  work((worker) =>
    worker.handle(plain, async (_job, { progress, log, signal }) => {
      log.info('half done', { row: 17 })
      log.warn('odd')
      progress(40, 'rendered')
      await untilStopped(signal).catch((error: unknown) => {
        seen.push(error instanceof Stopped && error.why)
        throw error
      })
    }), { leaseSeconds: 3 })
  const handle = await client.enqueue(plain, {}, { queue })
  await eventually('progress is shown', async () => (await handle.job()).progress?.percent === 40)
  await handle.cancel()
  await assert.rejects(handle.result(), (error) => error instanceof JobFailed && error.job.state === 'cancelled')
  assert.deepEqual(seen, ['cancelled'])
  const log = await http(weir().url).rest.GET('/v1/jobs/{id}/logs', { params: { path: { id: handle.id } } })
  assert.ok(typeof log.data === 'object' && 'items' in log.data)
  assert.deepEqual(log.data.items.map(({ level, message, fields }) => [level, message, fields]), [['info', 'half done', { row: 17 }], ['warn', 'odd', undefined]])
})

bothWays('a handler that outlasts its lease keeps it, and one that outlasts its timeout is stopped', async ({ client, queue, work }) => {
  let stopped: unknown
  const slow = defineJob<unknown, string>('slow')
  work((worker) => {
    worker.handle(slow, async () => {
      await new Promise((resolve) => setTimeout(resolve, 3_500))
      return 'kept'
    })
    worker.handle(plain, (_job, { signal }) =>
      untilStopped(signal).catch((error: unknown) => {
        stopped = error
        throw error
      }))
  }, { leaseSeconds: 1 })
  const [long, late] = [await client.enqueue(slow, {}, { queue }), await client.enqueue(plain, {}, { queue, timeout_seconds: 3, max_attempts: 1 })]
  // On a slow machine weir may be first to say so.
  await assert.rejects(late.result(), (error) => error instanceof JobFailed && error.job.state === 'dead' && /timeout|timed out/i.test(`${error.job.error?.type} ${error.job.error?.message}`))
  await eventually('the handler is told', () => stopped !== undefined)
  assert.ok(stopped instanceof Stopped && ['timeout', 'lease lost'].includes(stopped.why), String(stopped))
  assert.equal(await long.result(), 'kept')
  assert.equal((await long.job()).attempt, 1)
})

bothWays('a handler whose job is another worker’s by now is aborted, and what it did is not taken', async ({ client, queue, work, to }) => {
  const begun = latch()
  let why: unknown
  let attempts = 0
  const worker = work((worker) =>
    worker.handle(plain, async (_job, { signal }) => {
      if (++attempts > 1) return 'second'
      begun.open()
      await untilStopped(signal).catch((error: unknown) => (why = error))
      return 'first'
    }), { leaseSeconds: 3 })
  const lost: string[] = []
  worker.on('lost', (job) => lost.push(job.id))
  const handle = await client.enqueue(plain, {}, { queue })
  await begun.opened
  await eventually('an operator removes it, and its jobs go back', () => to.unregister(worker.name).then(() => true, () => false))
  assert.equal(await handle.result(), 'second')
  await eventually('the first run is told', () => why !== undefined)
  assert.ok(why instanceof Stopped && why.why === 'lease lost', String(why))
  assert.deepEqual(lost, [handle.id])
})

bothWays('a job that comes to the worker again ends its first run', async ({ client, queue, work, to }) => {
  const [begun, told] = [latch(), latch()]
  let attempts = 0
  const worker = work((worker) =>
    worker.handle(plain, async (_job, { signal }) => {
      if (++attempts === 1) {
        begun.open()
        await untilStopped(signal).catch((error: unknown) => assert.ok(error instanceof Stopped && error.why === 'lease lost'))
        told.open()
        return 'first'
      }
      await told.opened
      return 'second'
    }), { leaseSeconds: 60 })
  const handle = await client.enqueue(plain, {}, { queue })
  await begun.opened
  await eventually('an operator removes it, and its jobs go back', () => to.unregister(worker.name).then(() => true, () => false))
  assert.equal(await handle.result(), 'second')
})

bothWays('jobs of a kind and of a queue keep to their slots', async ({ client, queue, work }) => {
  const counts = { now: { few: 0, many: 0 }, most: { few: 0, many: 0 } }
  const [few, many] = [defineJob('few'), defineJob('many')]
  const counting = (name: 'few' | 'many') => async () => {
    counts.most[name] = Math.max(counts.most[name], ++counts.now[name])
    await new Promise((resolve) => setTimeout(resolve, 20))
    counts.now[name]--
  }
  work((worker) => {
    worker.handle(few, counting('few'), { concurrency: 2 })
    worker.handle(many, counting('many'))
  }, { queues: { [queue]: 6, [`${queue}-other`]: 1 } })
  const handles = [
    ...(await client.enqueueMany(few, Array.from({ length: 20 }, () => ({ args: {} })), { queue })),
    ...(await client.enqueueMany(many, Array.from({ length: 40 }, () => ({ args: {} })), { queue })),
    ...(await client.enqueueMany(many, [{ args: {} }], { queue: `${queue}-other` })),
  ]
  await Promise.all(handles.map((handle) => handle.result()))
  assert.equal(counts.most.few, 2)
  assert.ok(counts.most.many <= 7 && counts.most.many >= 3, `${counts.most.many} at once`)
})

bothWays('a worker that stops finishes what runs, and releases what does not end in time', async ({ client, queue, work }) => {
  const gate = latch()
  const [quick, stuck] = [defineJob<unknown, string>('quick'), defineJob<unknown, string>('stuck')]
  let running = 0
  const worker = work((worker) => {
    worker.handle(quick, async () => {
      running++
      await gate.opened
      return 'finished'
    })
    worker.handle(stuck, async (_job, { signal }) => {
      running++
      await untilStopped(signal)
      return 'never'
    })
  }, { graceSeconds: 1 })
  const [a, b] = [await client.enqueue(quick, {}, { queue }), await client.enqueue(stuck, {}, { queue })]
  await eventually('both run', () => running === 2)
  const stopped = worker.stop()
  const c = await client.enqueue(quick, {}, { queue })
  gate.open()
  await stopped
  assert.equal(await a.result(), 'finished')
  const [released, waiting] = [await b.job(), await c.job()]
  assert.deepEqual([released.state, released.attempt], ['available', 0])
  assert.equal(waiting.state, 'available')
})

bothWays('middleware runs around handlers, and an event tells of each end', async ({ client, queue, work }) => {
  const order: string[] = []
  const worker = work((worker) => {
    worker.use(async (job, context, next) => {
      order.push('before')
      context.values.set('who', job.kind)
      try {
        return await next()
      } finally {
        order.push('after')
      }
    })
    worker.use((_job, _context, next) => next())
    worker.handle(plain, (_job, { values }) => void order.push(`handler of ${String(values.get('who'))}`))
  })
  const ends: unknown[] = []
  worker.on('ended', (job, outcome) => ends.push([job.id, outcome]))
  worker.on('ended', () => {
    throw new Error('a listener’s own')
  })
  const handle = await client.enqueue(plain, {}, { queue })
  await handle.result()
  await eventually('the event comes', () => ends.length > 0)
  assert.deepEqual(order, ['before', 'handler of plain', 'after'])
  assert.deepEqual(ends, [[handle.id, 'complete']])
})

bothWays('drain works what there is, and returns', async ({ client, queue, to }) => {
  const worker = new Worker(to, { queues: [queue] })
  let handled = 0
  worker.handle(plain, () => void handled++)
  const handles = await client.enqueueMany(plain, Array.from({ length: 25 }, (_, n) => ({ args: { n } })), { queue })
  await worker.drain()
  assert.equal(handled, 25)
  assert.equal((await handles[24]!.job()).state, 'completed')
  await client.enqueue(plain, {}, { queue })
  await worker.drain()
  assert.equal(handled, 26)
})

test('a worker whose first claim is refused ends with the problem', async () => {
  const worker = new Worker(http(weir().url), { queues: ['not a name'] })
  await assert.rejects(worker.run(), (error) => error instanceof Problem && error.status === 422)
})

test('a worker tells that weir is away and is back, and a job that was enqueued meanwhile is done', async () => {
  let away = true
  const to = http(weir().url, { fetch: (request) => (away ? Promise.reject(new TypeError('fetch failed')) : fetch(request)) })
  const worker = new Worker(to, { queues: ['away'] })
  const told: string[] = []
  worker.on('trouble', () => told.push('trouble')).on('recovered', () => told.push('recovered'))
  worker.handle(plain, ({ args }) => args.n)
  const running = worker.run()
  const meanwhile = new Client(to).enqueue(plain, { n: 2 }, { queue: 'away' })
  await eventually('the worker notices', () => told.length > 0)
  assert.ok(!told.includes('recovered'))
  away = false
  assert.equal(await (await meanwhile).result(), 2)
  await eventually('it recovers', () => told.includes('recovered'))
  await worker.stop()
  await running
})
