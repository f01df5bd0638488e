// A job that a worker holds: from its claim until its ack is answered, or its lease is lost.

import type { JobLog } from './log.js'
import type { Ending } from './outcome.js'
import type { ClaimedJob, NewJob, NewStep, Progress } from './wire.js'

/** Why the signal of a handler is aborted. */
export type StopReason = 'cancelled' | 'lease lost' | 'timeout' | 'shutdown'

/** Stopped is the reason of a handler's aborted signal. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
  constructor(readonly why: StopReason) {
    super(`the job is to stop: ${why}`)
  }
}

/** What a handler collects to be stored with the completion of its job. */
export interface Additions {
  jobs: NewJob[]
  steps: NewStep[]
}

export class Held {
  phase: 'waiting' | 'running' | 'ended' = 'waiting'
  stopped: StopReason | undefined
  /** The handler completed it in a transaction of its own, which may have committed: nothing more is said of it then. */
  completedApart = false
  ending: Ending | undefined
  readonly #adding: Promise<Partial<Additions>>[] = []
  /** What a completion stores with it, if there is something. */
  additions: Additions | undefined
  error: unknown
  /** How much of a request its ack takes. */
  size = 100
  progress: Progress | undefined
  beatAt: number
  beating = false
  startedAt = 0
  log: JobLog | undefined
  readonly deadline: number
  readonly #abort = new AbortController()

  constructor(
    readonly job: ClaimedJob,
    readonly claimedAt: number,
    beatInterval: number,
  ) {
    this.beatAt = claimedAt + beatInterval
    // weir counts from the claim and takes the job back at that time, so the worker is a little early.
    const timeout = job.timeout_seconds * 1000
    this.deadline = claimedAt + timeout - Math.min(timeout / 10, 500)
  }

  /** add collects something that is made meanwhile. gather throws the error of one that was not made. */
  add(made: Promise<Partial<Additions>>): Promise<void> {
    this.#adding.push(made)
    const added = made.then(() => undefined)
    added.catch(() => undefined)
    return added
  }

  /** gather waits for all that was added. */
  async gather(): Promise<Additions | undefined> {
    if (this.#adding.length === 0) return undefined
    const all = await Promise.all(this.#adding)
    this.additions = { jobs: all.flatMap((some) => some.jobs ?? []), steps: all.flatMap((some) => some.steps ?? []) }
    return this.additions
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  stop(why: StopReason): void {
    if (this.stopped) return
    this.stopped = why
    this.#abort.abort(new Stopped(why))
  }
}
