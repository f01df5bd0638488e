// The client: what produces jobs, and waits for their results.

import { validate } from './schema.js'
import { type ArgsIn, type JobType, newJob, type Result } from './job.js'
import type { CallOptions, Enqueued, Producing } from './transport.js'
import type { Step, WorkflowPlan } from './workflow.js'
import type { Job, JobOptions, NewJob, ScheduleDefinition } from './wire.js'

/** How long one question for a result waits at weir. */
const waitSeconds = 30

export interface EnqueueJobOptions extends JobOptions {
  /** The same call with the same key within 24 hours makes no second job. Over REST, single jobs always have one. */
  idempotency_key?: string
}

export interface ResultOptions extends CallOptions {
  /** How long to wait. Defaults to no limit. */
  timeoutSeconds?: number
}

/** JobFailed is thrown where a result is waited for, and the job died or was cancelled. */
export class JobFailed extends Error {
  override readonly name = 'JobFailed'
  constructor(readonly job: Job) {
    super(`job ${job.id} (${job.kind}) is ${job.state}${job.error?.message ? `: ${job.error.message}` : ''}`)
  }
}

/** Handle is a job that was enqueued. */
export class Handle<T extends JobType = JobType> {
  constructor(
    private readonly to: Producing,
    readonly type: T,
    readonly id: string,
    /** A job with its unique or idempotency key was there already, and this is it. */
    readonly duplicate = false,
  ) {}

  /** job reads the job as it is now. */
  job(options: CallOptions = {}): Promise<Job> {
    return this.to.job(this.id, 0, options)
  }

  /** result waits for the end of the job and returns its result. It throws JobFailed if the job died or was cancelled. */
  async result({ timeoutSeconds = Infinity, signal }: ResultOptions = {}): Promise<Result<T>> {
    const until = Date.now() + timeoutSeconds * 1000
    for (;;) {
      signal?.throwIfAborted()
      const left = Math.max(0, (until - Date.now()) / 1000)
      const job = await this.to.job(this.id, Math.min(left, waitSeconds), { signal })
      if (job.state === 'completed') return validate(this.type.result, job.result, `result of job ${this.id}`) as Promise<Result<T>>
      if (job.state === 'dead' || job.state === 'cancelled') throw new JobFailed(job)
      if (left <= waitSeconds) throw new Error(`job ${this.id} has not ended in ${timeoutSeconds} seconds: it is ${job.state}`)
    }
  }

  /** cancel cancels a job that waits, and asks the worker of one that runs to stop. */
  cancel(options: CallOptions = {}): Promise<void> {
    return this.to.cancel(this.id, options)
  }
}

export interface ClientOptions {
  /** Changes each job before it is sent: the one of `tracing` adds the trace. */
  prepare?: (job: NewJob) => NewJob
}

export class Client {
  readonly #prepare: (job: NewJob) => NewJob

  constructor(
    private readonly to: Producing,
    { prepare = (job) => job }: ClientOptions = {},
  ) {
    this.#prepare = prepare
  }

  /** enqueue enqueues a job. Its args are checked first. */
  async enqueue<T extends JobType>(type: T, args: ArgsIn<T>, options: EnqueueJobOptions & CallOptions = {}): Promise<Handle<T>> {
    const { idempotency_key: idempotencyKey, signal, ...fields } = options
    const job = this.#prepare(await newJob(type, args, fields))
    const [made] = await this.to.enqueue([job], { idempotencyKey, signal })
    return this.#handle(type, made!)
  }

  /** enqueueMany enqueues up to 10,000 jobs of a kind, all or none. Options of one job stand beside its args. */
  async enqueueMany<T extends JobType>(
    type: T,
    jobs: readonly { args: ArgsIn<T>; options?: JobOptions }[],
    { idempotency_key: idempotencyKey, signal, ...shared }: EnqueueJobOptions & CallOptions = {},
  ): Promise<Handle<T>[]> {
    const made = await Promise.all(jobs.map(async ({ args, options }) => this.#prepare(await newJob(type, args, { ...shared, ...options }))))
    return (await this.to.enqueue(made, { idempotencyKey, signal })).map((one) => this.#handle(type, one))
  }

  /** handle is the handle of a job that was enqueued elsewhere. */
  handle<T extends JobType>(type: T, id: string): Handle<T> {
    return new Handle(this.to, type, id)
  }

  /** submit submits a workflow. */
  async submit(plan: WorkflowPlan, { idempotency_key: idempotencyKey, signal }: { idempotency_key?: string } & CallOptions = {}): Promise<WorkflowRun> {
    return new WorkflowRun(this.to, await this.to.submit(await plan.definition(), { idempotencyKey, signal }))
  }

  /** schedule has jobs made at times, and replaces a schedule of the name. Returns when it makes the next one. */
  async schedule<T extends JobType>(
    name: string,
    when: Omit<ScheduleDefinition, 'job' | 'workflow'>,
    type: T,
    args: ArgsIn<T>,
    options: JobOptions = {},
  ): Promise<Date | undefined> {
    const next = await this.to.putSchedule(name, { ...when, job: await newJob(type, args, options) }, {})
    return next ? new Date(next) : undefined
  }

  unschedule(name: string, options: CallOptions = {}): Promise<void> {
    return this.to.deleteSchedule(name, options)
  }

  #handle<T extends JobType>(type: T, { id, duplicate }: Enqueued): Handle<T> {
    return new Handle(this.to, type, id, duplicate)
  }
}

/** WorkflowRun is a workflow that was submitted. */
export class WorkflowRun {
  constructor(
    private readonly to: Producing,
    readonly id: string,
  ) {}

  /** step is the handle of the job of a step. */
  async step<T extends JobType>(step: Step<string, T>, options: CallOptions = {}): Promise<Handle<T>> {
    return new Handle(this.to, step.type, await this.to.step(this.id, step.name, options))
  }

  /** result waits for the result of a step. */
  async result<T extends JobType>(step: Step<string, T>, options: ResultOptions = {}): Promise<Result<T>> {
    return (await this.step(step, options)).result(options)
  }
}

