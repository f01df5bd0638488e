// weir over REST.

import { randomUUID } from 'node:crypto'

import createClient, { type Client } from 'openapi-fetch'

import { Backoff, pause } from './backoff.js'
import type { Additions } from './held.js'
import { isPassing, isUndone, Problem } from './problem.js'
import type { components, paths } from './rest.js'
import type {
  Beat, BeatResult, CallOptions, Claimed, ClaimRequest, Enqueued, EnqueueOptions, Transport,
} from './transport.js'
import type { Ack, AckResult, Job, LogLine, NewJob, NewWorkflow, Schedule, ScheduleDefinition, WorkerBeat, WorkerSettings } from './wire.js'

export interface HttpOptions {
  /** The API key, or what returns it: called for each request, so that a rotated key is followed. */
  key?: string | (() => string | Promise<string>)
  /** How long calls of producers are tried again while weir cannot be reached or has too much to do. Defaults to 30. */
  retrySeconds?: number
  /** In place of the global fetch: for a proxy, certificates of your own, or a test. */
  fetch?: (request: Request) => Promise<Response>
}

/** How long a call may take, beside the time that it asks weir to wait. */
const callSeconds = 30

interface Answer<T> {
  data?: T
  error?: unknown
  response: Response
}

type Schemas = components['schemas']
type Send<T> = (signal: AbortSignal) => Promise<Answer<T>>

/** http connects to a node of weir. It opens connections as they are needed, so there is nothing to close. */
export function http(url: string, options: HttpOptions = {}): Http {
  return new Http(url, options)
}

export class Http implements Transport {
  /** Every operation of the REST API, typed: `rest.GET('/v1/queues')`. */
  readonly rest: Client<paths>
  readonly #retrySeconds: number

  constructor(url: string, { key, retrySeconds = 30, fetch }: HttpOptions) {
    this.#retrySeconds = retrySeconds
    this.rest = createClient<paths>({
      baseUrl: url.replace(/\/+$/, ''),
      querySerializer: { array: { style: 'form', explode: false } },
      ...(fetch && { fetch }),
    })
    this.rest.use({
      async onRequest({ request }) {
        const token = typeof key === 'function' ? await key() : key
        if (token !== undefined) request.headers.set('Authorization', `Bearer ${token}`)
      },
    })
  }

  async enqueue(jobs: readonly NewJob[], { signal, idempotencyKey }: EnqueueOptions = {}): Promise<Enqueued[]> {
    const [only, ...others] = jobs
    if (only && others.length === 0) {
      const headers = { 'Idempotency-Key': idempotencyKey ?? randomUUID() }
      const job = await this.#insist((signal) => this.rest.POST('/v1/jobs', { body: only, headers, signal }), signal)
      return [{ id: job.id, duplicate: job.duplicate ?? false }]
    }
    // A key of a batch costs as much as one for each job, so it has one only if that was asked for.
    const headers = idempotencyKey === undefined ? {} : { 'Idempotency-Key': idempotencyKey }
    const send: Send<Schemas['EnqueuedJobs']> = (signal) => this.rest.POST('/v1/jobs/batch', { body: { jobs: [...jobs] }, headers, signal })
    const batch = await this.#insist(send, signal, 0, idempotencyKey === undefined ? isUndone : isPassing)
    const duplicates = new Set(batch.duplicate_at)
    return batch.ids.map((id, place) => ({ id, duplicate: duplicates.has(place) }))
  }

  job(id: string, waitSeconds: number, { signal }: CallOptions): Promise<Job> {
    const params = { path: { id }, query: waitSeconds > 0 ? { wait_seconds: waitSeconds } : {} }
    return this.#insist((signal) => this.rest.GET('/v1/jobs/{id}', { params, signal }), signal, waitSeconds)
  }

  async cancel(id: string, { signal }: CallOptions): Promise<void> {
    await this.#insist((signal) => this.rest.POST('/v1/jobs/{id}/cancel', { params: { path: { id } }, signal }), signal)
  }

  async submit(workflow: NewWorkflow, { signal, idempotencyKey = randomUUID() }: EnqueueOptions): Promise<string> {
    const headers = { 'Idempotency-Key': idempotencyKey }
    const made = await this.#insist((signal) => this.rest.POST('/v1/workflows', { body: workflow, headers, signal }), signal)
    return made.id
  }

  async step(workflow: string, name: string, { signal }: CallOptions): Promise<string> {
    for (let cursor: string | undefined; ; ) {
      const params = { path: { id: workflow }, query: { limit: 1000, ...(cursor && { cursor }) } }
      const page = await this.#insist((signal) => this.rest.GET('/v1/workflows/{id}/steps', { params, signal }), signal)
      const found = page.items.find((step) => step.name === name)
      if (found) return found.job_id
      if (!page.next_cursor) throw new Problem({ code: 'not_found', status: 404, detail: `workflow ${workflow} has no step ${name}` })
      cursor = page.next_cursor
    }
  }

  async putSchedule(name: string, body: ScheduleDefinition, { signal }: CallOptions): Promise<Schedule['next_at']> {
    const params = { path: { name } }
    return (await this.#insist((signal) => this.rest.PUT('/v1/schedules/{name}', { params, body, signal }), signal)).next_at
  }

  async deleteSchedule(name: string, { signal }: CallOptions): Promise<void> {
    await this.#insist((signal) => this.rest.DELETE('/v1/schedules/{name}', { params: { path: { name } }, signal }), signal)
  }

  async claim(request: ClaimRequest, signal: AbortSignal): Promise<Claimed> {
    const body = {
      worker: request.worker, queues: [...request.queues], limit: request.limit, lease_seconds: request.leaseSeconds,
      ...(request.waitSeconds > 0 && { wait_seconds: request.waitSeconds }),
    }
    return this.#once((signal) => this.rest.POST('/v1/claims', { body, signal }), signal, request.waitSeconds)
  }

  async ack(acks: readonly Ack[]): Promise<AckResult[]> {
    return (await this.#once((signal) => this.rest.POST('/v1/acks', { body: { acks: [...acks] }, signal }))).results
  }

  async complete({ id, token, result }: Ack, { jobs, steps }: Additions): Promise<void> {
    const body = { token, result, ...(jobs.length > 0 && { jobs }), ...(steps.length > 0 && { add_steps: steps }) }
    await this.#once((signal) => this.rest.POST('/v1/jobs/{id}/complete', { params: { path: { id } }, body, signal }))
  }

  async heartbeat(beats: readonly Beat[], leaseSeconds: number): Promise<BeatResult[]> {
    const heartbeats = beats.map(({ id, token, progress }) => ({ id, token, ...(progress && { progress }) }))
    const { results } = await this.#once((signal) =>
      this.rest.POST('/v1/heartbeats', { body: { lease_seconds: leaseSeconds, heartbeats }, signal }),
    )
    return results.map(({ status, cancel_requested }) => (status === 'lost' ? 'lost' : cancel_requested ? 'cancelled' : 'held'))
  }

  async log(id: string, token: string, lines: readonly LogLine[]): Promise<number> {
    const body = { token, lines: [...lines] }
    return (await this.#once((signal) => this.rest.POST('/v1/jobs/{id}/logs', { params: { path: { id } }, body, signal }))).dropped
  }

  async register(name: string, settings: WorkerSettings): Promise<void> {
    await this.#once((signal) => this.rest.PUT('/v1/workers/{name}', { params: { path: { name } }, body: settings, signal }))
  }

  beat(name: string, load: number): Promise<WorkerBeat> {
    return this.#once((signal) =>
      this.rest.POST('/v1/workers/{name}/heartbeat', { params: { path: { name } }, body: { load }, signal }),
    )
  }

  async unregister(name: string): Promise<void> {
    await this.#once((signal) => this.rest.DELETE('/v1/workers/{name}', { params: { path: { name } }, signal }))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  /** insist tries a call again while it may succeed later. */
  async #insist<T>(send: Send<T>, signal?: AbortSignal, waitSeconds = 0, mayPass = isPassing): Promise<T> {
    const giveUpAt = Date.now() + this.#retrySeconds * 1000
    for (const backoff = new Backoff(); ; ) {
      try {
        return await this.#once(send, signal, waitSeconds)
      } catch (error) {
        const wait = backoff.next(error)
        if (!mayPass(error) || Date.now() + wait > giveUpAt || !(await pause(wait, signal))) throw error
      }
    }
  }

  async #once<T>(send: Send<T>, signal?: AbortSignal, waitSeconds = 0): Promise<T> {
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(new Error('weir did not answer in time')), (callSeconds + waitSeconds) * 1000)
    const stop = () => limit.abort(signal?.reason)
    if (signal?.aborted) stop()
    signal?.addEventListener('abort', stop)
    try {
      const { data, error, response } = await send(limit.signal)
      if (response.ok) return data as T
      throw problemOf(error, response)
    } catch (error) {
      if (error instanceof Problem || signal?.aborted) throw error
      throw new Problem({ code: 'unreachable', status: 503, detail: describe(error), cause: error })
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
  }
}

export function problemOf(body: unknown, response: Response): Problem {
  const of = (typeof body === 'object' && body !== null ? body : {}) as Partial<{
    code: string; detail: string; hint: string; errors: { location?: string; message?: string }[]
  }>
  const wait = Number.parseFloat(response.headers.get('Retry-After') ?? '')
  return new Problem({
    code: of.code ?? `status_${response.status}`,
    status: response.status,
    detail: of.detail ?? (typeof body === 'string' && body !== '' ? body.slice(0, 200) : response.statusText),
    hint: of.hint,
    errors: of.errors,
    retryAfterSeconds: Number.isFinite(wait) ? wait : undefined,
  })
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
