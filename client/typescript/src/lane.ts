// A lane: queues that share slots, and the claims for them.

import { Backoff, pause } from './backoff.js'
import type { Held } from './held.js'
import { isPassing } from './problem.js'
import type { Claimed, Working } from './transport.js'

/** How long a claim waits at weir for a job. */
const claimSeconds = 30

/** How much work is claimed ahead of need, as a time: enough to keep the slots busy during a claim, and no more. */
const aheadFor = 500

const mostJobs = 1_000

interface Handling {
  /** Takes in jobs. */
  hold(lane: Lane, claimed: Claimed): void
  /** Is there so much to be acked that no more should be claimed? */
  full(): boolean
  trouble(error: unknown): void
  fine(): void
}

interface Config {
  worker: string
  queues: readonly string[]
  slots: number
  leaseSeconds: number
}

export class Lane {
  running = 0
  /** Those that wait for a slot, in order. */
  waiting: Held[] = []
  /** Those of them whose kind has no slot free. Up to as many as there are slots, others are claimed beside them. */
  blocked = 0
  /** Has weir ever answered a claim? */
  accepted = false
  #meanRun = 0
  #dry = false
  #wake: (() => void) | undefined
  readonly #ending = new AbortController()

  constructor(
    readonly config: Config,
    private readonly from: Pick<Working, 'claim'>,
    private readonly handling: Handling,
  ) {}

  /** The most jobs that the lane holds besides those that run. */
  get mostAhead(): number {
    return Math.max(2 * this.config.slots, 8)
  }

  /** changed has the lane look whether there is something to claim. */
  changed(): void {
    this.#wake?.()
  }

  /** ran counts a run's time towards the mean. */
  ran(ms: number): void {
    this.#meanRun = this.#meanRun === 0 ? ms : this.#meanRun + (ms - this.#meanRun) / 8
  }

  /** run claims until end is called, or until weir refuses the first claim: then it throws. */
  async run(): Promise<void> {
    const signal = this.#ending.signal
    for (const backoff = new Backoff(); !signal.aborted; ) {
      const { limit, patient } = this.#wanted()
      if (limit === 0) {
        await new Promise<void>((resolve) => (this.#wake = resolve))
        continue
      }
      const asked = Date.now()
      try {
        const claimed = await this.claim(limit, patient ? claimSeconds : 0)
        this.#dry = !patient && claimed.jobs.length === 0
        const cutShort = patient && claimed.jobs.length === 0 && Date.now() - asked < 1_000 // its node shuts down, say
        if (cutShort) await pause(backoff.next(), signal)
        else backoff.reset()
      } catch (error) {
        if (signal.aborted) return
        if (!isPassing(error) && !this.accepted) throw error
        this.handling.trouble(error)
        await pause(backoff.next(error), signal)
      }
    }
  }

  async claim(limit: number, waitSeconds: number): Promise<Claimed> {
    const { worker, queues, leaseSeconds } = this.config
    const claimed = await this.from.claim({ worker, queues, limit, leaseSeconds, waitSeconds }, this.#ending.signal)
    this.accepted = true
    this.handling.fine()
    this.handling.hold(this, claimed)
    return claimed
  }

  end(): void {
    this.#ending.abort()
    this.#wake?.()
  }

  /** A claim waits only for slots that are idle. Ahead of need the lane asks when half of that is used up. */
  #wanted(): { limit: number; patient: boolean } {
    const { slots } = this.config
    if (this.handling.full()) return { limit: 0, patient: false }
    const ahead = this.#meanRun === 0 ? 0 : Math.min(this.mostAhead, Math.floor((slots * aheadFor) / this.#meanRun))
    const held = this.running + this.waiting.length - Math.min(this.blocked, slots)
    const missing = Math.min(slots + ahead - held, mostJobs)
    if (held < slots) return { limit: missing, patient: true }
    const enough = this.#dry || missing < Math.max(1, ahead / 2)
    return { limit: enough ? 0 : missing, patient: false }
  }
}
