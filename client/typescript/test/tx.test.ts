import assert from 'node:assert/strict'
import { test } from 'node:test'

import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import type pg from 'pg'
import { z } from 'zod'

import { completeTx, defineJob, drizzleTx, enqueueTx, Invalid, isStale, Problem, type Worker } from '../src/index.js'
import { bothWays, database, eventually } from './weir.js'

const receipt = defineJob('receipt', { args: z.object({ order: z.number() }), result: z.object({ message: z.string() }) })

async function transaction<T>(run: (tx: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await database().connect()
  try {
    await client.query('begin')
    const result = await run(client)
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

async function ordersTable(): Promise<void> {
  await database().query('create table if not exists orders (id int primary key, receipt text)')
}

async function receiptOf(order: number): Promise<string | undefined> {
  return (await database().query('select receipt from orders where id = $1', [order])).rows[0]?.receipt as string | undefined
}

test('a job is enqueued with the change that it follows from, or not at all', async () => {
  await ordersTable()
  const id = await transaction(async (tx) => {
    await tx.query('insert into orders values (1)')
    return enqueueTx(tx, receipt, { order: 1 }, { queue: 'tx', tags: ['x'] })
  })
  assert.equal((await database().query('select tags from weir.jobs where id = $1', [id])).rows[0].tags[0], 'x')
  let rolledBack = ''
  await assert.rejects(transaction(async (tx) => {
    rolledBack = await enqueueTx(tx, receipt, { order: 2 }, { queue: 'tx' })
    throw new Error('no')
  }), /no/)
  assert.equal((await database().query('select from weir.jobs where id = $1', [rolledBack])).rowCount, 0)
  await assert.rejects(transaction((tx) => enqueueTx(tx, receipt, { order: 'x' } as never)), Invalid)
  await assert.rejects(transaction((tx) => enqueueTx(tx, receipt, { order: 1 }, { priority: 0 })), (error) =>
    error instanceof Problem && error.code === 'invalid_argument' && /priority/.test(error.places[0]!.location))
})

test('drizzle enqueues in its transaction', async () => {
  await ordersTable()
  const db = drizzle(database())
  const id = await db.transaction((tx) => enqueueTx(drizzleTx(tx, drizzleSql), receipt, { order: 3 }, { queue: 'drizzle' }))
  assert.equal((await database().query('select queue from weir.jobs where id = $1', [id])).rows[0].queue, 'drizzle')
  await assert.rejects(db.transaction((tx) => completeTx(drizzleTx(tx, drizzleSql), { id, token: '9' })), isStale)
})

let order = 10

bothWays('a completion commits with the effects of the handler', async ({ client, queue, work }) => {
  await ordersTable()
  const mine = ++order
  await database().query('insert into orders values ($1)', [mine])
  const ends: string[] = []
  const worker = work((worker) =>
    worker.handle(receipt, async (job) => {
      return transaction(async (tx) => {
        await tx.query('update orders set receipt = $2 where id = $1', [job.args.order, `of attempt ${job.attempt}`])
        const completed = await job.completeTx(tx, { message: 'm-1' })
        if (job.attempt === 1) throw new Error('after the completion, before the commit')
        return completed
      })
    }))
  worker.on('ended', (_job, outcome) => ends.push(outcome))
  const handle = await client.enqueue(receipt, { order: mine }, { queue, retry: { base_seconds: 0 } })
  assert.deepEqual(await handle.result(), { message: 'm-1' })
  assert.equal(await receiptOf(mine), 'of attempt 2', 'the first attempt was rolled back')
  await worker.stop()
  assert.deepEqual(ends.sort(), ['complete', 'fail']) // the second attempt may end before the answer to the first ack comes
})

bothWays('a completion by a worker that has lost the job rolls back what it did', async ({ client, queue, work, to }) => {
  await ordersTable()
  const mine = ++order
  await database().query('insert into orders values ($1)', [mine])
  const errors: unknown[] = []
  let attempts = 0
  const worker: Worker = work((it) =>
    it.handle(receipt, async (job) => {
      const first = ++attempts === 1
      if (first) for (let gone = false; !gone; ) gone = await to.unregister(worker.name).then(() => true, () => false)
      return transaction(async (tx) => {
        await tx.query('update orders set receipt = coalesce(receipt, $2) where id = $1', [job.args.order, first ? 'lost' : 'kept'])
        return job.completeTx(tx, { message: 'm' })
      }).catch((error: unknown) => {
        errors.push(error)
        throw error
      })
    }))
  const handle = await client.enqueue(receipt, { order: mine }, { queue })
  assert.deepEqual(await handle.result(), { message: 'm' })
  assert.equal(await receiptOf(mine), 'kept')
  await eventually('the first is told', () => errors.length > 0)
  assert.ok(errors.length === 1 && isStale(errors[0]), String(errors))
})
