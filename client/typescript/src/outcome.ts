// How a handler ends its job, other than by returning a result or throwing an error.

import type { Ack, Failure } from './wire.js'

/** What is said of a job at its end, without its id and token. `cancel` is a fail that cancels. */
export type Ending = Omit<Ack, 'id' | 'token' | 'outcome'> & { outcome: Ack['outcome'] | 'cancel' }

/** Outcome is what a handler returns or throws, as it likes, to end its job in another way. */
export class Outcome extends Error {
  override readonly name = 'Outcome'
  constructor(readonly ending: Ending) {
    super(ending.error?.message ?? ending.outcome)
  }
}

/** snooze runs the job again after this many seconds. No attempt is lost. */
export function snooze(seconds: number): Outcome {
  return new Outcome({ outcome: 'snooze', delay_seconds: seconds })
}

/** retryIn fails the attempt, and says when to try again in place of the retry policy. */
export function retryIn(seconds: number, reason: unknown): Outcome {
  return new Outcome({ outcome: 'fail', error: failureOf(reason), retry_in_seconds: seconds })
}

/** discard fails the job for good: it is dead, whatever attempts it has left. */
export function discard(reason: unknown): Outcome {
  return new Outcome(failed(reason, false))
}

/** cancel ends the job as cancelled, because it is not needed: that is no failure and no dead letter. */
export function cancel(reason: unknown = 'cancelled by its handler'): Outcome {
  return new Outcome({ outcome: 'cancel', error: { ...failureOf(reason), type: 'cancelled' } })
}

export function failed(error: unknown, retry?: boolean): Ending {
  return { outcome: 'fail', error: failureOf(error), ...(retry !== undefined && { retry }) }
}

/** failureOf makes of whatever was thrown what weir keeps of it: message, type and stack, within its limits. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { message: text(String(error), 8_000), type: typeof error }
  const type = error.name === 'Error' ? error.constructor.name : error.name
  let stack = error.stack ?? ''
  for (let cause = error.cause; cause instanceof Error && stack.length < 16_000; cause = cause.cause) {
    stack += `\nCaused by: ${cause.stack ?? cause.message}`
  }
  return { message: text(error.message || type, 8_000), type: text(type, 200), stack: text(stack, 16_000) }
}

/** text makes a text one that PostgreSQL takes: no zero bytes, no half of a pair, at most this long. */
function text(of: string, length: number): string {
  return of.slice(0, length).replace(/\0|[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g, '\uFFFD')
}
