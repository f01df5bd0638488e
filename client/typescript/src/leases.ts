// The leases of the jobs that a worker holds: heartbeats for all of them, many in one call.

import type { Held } from './held.js'
import type { BeatResult, Working } from './transport.js'

const mostBeats = 1_000

/** How soon progress is sent, and how soon a heartbeat that got no answer is tried again, at most. */
const progressEvery = 1_000
const tryAgainAfter = 2_000

interface Handling {
  lost(held: Held): void
  cancelled(held: Held): void
  trouble(error: unknown): void
  fine(): void
}

export class Leases {
  readonly interval: number
  #underWay = false

  constructor(
    private readonly to: Pick<Working, 'heartbeat'>,
    private readonly leaseSeconds: number,
    private readonly handling: Handling,
  ) {
    this.interval = (leaseSeconds * 1000) / 3
  }

  /** soon has a job's progress sent. */
  soon(held: Held): void {
    held.beatAt = Math.min(held.beatAt, Date.now() + progressEvery)
  }

  /** send sends the heartbeats that are due, and those that will be soon. One call is under way at a time. */
  send(all: Iterable<Held>, now: number): void {
    if (this.#underWay) return
    // A job that is being completed in a transaction keeps its lease locked: a heartbeat would wait for that.
    const mine = [...all].filter((held) => !held.completedApart)
    if (!mine.some((held) => held.beatAt <= now)) return
    const due = mine.filter((held) => held.beatAt <= now + this.interval / 4).slice(0, mostBeats)
    void this.#beat(due)
  }

  async #beat(due: readonly Held[]): Promise<void> {
    this.#underWay = true
    const progress = due.map((held) => held.progress)
    const beats = due.map(({ job, progress }) => ({ id: job.id, token: job.token, progress }))
    let results: BeatResult[] = []
    try {
      results = await this.to.heartbeat(beats, this.leaseSeconds)
      this.handling.fine()
    } catch (error) {
      this.handling.trouble(error)
    }
    this.#underWay = false
    for (const [i, held] of due.entries()) {
      const result = results[i]
      // While weir is out of reach, handlers go on: other workers cannot reach it either, or their acks are refused.
      held.beatAt = Date.now() + (result ? this.interval : Math.min(this.interval / 2, tryAgainAfter))
      if (result === 'lost') this.handling.lost(held)
      if (!result || result === 'lost') continue
      if (held.progress === progress[i]) held.progress = undefined
      else this.soon(held)
      if (result === 'cancelled') this.handling.cancelled(held)
    }
  }
}
