// The log of a job: lines are sent about once a second, and the last ones before the job ends.

import { Backoff, pause } from './backoff.js'
import { isPassing } from './problem.js'
import type { Working } from './transport.js'
import type { ClaimedJob, LogLine } from './wire.js'

const sendEvery = 1_000
const sendAt = 100 // lines
const mostLines = 1_000
const mostBytes = 512 << 10
const lastSeconds = 2

type Level = NonNullable<LogLine['level']>
export type Fields = Record<string, unknown>

/** JobLog takes lines and never waits. What finds no room is dropped, and a line says how many are missing. */
export class JobLog {
  #lines: LogLine[] = []
  #bytes = 0
  #missing = 0
  #closed = false
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined

  constructor(
    private readonly to: Pick<Working, 'log'>,
    private readonly job: Pick<ClaimedJob, 'id' | 'token'>,
  ) {}

  debug(message: string, fields?: Fields): void {
    this.#add('debug', message, fields)
  }

  info(message: string, fields?: Fields): void {
    this.#add('info', message, fields)
  }

  warn(message: string, fields?: Fields): void {
    this.#add('warn', message, fields)
  }

  error(message: string, fields?: Fields): void {
    this.#add('error', message, fields)
  }

  /** end sends what is left, and takes no more. It waits a little for that and for what is on its way, because a job that has ended takes no lines. */
  async end(): Promise<void> {
    if (this.#missing > 0) this.#push(missing(this.#missing), 0)
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(), lastSeconds * 1000)
    while ((this.#lines.length > 0 || this.#sending) && !limit.signal.aborted) await Promise.race([this.#send(limit.signal), aborted(limit.signal)])
    clearTimeout(timer)
    this.discard()
  }

  discard(): void {
    clearTimeout(this.#timer)
    this.#closed = true
    this.#lines = []
  }

  #add(level: Level, message: string, fields?: Fields): void {
    if (this.#closed) return
    const line = { at: new Date().toISOString(), level, message: message.slice(0, 8_000) || ' ', ...(fields && { fields }) }
    const size = JSON.stringify(line).length
    if (this.#lines.length >= mostLines - 1 || this.#bytes + size > mostBytes) {
      this.#missing++
      return
    }
    if (this.#missing > 0) this.#push(missing(this.#missing), 100)
    this.#missing = 0
    this.#push(line, size)
    if (this.#lines.length >= sendAt) void this.#send()
    else this.#timer ??= setTimeout(() => void this.#send(), sendEvery)
  }

  #push(line: LogLine, size: number): void {
    this.#lines.push(line)
    this.#bytes += size
  }

  #send(signal?: AbortSignal): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#sending ??= this.#sendOnce(signal).finally(() => {
      this.#sending = undefined
    })
    return this.#sending
  }

  async #sendOnce(signal?: AbortSignal): Promise<void> {
    const batch = this.#lines
    if (batch.length === 0) return
    this.#lines = []
    this.#bytes = 0
    for (const backoff = new Backoff(); ; ) {
      try {
        if ((await this.to.log(this.job.id, this.job.token, batch)) > 0) this.discard() // the log is full
        return
      } catch (error) {
        if (!isPassing(error)) return // the lease is lost, or weir takes no such lines
        if (this.#closed || !(await pause(backoff.next(error), signal))) return
      }
    }
  }
}

function missing(n: number): LogLine {
  return { at: new Date().toISOString(), level: 'warn', message: `${n} lines are missing here: the worker dropped them` }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
