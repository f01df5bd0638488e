// Enqueueing and completing in a transaction of the application's own.

import { type ArgsIn, type JobType, newJob } from './job.js'
import { problemOfSql } from './sqlstate.js'
import type { Additions } from './held.js'
import type { ClaimedJob, JobOptions, NewJob } from './wire.js'

/** Tx runs a statement in a transaction: a client of `pg` is one, and `drizzleTx` makes one of drizzle's. */
export interface Tx {
  query(text: string, values: unknown[]): Promise<{ rows: Record<string, any>[] }>
}

/** run runs a statement of the contract, and throws the Problems that it raises. */
export async function run(tx: Tx, text: string, values: unknown[]): Promise<Record<string, any>[]> {
  try {
    return (await tx.query(text, values)).rows
  } catch (error) {
    throw problemOfSql(error)
  }
}

export async function enqueueJobs(tx: Tx, jobs: readonly NewJob[]): Promise<{ id: string; duplicate: boolean }[]> {
  const rows = await run(tx, 'select job_id::text as id, duplicate from weir.enqueue_batch($1::jsonb)', [JSON.stringify(jobs)])
  return rows as { id: string; duplicate: boolean }[]
}

/** enqueueTx enqueues a job in a transaction of yours: if that rolls back, there never was a job. Returns the job's id. */
export async function enqueueTx<T extends JobType>(tx: Tx, type: T, args: ArgsIn<T>, options?: JobOptions): Promise<string> {
  const [made] = await enqueueJobs(tx, [await newJob(type, args, options)])
  return made!.id
}

/** completeTx completes a claimed job in a transaction of yours. It throws a Problem, `stale_token`, if the lease is not held. */
export async function completeTx(
  tx: Tx,
  job: Pick<ClaimedJob, 'id' | 'token'>,
  result?: unknown,
  { jobs = [], steps = [] }: Partial<Additions> = {},
): Promise<void> {
  const added = [jobs, steps].map((list) => (list.length > 0 ? JSON.stringify(list) : null))
  const json = result === undefined ? null : JSON.stringify(result)
  const text = 'select weir.complete($1::bigint, $2::bigint, $3::jsonb, jobs => $4::jsonb, steps => $5::jsonb)'
  await run(tx, text, [job.id, bareToken(job.token), json, ...added])
}

/** bareToken is a token as SQL has it: one that a key claimed has a seal behind it. */
export function bareToken(token: string): string {
  return token.split('.', 1)[0]!
}

/** drizzleTx makes a Tx of a database or transaction of drizzle-orm, given its `sql`: drizzleTx(tx, sql). */
export function drizzleTx<Statement>(
  tx: { execute(statement: Statement): PromiseLike<unknown> },
  sql: {
    raw(text: string): Statement
    param(value: unknown): unknown
    join(parts: Statement[]): Statement
    (strings: TemplateStringsArray, ...values: unknown[]): Statement
  },
): Tx {
  return {
    async query(text, values) {
      const pieces = text.split(/\$\d+/) // each parameter is there once, in order
      const parts = pieces.flatMap((piece, i) => (i < values.length ? [sql.raw(piece), sql`${sql.param(values[i])}`] : [sql.raw(piece)]))
      const answer = await tx.execute(sql.join(parts))
      return Array.isArray(answer) ? { rows: answer } : (answer as { rows: Record<string, any>[] })
    },
  }
}

