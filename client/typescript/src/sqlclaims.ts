// Claims over SQL: one connection claims for the process. Where there is no job it listens and waits for a notification.

import { hostname } from 'node:os'

import { problemOfSql } from './sqlstate.js'
import type { SqlClient, SqlPool } from './sql.js'
import type { Claimed, ClaimRequest } from './transport.js'
import type { ClaimedJob } from './wire.js'

/** For how long weir notifies, and how long before its end that is asked for again. */
const parkSeconds = 30
const parkAgainAfter = 15_000

/** Claims look again after this time in any case: no notification tells of a transaction that was open when they parked. */
const lookEvery = 1_000

/** A statement that takes longer has lost its connection. */
const statementSeconds = 30

const utc = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as ${column}`

const claimText = `select job_id::text as id, token::text as token, kind, queue, args, attempt, max_attempts, timeout_seconds,
  ${utc('lease_expires_at')}, priority, coalesce(tags, '{}') as tags, coalesce(metadata, '{}') as metadata, ${utc('created_at')},
  dependencies, degraded from weir.claim($1::text[], worker => $2, max_jobs => $3::int, lease_seconds => $4::int)`

export class SqlClaims {
  #client: Promise<SqlClient> | undefined
  /** Statements on the connection take turns. */
  #turn: Promise<unknown> = Promise.resolve()
  #parked = new Map<string, number>()
  #waiting = new Set<{ queues: readonly string[]; wake: () => void }>()

  constructor(private readonly pool: SqlPool) {}

  async claim(request: ClaimRequest, signal: AbortSignal): Promise<Claimed> {
    const until = Date.now() + request.waitSeconds * 1000
    for (;;) {
      const { queues } = request
      let wake!: () => void
      const woken = new Promise<void>((resolve) => (wake = resolve)) // before the claim, so that no notification is missed
      const waiting = { queues, wake }
      this.#waiting.add(waiting)
      try {
        const values = [queues, request.worker, request.limit, request.leaseSeconds]
        const jobs = (await this.#query(claimText, values)) as ClaimedJob[]
        const left = until - Date.now()
        if (jobs.length > 0 || left <= 0 || signal.aborted) return { jobs }
        if (await this.#park(queues)) continue // and look once more: no notification tells of earlier jobs
        await within(woken, Math.min(lookEvery, left), signal)
      } finally {
        this.#waiting.delete(waiting)
      }
    }
  }

  async close(): Promise<void> {
    const client = await this.#client
    this.#drop()
    client?.release(true) // it listens, so no one else should have it
  }

  /** park has weir notify, and returns whether it had to be asked. */
  async #park(queues: readonly string[]): Promise<boolean> {
    const now = Date.now()
    if (queues.every((queue) => (this.#parked.get(queue) ?? 0) > now)) return false
    const node = `${hostname()}-${process.pid}`.slice(0, 200)
    await this.#query('select weir.park($1::text[], $2, $3::int)', [queues, node, parkSeconds])
    for (const queue of queues) this.#parked.set(queue, now + parkAgainAfter)
    return true
  }

  #query(text: string, values: unknown[]): Promise<unknown[]> {
    const result = this.#turn.then(async () => {
      const client = await (this.#client ??= this.#connect())
      const timer = setTimeout(() => client.release(true), statementSeconds * 1000)
      try {
        return (await client.query(text, values)).rows
      } finally {
        clearTimeout(timer)
      }
    })
    this.#turn = result.catch(() => undefined)
    return result.catch((error: unknown) => {
      throw problemOfSql(error)
    })
  }

  async #connect(): Promise<SqlClient> {
    try {
      const client = await this.pool.connect()
      const lost = () => {
        this.#drop()
        try {
          client.release(true)
        } catch {
          // it was released already
        }
      }
      client.on('error', lost)
      client.on('end', lost)
      client.on('notification', ({ payload }: { payload?: string }) => this.#notified(payload ?? ''))
      await client.query('listen weir_ready', [])
      return client
    } catch (error) {
      this.#drop()
      throw error
    }
  }

  #drop(): void {
    this.#client = undefined
    this.#parked.clear()
  }

  #notified(payload: string): void {
    const named = payload.split(',')
    for (const { queues, wake } of this.#waiting) if (payload === '' || queues.some((queue) => named.includes(queue))) wake()
  }
}

/** within waits for a promise, a time or a signal, whichever comes first. */
async function within(promise: Promise<void>, ms: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let stop: (() => void) | undefined
  const limit = new Promise<void>((resolve) => {
    stop = resolve
    timer = setTimeout(resolve, ms)
    signal.addEventListener('abort', resolve as () => void)
  })
  await Promise.race([promise, limit])
  clearTimeout(timer)
  signal.removeEventListener('abort', stop as () => void)
}
