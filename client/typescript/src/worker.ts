// The worker: claims jobs, runs their handlers, keeps their leases, and reports how they ended.

import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import { hostname } from 'node:os'

import { Acker, type AckStatus } from './acker.js'
import { contextOf, type Handler, Handling, type HandlerOptions, type Middleware } from './handler.js'
import { Held, type StopReason } from './held.js'
import type { JobType } from './job.js'
import { Lane } from './lane.js'
import { Leases } from './leases.js'
import { JobLog } from './log.js'
import { type Ending, failed, Outcome } from './outcome.js'
import { Registration } from './registration.js'
import type { Claimed, Working } from './transport.js'
import type { ClaimedJob } from './wire.js'

/** How long a job may wait here for a slot, in milliseconds. Then it goes back, for others: its timeout is running. */
const slotWait = 2_000

/** How many acks may wait before no more jobs are claimed. */
const mostUnacked = 2_000

/** During a stop: how long a claim may still be answered, handlers may take to end once aborted, and acks are tried. */
const lastClaim = 250
const lastAbort = 5_000
const lastAcks = 15_000

const tickEvery = 100

const endings = ['SIGTERM', 'SIGINT'] as const

export interface WorkerOptions {
  /** The queues to work: names that share `concurrency`, or an object with the slots that each has for itself. Defaults to `default`. */
  queues?: readonly string[] | Readonly<Record<string, number>>
  /** How many jobs of `queues` run at once, where that is a list. Defaults to 10. */
  concurrency?: number
  /** The worker's name, one for each process. Defaults to one made of the host, the process and a random part. */
  name?: string
  /** How long weir waits for a heartbeat before it gives a job to another worker: 1 to 3600. Defaults to 30. */
  leaseSeconds?: number
  /** How long `stop` lets handlers run on before their signals are aborted. Defaults to 30. */
  graceSeconds?: number
  /** Shown with the worker. */
  version?: string
  labels?: Record<string, string>
}

export interface WorkerEvents {
  started: [job: ClaimedJob]
  /** The handler ended the job, and weir knows: it completed, failed (with the error), was snoozed, released or cancelled. */
  ended: [job: ClaimedJob, outcome: Ending['outcome'], error: unknown]
  /** Another worker may have the job by now: its lease ran out, or what was said of it came too late. */
  lost: [job: ClaimedJob]
  /** weir cannot be reached, or refuses a call. The worker goes on; `recovered` follows. */
  trouble: [what: string, error: unknown]
  recovered: [what: string]
  /** The worker is paused, draining or active by an operator's word. */
  state: [state: string]
  stopping: []
  stopped: []
}

export class Worker extends EventEmitter<WorkerEvents> {
  readonly name: string
  readonly #options: Required<Pick<WorkerOptions, 'leaseSeconds' | 'graceSeconds'>>
  readonly #lanes: Lane[]
  readonly #handlings = new Map<string, Handling>()
  readonly #middleware: Middleware[] = []
  readonly #held = new Set<Held>()
  readonly #acker: Acker
  readonly #leases: Leases
  readonly #registration: Registration
  readonly #troubles = new Set<string>()
  #stopping = false
  #finished: Promise<void> = Promise.resolve()
  readonly #idle = new Set<() => void>()

  constructor(
    private readonly to: Working,
    options: WorkerOptions = {},
  ) {
    super()
    const { queues = ['default'], concurrency = 10, name, leaseSeconds = 30, graceSeconds = 30, version, labels } = options
    this.name = name ?? `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`
    this.#options = { leaseSeconds, graceSeconds }
    const shares = Array.isArray(queues) ? [{ queues, slots: concurrency }] : lanesOf(queues as Record<string, number>)
    this.#lanes = shares.map((share) => this.#lane({ ...share, worker: this.name, leaseSeconds }))
    this.#acker = new Acker(to, {
      busy: () => !this.#stopping && this.#running > 0,
      done: (held, status) => this.#acked(held, status),
      ...this.#reporting('sending acks'),
    })
    this.#leases = new Leases(to, leaseSeconds, {
      lost: (held) => this.#lose(held),
      cancelled: (held) => this.#interrupt(held, 'cancelled'),
      ...this.#reporting('sending heartbeats'),
    })
    // Room for those that run, those claimed ahead of need, and as many whose acks wait. Lanes claim at the same time, and
    // then a capacity would make them wait for each other.
    const capacity = this.#lanes.length > 1 ? 0 : Math.min(this.#slots + 2 * this.#lanes[0]!.mostAhead, 10_000)
    const names = shares.flatMap((share) => share.queues)
    this.#registration = new Registration(to, this.name, {
      capacity, queues: names, hostname: hostname(), ...(version !== undefined && { version }), ...(labels && { labels }),
    }, { state: (state) => this.#tell('state', state), ...this.#reporting('registering this worker') })
  }

  /** handle says what to do with the jobs of a kind. Jobs of a kind without a handler fail, and are tried again later. */
  handle<T extends JobType>(type: T, handler: Handler<T>, { concurrency = Infinity }: HandlerOptions = {}): this {
    this.#handlings.set(type.kind, new Handling(type, handler as Handler<JobType>, concurrency))
    return this
  }

  /** use adds a middleware around all handlers, inside those that are there. */
  use(middleware: Middleware): this {
    this.#middleware.push(middleware)
    return this
  }

  /**
   * run works until stop is called. With `signals` that is when the process is asked to end (SIGTERM, SIGINT); at the second
   * time handlers are not waited for. It throws what weir answers if it refuses the first claim.
   */
  async run({ signals = false }: { signals?: boolean } = {}): Promise<void> {
    let asked = 0
    const onSignal = () => void this.stop(asked++ === 0 ? {} : { graceSeconds: 0 })
    if (signals) for (const name of endings) process.on(name, onSignal)
    try {
      await this.#work(() => Promise.all(this.#lanes.map((lane) => lane.run())))
    } finally {
      for (const name of endings) process.off(name, onSignal)
    }
  }

  /** drain works what is available now, and returns when there is no more: for tests and scripts. */
  async drain(): Promise<void> {
    await this.#work(async () => {
      for (let found = true; found && !this.#stopping; ) {
        const claims = await Promise.all(this.#lanes.map((lane) => lane.claim(lane.config.slots, 0)))
        found = claims.some((claimed) => claimed.jobs.length > 0)
        await this.#settled()
      }
    })
  }

  #work(claiming: () => Promise<unknown>): Promise<void> {
    const work = async () => {
      const ticker = setInterval(() => this.#tick(), tickEvery)
      try {
        await claiming().catch((error: unknown) => {
          this.#windDown()
          throw error
        })
      } finally {
        await this.#settled()
        clearInterval(ticker)
        await this.#registration.remove()
        this.#tell('stopped')
      }
    }
    const finished = work()
    this.#finished = finished.catch(() => undefined) // run and drain throw it
    return finished
  }

  /**
   * stop claims no more, releases what has not started, and waits for what runs: for graceSeconds, then for a few more with
   * signals aborted. What has not ended by then is released. It returns when all of this is done, and then run does.
   */
  async stop({ graceSeconds = this.#options.graceSeconds }: { graceSeconds?: number } = {}): Promise<void> {
    if (!this.#stopping) this.#windDown()
    const grace = graceSeconds * 1000
    const timers = [
      setTimeout(() => this.#forRunning((held) => this.#interrupt(held, 'shutdown')), grace),
      setTimeout(() => this.#forRunning((held) => this.#end(held, { outcome: 'release' })), grace + lastAbort),
      setTimeout(() => this.#acker.giveUp(), grace + lastAbort + lastAcks),
    ]
    await this.#finished
    for (const timer of timers) clearTimeout(timer)
  }

  #windDown(): void {
    this.#stopping = true
    this.#tell('stopping')
    setTimeout(() => this.#lanes.forEach((lane) => lane.end()), lastClaim)
    for (const lane of this.#lanes) for (const held of lane.waiting.splice(0)) this.#end(held, { outcome: 'release' })
  }

  #forRunning(how: (held: Held) => void): void {
    for (const held of this.#held) if (held.phase === 'running') how(held)
  }

  /** tell tells listeners. An error of theirs is a warning, and changes nothing here. */
  #tell<E extends keyof WorkerEvents>(event: E, ...args: WorkerEvents[E]): void {
    try {
      ;(this.emit as (event: string, ...args: unknown[]) => boolean).call(this, event, ...args)
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error))
    }
  }

  get #slots(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.config.slots, 0)
  }

  get #running(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.running, 0)
  }

  #lane(config: ConstructorParameters<typeof Lane>[0]): Lane {
    return new Lane(config, this.to, {
      hold: (lane, claimed) => this.#hold(lane, claimed),
      full: () => this.#stopping || this.#acker.pending > mostUnacked,
      ...this.#reporting('claiming jobs'),
    })
  }

  /** reporting tells of trouble once, and of its end. */
  #reporting(what: string) {
    return {
      trouble: (error: unknown) => {
        if (this.#troubles.has(what)) return
        this.#troubles.add(what)
        this.#tell('trouble', what, error)
      },
      fine: () => {
        if (this.#troubles.delete(what)) this.#tell('recovered', what)
      },
    }
  }

  #hold(lane: Lane, claimed: Claimed): void {
    const now = Date.now()
    for (const job of claimed.jobs) {
      for (const before of this.#held) if (before.job.id === job.id) this.#lose(before) // it was taken back, and comes again before a heartbeat has told
      const held = new Held(job, now, this.#leases.interval)
      this.#held.add(held)
      if (this.#stopping) this.#end(held, { outcome: 'release' })
      else lane.waiting.push(held)
    }
    this.#start(lane)
  }

  /** start gives slots that are free to jobs that wait, in order, but for those whose kind has none free. */
  #start(lane: Lane): void {
    lane.blocked = 0
    for (let i = 0; i < lane.waiting.length && lane.running < lane.config.slots; ) {
      const held = lane.waiting[i]!
      const handling = this.#handlings.get(held.job.kind)
      if (handling && handling.running >= handling.concurrency) {
        lane.blocked++
        i++
        continue
      }
      lane.waiting.splice(i, 1)
      if (Date.now() > held.deadline) this.#end(held, { outcome: 'release' })
      else void this.#run(lane, held, handling)
    }
    lane.changed()
  }

  async #run(lane: Lane, held: Held, handling: Handling | undefined): Promise<void> {
    lane.running++
    if (handling) handling.running++
    held.phase = 'running'
    held.startedAt = performance.now()
    this.#tell('started', held.job)
    const ending = await this.#handle(held, handling)
    lane.running--
    if (handling) handling.running--
    lane.ran(performance.now() - held.startedAt)
    if (held.phase === 'running') this.#end(held, ending)
    for (const other of handling && handling.concurrency < Infinity ? this.#lanes : [lane]) this.#start(other)
    this.#checkIdle()
  }

  /** handle runs the handler of a job, and returns how the job ends. */
  async #handle(held: Held, handling: Handling | undefined): Promise<Ending> {
    if (!handling) return failed(Object.assign(new Error(`this worker has no handler for ${held.job.kind}`), { name: 'NoHandler' }))
    const logOf = () => (held.log ??= new JobLog(this.to, held.job))
    const context = contextOf(held, logOf, () => this.#leases.soon(held))
    try {
      const returned = await handling.handle(held, context, this.#middleware)
      if (returned instanceof Outcome) return returned.ending
      if (held.completedApart) return { outcome: 'complete' }
      await held.gather()
      const { ending, size } = await handling.checked(returned)
      held.size += size
      return ending
    } catch (error) {
      held.completedApart = false
      held.error = error
      if (error instanceof Outcome) return error.ending
      return held.stopped === 'cancelled' || held.stopped === 'shutdown' ? { outcome: 'release' } : failed(error)
    }
  }

  /** end has weir told how a job ended, after the last lines of its log. */
  #end(held: Held, ending: Ending): void {
    held.phase = 'ended'
    held.ending = ending
    if (held.completedApart) return this.#acked(held, 'ok')
    if (held.log) void held.log.end().then(() => this.#acker.add(held))
    else this.#acker.add(held)
  }

  #acked(held: Held, status: AckStatus): void {
    this.#held.delete(held)
    const { outcome } = held.ending!
    if (status === 'ok') this.#tell('ended', held.job, outcome, held.error)
    else this.#tell('lost', held.job)
    for (const lane of this.#lanes) lane.changed()
    this.#checkIdle()
  }

  /** interrupt has a job end that is to stop. */
  #interrupt(held: Held, why: StopReason): void {
    if (held.phase === 'running') held.stop(why)
    else if (held.phase === 'waiting') this.#end(this.#unqueue(held), { outcome: 'release' })
  }

  /** lose forgets a job that is another worker's by now. */
  #lose(held: Held): void {
    if (held.phase === 'ended' || held.completedApart) return // the answer to its ack tells
    if (held.phase === 'waiting') this.#unqueue(held)
    held.phase = 'ended'
    held.log?.discard()
    held.stop('lease lost')
    this.#held.delete(held)
    this.#tell('lost', held.job)
    this.#checkIdle()
  }

  #unqueue(held: Held): Held {
    for (const lane of this.#lanes) lane.waiting = lane.waiting.filter((other) => other !== held)
    return held
  }

  #tick(): void {
    const now = Date.now()
    for (const lane of this.#lanes) {
      while (lane.waiting[0] && now - lane.waiting[0].claimedAt > slotWait) {
        lane.ran(slotWait) // handlers take longer than expected: claim fewer ahead of need
        this.#end(lane.waiting.shift()!, { outcome: 'release' })
      }
    }
    for (const held of this.#held) {
      if (held.phase !== 'running' || held.completedApart || now < held.deadline) continue
      held.stop('timeout')
      const error = Object.assign(new Error(`ran past its timeout of ${held.job.timeout_seconds} seconds`), { name: 'Timeout', stack: '' })
      held.error = error
      this.#end(held, failed(error)) // its slot is free when the handler returns
    }
    this.#leases.send(this.#held, now)
    this.#registration.send(this.#running / this.#slots, now)
  }

  /** settled returns when nothing is held. */
  async #settled(): Promise<void> {
    while (this.#held.size > 0) await new Promise<void>((resolve) => this.#idle.add(resolve))
  }

  #checkIdle(): void {
    if (this.#held.size > 0) return
    for (const resolve of this.#idle) resolve()
    this.#idle.clear()
  }
}

function lanesOf(queues: Readonly<Record<string, number>>): { queues: string[]; slots: number }[] {
  return Object.entries(queues).map(([queue, slots]) => ({ queues: [queue], slots }))
}
