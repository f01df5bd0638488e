// Waiting between tries.

import { setTimeout as delay } from 'node:timers/promises'

import { Problem } from './problem.js'

const firstWait = 100
const longestWait = 5_000

/** Backoff counts tries. Waits double from 100 ms to 5 s, and are drawn at random from the upper half of that. */
export class Backoff {
  #tries = 0

  reset(): void {
    this.#tries = 0
  }

  /** next is how many milliseconds to wait after an error, at least as long as weir asks for. */
  next(error?: unknown): number {
    const most = Math.min(longestWait, firstWait * 2 ** this.#tries++)
    const asked = error instanceof Problem ? (error.retryAfterSeconds ?? 0) * 1000 : 0
    return asked + most * (0.5 + Math.random() / 2)
  }
}

/** pause waits, and returns false if the signal ends the wait. */
export async function pause(ms: number, signal?: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, signal && { signal })
    return true
  } catch {
    return false
  }
}
