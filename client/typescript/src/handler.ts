// What handlers and middleware are given.

import type { Held, StopReason } from './held.js'
import { Invalid, validate } from './schema.js'
import { type Args, type ArgsIn, type JobType, type Needs, newJob, type ResultIn } from './job.js'
import type { Fields, JobLog } from './log.js'
import { discard, failed, type Outcome } from './outcome.js'
import { completeTx, type Tx } from './tx.js'
import type { ClaimedJob, JobOptions } from './wire.js'
import type { WorkflowPlan } from './workflow.js'

/** RunningJob is the job that a handler runs. */
export interface RunningJob<T extends JobType = JobType> extends Omit<ClaimedJob, 'args' | 'dependencies'> {
  readonly args: Args<T>
  /** The results of the steps that this one depends on, by their names. */
  readonly dependencies: Needs<T>
  /**
   * Completes the job in a transaction of yours, as its last statement: its effects and the completion commit together, or
   * not at all. It throws a Problem with the code `stale_token` if another worker has the job. Return what it returns.
   */
  completeTx(tx: Tx, result: ResultIn<T>): Promise<Completed>
  /**
   * Makes a follow-up job: it is stored in the transaction that completes this job, and not at all if this attempt does not
   * complete. Its parent is this job and its tenant is its tenant, unless it names others. Where weir refuses it, the attempt
   * fails with the reason.
   */
  enqueue<F extends JobType>(type: F, args: ArgsIn<F>, options?: JobOptions): Promise<void>
  /**
   * Adds the steps of a plan to the workflow that this job is a step of, as `enqueue` does jobs. They may come after this
   * step, each other, and any other step: `existing` names one.
   */
  addSteps(plan: WorkflowPlan): Promise<void>
}

export interface Context {
  /** Aborted when the handler is to stop: its reason is a Stopped. A handler that throws then gives the job back. */
  readonly signal: AbortSignal
  readonly stopped: StopReason | undefined
  /** When the attempt times out. */
  readonly deadline: Date
  readonly log: Pick<JobLog, 'debug' | 'info' | 'warn' | 'error'>
  /** Shown with the job while it runs. Sent with heartbeats, about once a second. */
  progress(percent: number, message?: string): void
  /** For middleware: what handlers further inside may read. */
  readonly values: Map<unknown, unknown>
}

/** Completed is what a handler returns that completed its job in a transaction of its own. */
export class Completed {
  // A private field keeps other values from passing for it.
  readonly #completed = true
  toString(): string {
    return this.#completed ? 'completed' : ''
  }
}

type Ended<T extends JobType> = ResultIn<T> | Outcome | Completed

export type Handler<T extends JobType> = (job: RunningJob<T>, context: Context) => Promise<Ended<T>> | Ended<T>

/** Middleware runs around each handler: what it does before and after `next`, it does before and after the handler. */
export type Middleware = (job: RunningJob, context: Context, next: () => Promise<unknown>) => Promise<unknown>

export interface HandlerOptions {
  /** How many jobs of the kind run at once in this worker. Defaults to no limit of its own. */
  concurrency?: number
}

/** Handling is a kind that a worker handles. */
export class Handling {
  running = 0

  constructor(
    readonly type: JobType,
    private readonly handler: Handler<JobType>,
    readonly concurrency: number,
  ) {}

  /** handle runs the handler in its middleware. It returns what the handler does, and throws what it throws. */
  async handle(held: Held, context: Context, middleware: readonly Middleware[]): Promise<unknown> {
    const { type } = this
    const { id, token, args, dependencies, ...rest } = held.job
    const job: RunningJob = {
      ...rest, id, token,
      args: await this.#valid(() => validate(type.args, args, `args of job ${id}`)),
      dependencies: await this.#valid(() => dependenciesOf(type, held.job)),
      completeTx: async (tx, result) => {
        await validate(type.result, result, `result of job ${id}`)
        const additions = await held.gather()
        held.completedApart = true
        await completeTx(tx, held.job, result, additions)
        return new Completed()
      },
      enqueue: (type, args, options) => held.add(newJob(type, args, options).then((job) => ({ jobs: [job] }))),
      addSteps: (plan) => held.add(plan.definition().then(({ steps }) => ({ steps }))),
    }
    const call = (n: number): Promise<unknown> => {
      const around = middleware[n]
      return around ? around(job, context, () => call(n + 1)) : Promise.resolve(this.handler(job, context))
    }
    return call(0)
  }

  /** valid discards a job whose args no attempt can handle. */
  async #valid<T>(validated: () => Promise<T>): Promise<T> {
    try {
      return await validated()
    } catch (error) {
      throw error instanceof Invalid ? discard(error) : error
    }
  }

  /** checked returns the ending of a handler that returned a result. */
  async checked(result: unknown): Promise<{ ending: { outcome: 'complete'; result?: unknown } | ReturnType<typeof failed>; size: number }> {
    try {
      if (this.type.result) await validate(this.type.result, result, `result of ${this.type.kind}`)
      const size = JSON.stringify(result)?.length ?? 0
      return { ending: { outcome: 'complete', ...(size > 0 && { result }) }, size }
    } catch (error) {
      return { ending: failed(error, false), size: 0 }
    }
  }
}

async function dependenciesOf(type: JobType, job: ClaimedJob): Promise<Record<string, unknown>> {
  const given = (job.dependencies ?? {}) as Record<string, unknown>
  const dependencies = { ...given }
  for (const [name, step] of Object.entries((type.needs ?? {}) as Record<string, JobType>)) {
    if (name in given) dependencies[name] = await validate(step.result, given[name], `result of step ${name}`)
  }
  return dependencies
}

/** contextOf is what the handler of a held job is given. */
export function contextOf(held: Held, logOf: () => JobLog, progressed: () => void): Context {
  return {
    signal: held.signal,
    get stopped() {
      return held.stopped
    },
    deadline: new Date(held.deadline),
    log: {
      debug: (message: string, fields?: Fields) => logOf().debug(message, fields),
      info: (message: string, fields?: Fields) => logOf().info(message, fields),
      warn: (message: string, fields?: Fields) => logOf().warn(message, fields),
      error: (message: string, fields?: Fields) => logOf().error(message, fields),
    },
    progress(percent, message) {
      held.progress = { percent, ...(message !== undefined && { message }) }
      progressed()
    },
    values: new Map(),
  }
}
