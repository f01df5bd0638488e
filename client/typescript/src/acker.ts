// Acks: one request at a time, and in it all that have gathered since the last.

import { Backoff, pause } from './backoff.js'
import type { Held } from './held.js'
import { type Ending, failed } from './outcome.js'
import { isPassing, isUnfit, Problem } from './problem.js'
import type { Working } from './transport.js'
import type { Ack } from './wire.js'

/** How long an ack waits for others, in milliseconds, while there is more work in hand. */
const gatherFor = 10

/** The most acks of a request, and about the most bytes of results. */
const mostAcks = 1_000
const mostBytes = 4 << 20

export type AckStatus = 'ok' | 'lost' | 'refused' | 'unsent'

interface Handling {
  /** Is there work whose acks are worth waiting for? */
  busy(): boolean
  /** Called for each job with what became of its ack, whose final form is `ending`. */
  done(held: Held, status: AckStatus): void
  trouble(error: unknown): void
  fine(): void
}

export class Acker {
  #waiting: Held[] = []
  #timer: NodeJS.Timeout | undefined
  #sending = false
  readonly #givenUp = new AbortController()

  constructor(
    private readonly to: Pick<Working, 'ack' | 'cancel'>,
    private readonly handling: Handling,
  ) {}

  /** How many jobs wait for their ack. */
  get pending(): number {
    return this.#waiting.length
  }

  add(held: Held): void {
    this.#waiting.push(held)
    if (this.#sending || this.#timer) return
    this.#timer = setTimeout(() => void this.#flush(), this.handling.busy() ? gatherFor : 0)
  }

  /** giveUp ends the tries to send what weir does not take for the time being. */
  giveUp(): void {
    this.#givenUp.abort()
  }

  async #flush(): Promise<void> {
    this.#sending = true
    this.#timer = undefined
    while (this.#waiting.length > 0) {
      let bytes = 0
      let n = 0
      while (n < this.#waiting.length && n < mostAcks && (n === 0 || bytes < mostBytes)) bytes += this.#waiting[n++]!.size
      await this.#send(this.#waiting.splice(0, n))
    }
    this.#sending = false
  }

  /** send sends acks until they are answered. Those that were taken but whose answer was lost are stale the second time. */
  async #send(batch: readonly Held[]): Promise<void> {
    for (const held of batch) if (held.ending?.outcome === 'cancel') await this.#cancel(held)
    for (const backoff = new Backoff(); ; ) {
      try {
        const results = await this.to.ack(batch.map(ackOf))
        this.handling.fine()
        for (const [i, held] of batch.entries()) {
          const { status, error } = results[i] ?? { status: 'invalid', error: undefined }
          if (status === 'invalid') await this.#amend(held, error?.message ?? 'no answer')
          else this.handling.done(held, status === 'ok' ? 'ok' : 'lost')
        }
        return
      } catch (error) {
        if (isUnfit(error)) return this.#apart(batch, error)
        this.handling.trouble(error)
        if (!isPassing(error) || !(await pause(backoff.next(error), this.#givenUp.signal))) {
          for (const held of batch) this.handling.done(held, 'unsent')
          return
        }
      }
    }
  }

  /** apart finds the ack that weir refuses. */
  async #apart(batch: readonly Held[], error: unknown): Promise<void> {
    const half = Math.floor(batch.length / 2)
    if (half === 0) return this.#amend(batch[0]!, error instanceof Error ? error.message : String(error))
    await this.#send(batch.slice(0, half))
    await this.#send(batch.slice(half))
  }

  /** amend fails a job whose result weir does not take, and one whose error it does not take with a plain one. */
  async #amend(held: Held, why: string): Promise<void> {
    const before = held.ending
    if (before?.error?.type === 'refused') return this.handling.done(held, 'refused')
    const what = before?.outcome === 'complete' ? 'the result' : `the outcome ${before?.outcome}`
    const ending: Ending = failed(new Error(`weir refuses ${what}: ${why}`), before?.outcome === 'complete' ? false : undefined)
    held.ending = { ...ending, error: { message: ending.error!.message, type: 'refused' } }
    await this.#send([held])
  }

  /** cancel asks for the end of a job, so that releasing it makes it cancelled. */
  async #cancel(held: Held): Promise<void> {
    for (const backoff = new Backoff(); ; ) {
      try {
        await this.to.cancel(held.job.id, {})
        held.ending = { outcome: 'release' }
        return
      } catch (error) {
        if (isPassing(error) && (await pause(backoff.next(error), this.#givenUp.signal))) continue
        const forbidden = error instanceof Problem && error.status === 403
        held.ending = forbidden ? { ...held.ending, outcome: 'fail' } : { outcome: 'release' }
        return
      }
    }
  }
}

function ackOf({ job, ending }: Held): Ack {
  return { ...(ending as Omit<Ack, 'id' | 'token'>), id: job.id, token: job.token }
}
