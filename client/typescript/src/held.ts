// A job that a worker holds: from its claim until its ack is answered, or its lease is lost.

import type { JobLog } from './log.js'
import type { Ending } from './outcome.js'
import type { ClaimedJob, Progress } from './wire.js'

/** Why the signal of a handler is aborted. */
export type StopReason = 'cancelled' | 'lease lost' | 'timeout' | 'shutdown'

/** Stopped is the reason of a handler's aborted signal. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
  constructor(readonly why: StopReason) {
    super(`the job is to stop: ${why}`)
  }
}

export class Held {
  phase: 'waiting' | 'running' | 'ended' = 'waiting'
  stopped: StopReason | undefined
  /** The handler completed it in a transaction of its own, which may have committed: nothing more is said of it then. */
  completedApart = false
  ending: Ending | undefined
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

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  stop(why: StopReason): void {
    if (this.stopped) return
    this.stopped = why
    this.#abort.abort(new Stopped(why))
  }
}
