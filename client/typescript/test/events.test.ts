import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Client, defineJob, events, type JobEvent, Problem, sql } from '../src/index.js'
import { database, eventually } from './weir.js'

const plain = defineJob('plain')

test('events over SQL come once, and go on after the last one that is known', async () => {
  const from = sql(database())
  const client = new Client(from)
  const queue = 'watched-over-sql'
  const leave = new AbortController()
  const seen: JobEvent[] = []
  const watching = (async () => {
    for await (const event of events(from, { queue, event: ['enqueued', 'cancelled'], signal: leave.signal })) seen.push(event)
  })()
  await eventually('the first is seen', async () => {
    await client.enqueue(plain, {}, { queue })
    return seen.length > 0
  })
  await client.enqueue(plain, {}, { queue: `${queue}-other` })
  const known = await client.enqueue(plain, {}, { queue })
  await known.cancel()
  await eventually('its end is seen', () => seen.some((event) => event.job_id === known.id && event.event === 'cancelled'))
  leave.abort()
  await watching
  assert.deepEqual([...new Set(seen.map((event) => event.queue))], [queue])
  assert.equal(new Set(seen.map((event) => `${event.event} ${event.job_id}`)).size, seen.length)

  const { id } = seen.find((event) => event.job_id === known.id && event.event === 'enqueued')!
  const handle = await client.enqueue(plain, {}, { queue })
  const after: string[] = []
  for await (const event of events(from, { queue, lastEventId: id })) {
    after.push(`${event.event} ${event.job_id}`)
    if (event.job_id === handle.id) break
  }
  assert.deepEqual(after, [`cancelled ${known.id}`, `enqueued ${handle.id}`])
  for (const refused of [{ lastEventId: 'x' }, { event: ['worker_lost'] }, { job_id: 'x' }]) {
    await assert.rejects(events(from, refused).next(), (error) => error instanceof Problem && error.status === 422)
  }
  await from.close()
})
