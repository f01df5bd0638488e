// What a client and a worker need of weir. Two implement it: http.ts over REST and sql.ts over PostgreSQL.

import type { Additions } from './held.js'
import type {
  Ack, AckResult, ClaimedJob, Job, LogLine, NewJob, NewWorkflow, Progress, Schedule, ScheduleDefinition, WorkerBeat, WorkerSettings,
} from './wire.js'

export interface Enqueued {
  id: string
  /** There was a job with this unique or idempotency key, and this is its id. */
  duplicate: boolean
}

export interface ClaimRequest {
  worker: string
  queues: readonly string[]
  limit: number
  leaseSeconds: number
  /** How long to wait for a job where there is none. */
  waitSeconds: number
}

export interface Claimed {
  jobs: ClaimedJob[]
  /** Why the worker may get no jobs: paused, draining, at_capacity, taken. */
  reason?: string | undefined
}

export interface Beat {
  id: string
  token: string
  progress?: Progress | undefined
}

/** cancelled: the lease is held, and a cancellation was requested. lost: another worker has it, or it has ended. */
export type BeatResult = 'held' | 'cancelled' | 'lost'

export interface CallOptions {
  signal?: AbortSignal | undefined
}

export interface EnqueueOptions extends CallOptions {
  /** The same call with the same key, within 24 hours, makes no second job. */
  idempotencyKey?: string | undefined
}

/** Producing is what the client calls. */
export interface Producing {
  enqueue(jobs: readonly NewJob[], options: EnqueueOptions): Promise<Enqueued[]>
  /** Returns the job, at once or when it ends, whichever comes first within waitSeconds. */
  job(id: string, waitSeconds: number, options: CallOptions): Promise<Job>
  cancel(id: string, options: CallOptions): Promise<void>
  submit(workflow: NewWorkflow, options: EnqueueOptions): Promise<string>
  /** The job of a step of a workflow. */
  step(workflow: string, name: string, options: CallOptions): Promise<string>
  putSchedule(name: string, definition: ScheduleDefinition, options: CallOptions): Promise<Schedule['next_at']>
  deleteSchedule(name: string, options: CallOptions): Promise<void>
}

/** Working is what a worker calls. Claims and acks are not tried again here; the worker does that. */
export interface Working {
  claim(request: ClaimRequest, signal: AbortSignal): Promise<Claimed>
  /** Returns a result for each ack, in order. */
  ack(acks: readonly Ack[]): Promise<AckResult[]>
  /** Completes a job and stores what it adds, all or nothing. */
  complete(ack: Ack, additions: Additions): Promise<void>
  /** Returns an answer for each beat, in order. */
  heartbeat(beats: readonly Beat[], leaseSeconds: number): Promise<BeatResult[]>
  /** Adds to the log of a job, and returns how many lines it did not take. */
  log(id: string, token: string, lines: readonly LogLine[]): Promise<number>
  register(worker: string, settings: WorkerSettings): Promise<void>
  beat(worker: string, load: number): Promise<WorkerBeat>
  unregister(worker: string): Promise<void>
}

export interface Transport extends Producing, Working {
  close(): Promise<void>
}
