// Acks: one request at a time, and in it all that have gathered since the last.

import { Backoff, pause } from './backoff.js'
import type { Additions, Held } from './held.js'
import { type Ending, failed } from './outcome.js'
import { isPassing, isStale, isUnfit, Problem } from './problem.js'
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
  #alone = 0
  readonly #givenUp = new AbortController()

  constructor(
    private readonly to: Pick<Working, 'ack' | 'complete'>,
    private readonly handling: Handling,
  ) {}

  /** How many jobs wait for their ack. */
  get pending(): number {
    return this.#waiting.length + this.#alone
  }

  add(held: Held): void {
    if (held.additions && held.ending?.outcome === 'complete') return void this.#complete(held, held.additions)
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

  /** complete completes a job with what it adds. That goes alone: it may be refused, or wait for a lock. */
  async #complete(held: Held, additions: Additions): Promise<void> {
    this.#alone++
    for (const backoff = new Backoff(); ; ) {
      try {
        await this.to.complete(ackOf(held), additions)
        this.handling.fine()
        this.handling.done(held, 'ok')
        break
      } catch (error) {
        if (isStale(error)) {
          this.handling.done(held, 'lost')
          break
        }
        const full = error instanceof Problem && ['queue_full', 'quota_exceeded'].includes(error.code)
        if (full || !isPassing(error)) {
          const why = error instanceof Error ? error.message : String(error)
          held.error = error
          held.ending = { outcome: 'fail', error: { message: `weir refuses what the completion adds: ${why}`.slice(0, 8_000), type: 'follow_up' } }
          await this.#send([held])
          break
        }
        this.handling.trouble(error)
        if (!(await pause(backoff.next(error), this.#givenUp.signal))) {
          this.handling.done(held, 'unsent')
          break
        }
      }
    }
    this.#alone--
  }
}

function ackOf({ job: { id, token }, ending }: Held): Ack {
  const { outcome, ...rest } = ending!
  return outcome === 'cancel' ? { ...rest, outcome: 'fail', cancel: true, id, token } : { ...rest, outcome, id, token }
}
