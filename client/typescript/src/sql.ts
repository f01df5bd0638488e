// weir over SQL: the functions and views of docs/sql.md, with no node in between.

import { setTimeout as delay } from 'node:timers/promises'

import type { Additions } from './held.js'
import { SqlClaims } from './sqlclaims.js'
import { problemOfSql } from './sqlstate.js'
import type { Beat, BeatResult, CallOptions, Claimed, ClaimRequest, Enqueued, EnqueueOptions, Transport } from './transport.js'
import { bareToken, completeTx, enqueueJobs, run, type Tx } from './tx.js'
import { Problem } from './problem.js'
import type { Ack, AckResult, Event, Job, LogLine, NewJob, NewWorkflow, Schedule, ScheduleDefinition, WorkerBeat, WorkerSettings } from './wire.js'

/** What this needs of a connection: a client of `pg` has it. */
export interface SqlClient extends Tx {
  on(event: string, listener: (...args: any[]) => void): unknown
  release(destroy?: boolean): void
}

/** What this needs of a pool: a `Pool` of `pg` has it. The pool stays yours: end it after you have closed this. */
export interface SqlPool extends Tx {
  connect(): Promise<SqlClient>
  on(event: 'error', listener: (error: Error) => void): unknown
}

/** An answer of weir.events_after. */
export interface EventPage {
  events: (Event & { position: string })[]
  position: string
  more: boolean
}

/** How often a wait for the end of a job looks, in milliseconds: at first, and at last. */
const looks = [50, 500] as const

/** sql connects to weir's database. One connection of the pool claims, and waits for notifications, as long as a worker runs. */
export function sql(pool: SqlPool): Sql {
  return new Sql(pool)
}

export class Sql implements Transport {
  readonly #claims: SqlClaims

  constructor(private readonly pool: SqlPool) {
    this.#claims = new SqlClaims(pool)
    // An idle connection that breaks is replaced. Without a listener, `pg` would end the process.
    pool.on('error', () => undefined)
  }

  async enqueue(jobs: readonly NewJob[], { idempotencyKey }: EnqueueOptions = {}): Promise<Enqueued[]> {
    const keyed = jobs.map((job, i) => ({ ...job, idempotency_key: jobs.length === 1 ? idempotencyKey : `${idempotencyKey}:${i}` }))
    return enqueueJobs(this.pool, idempotencyKey === undefined ? jobs : keyed)
  }

  async job(id: string, waitSeconds: number, { signal }: CallOptions): Promise<Job> {
    const until = Date.now() + waitSeconds * 1000
    for (let look: number = looks[0]; ; look = Math.min(2 * look, looks[1])) {
      const job = await this.#job(id)
      const left = until - Date.now()
      if (['completed', 'cancelled', 'dead'].includes(job.state) || left <= 0) return job
      await delay(Math.min(look, left), undefined, signal && { signal })
    }
  }

  async #job(id: string): Promise<Job> {
    const bigints = ['id', 'parent_id', 'workflow_id', 'replay_of'].map((name) => `'${name}', ${name}::text`).join(', ')
    const text = `select to_jsonb(j) || jsonb_build_object(${bigints}) as job from weir.jobs j where id = $1::bigint`
    const [row] = await run(this.pool, text, [id])
    if (!row) throw new Problem({ code: 'job_not_found', status: 404, detail: `there is no job ${id}` })
    const { queue_id: _, cancel_requested_at: asked, ...job } = row['job'] as Record<string, unknown>
    const known = Object.fromEntries(Object.entries(job).filter(([, value]) => value !== null))
    return { errors: [], ...known, cancel_requested: asked !== null } as unknown as Job
  }

  async cancel(id: string): Promise<void> {
    await run(this.pool, 'select weir.cancel($1::bigint)', [id])
  }

  async submit(workflow: NewWorkflow, { idempotencyKey }: EnqueueOptions): Promise<string> {
    const definition = { ...workflow, ...(idempotencyKey !== undefined && { idempotency_key: idempotencyKey }) }
    const [row] = await run(this.pool, 'select weir.submit_workflow($1::jsonb)::text as id', [JSON.stringify(definition)])
    return row!['id'] as string
  }

  async step(workflow: string, name: string): Promise<string> {
    const text = 'select job_id::text as id from weir.workflow_steps where workflow_id = $1::bigint and name = $2'
    const [row] = await run(this.pool, text, [workflow, name])
    if (!row) throw new Problem({ code: 'not_found', status: 404, detail: `workflow ${workflow} has no step ${name}` })
    return row['id'] as string
  }

  async putSchedule(name: string, definition: ScheduleDefinition): Promise<Schedule['next_at']> {
    const [row] = await run(this.pool, 'select to_jsonb(weir.set_schedule($1, $2::jsonb)) as at', [name, JSON.stringify(definition)])
    return (row!['at'] as string | null) ?? undefined
  }

  async deleteSchedule(name: string): Promise<void> {
    await run(this.pool, 'select weir.delete_schedule($1)', [name])
  }

  claim(request: ClaimRequest, signal: AbortSignal): Promise<Claimed> {
    return this.#claims.claim(request, signal)
  }

  /** ack has one statement for each kind of outcome. Each job succeeds or fails alone; a value that is refused fails its statement. */
  async ack(acks: readonly Ack[]): Promise<AckResult[]> {
    const accepted = new Set<Ack>()
    for (const outcome of ['complete', 'fail', 'snooze', 'release'] as const) {
      const group = acks.filter((ack) => ack.outcome === outcome)
      if (group.length === 0) continue
      const ids = group.map((ack) => ack.id)
      const values = [ids, group.map((ack) => bareToken(ack.token)), ...endings[outcome].values.map((value) => group.map(value))]
      const latest = new Map(group.map((ack) => [ack.id, ack])) // a job that came again has an older ack, which is stale
      for (const row of await run(this.pool, endings[outcome].text, values)) accepted.add(latest.get(row['id'] as string)!)
    }
    return acks.map((ack) => ({ id: ack.id, status: accepted.has(ack) ? 'ok' : 'stale_token' }))
  }

  complete(ack: Ack, additions: Additions): Promise<void> {
    return completeTx(this.pool, ack, ack.result, additions)
  }

  async heartbeat(beats: readonly Beat[], leaseSeconds: number): Promise<BeatResult[]> {
    const text = `select job_id::text as id, cancel_requested as cancelled
      from weir.heartbeat($1::bigint[], $2::bigint[], $3::int, $4::text[]::jsonb[])`
    const progress = beats.map((beat) => (beat.progress ? JSON.stringify(beat.progress) : null))
    const values = [beats.map((beat) => beat.id), beats.map((beat) => bareToken(beat.token)), leaseSeconds, progress]
    const held = new Map((await run(this.pool, text, values)).map((row) => [row['id'] as string, row['cancelled'] as boolean]))
    return beats.map(({ id }) => (held.has(id) ? (held.get(id) ? 'cancelled' : 'held') : 'lost'))
  }

  async log(id: string, token: string, lines: readonly LogLine[]): Promise<number> {
    const text = 'select dropped from weir.log($1::bigint, $2::bigint, $3::jsonb)'
    const [row] = await run(this.pool, text, [id, bareToken(token), JSON.stringify(lines)])
    return row!['dropped'] as number
  }

  async register(worker: string, settings: WorkerSettings): Promise<void> {
    await run(this.pool, 'select weir.register_worker($1, $2::jsonb)', [worker, JSON.stringify(settings)])
  }

  async beat(worker: string, load: number): Promise<WorkerBeat> {
    return (await run(this.pool, 'select state, registered from weir.worker_heartbeat($1, $2::float8)', [worker, load]))[0] as WorkerBeat
  }

  async unregister(worker: string): Promise<void> {
    await run(this.pool, 'select weir.remove_worker($1)', [worker])
  }

  /** events reads what happened after a position. `events` of this package does it again and again. */
  async events(after: string | undefined, filter: Record<string, unknown>): Promise<EventPage> {
    const values = [after ?? null, JSON.stringify(filter)]
    return (await run(this.pool, 'select weir.events_after($1, $2::jsonb) as page', values))[0]!['page'] as EventPage
  }

  /** close gives the connection that claims back. Stop workers first. */
  async close(): Promise<void> {
    await this.#claims.close().catch((error: unknown) => {
      throw problemOfSql(error)
    })
  }
}

const arrays = '$1::bigint[], $2::bigint[]'
const intervals = (n: number) => `(select array_agg(make_interval(secs => s) order by i) from unnest($${n}::float8[]) with ordinality t (s, i))`

/** How each outcome is said of many jobs: the values are those beside the ids and tokens. */
const endings: Record<Ack['outcome'], { text: string; values: ((ack: Ack) => unknown)[] }> = {
  complete: {
    text: `select id::text as id from weir.complete_many(${arrays}, $3::text[]::jsonb[]) id`,
    values: [(ack) => (ack.result === undefined ? null : JSON.stringify(ack.result))],
  },
  fail: {
    text: `select job_id::text as id from weir.fail_many(${arrays}, $3::text[]::jsonb[], ${intervals(4)}, $5::boolean[], $6::boolean[])`,
    values: [(ack) => JSON.stringify(ack.error), (ack) => ack.retry_in_seconds ?? null, (ack) => ack.retry ?? true, (ack) => ack.cancel ?? false],
  },
  snooze: {
    text: `select id::text as id from weir.snooze_many(${arrays}, ${intervals(3)}) id`,
    values: [(ack) => ack.delay_seconds ?? 0],
  },
  release: { text: `select id::text as id from weir.release_many(${arrays}) id`, values: [] },
}
