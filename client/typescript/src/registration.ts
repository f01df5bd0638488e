// A worker makes itself known, and learns when an operator pauses or drains it. It works without that too.

import { Problem } from './problem.js'
import type { Working } from './transport.js'
import type { WorkerSettings } from './wire.js'

/** How often a worker says that it is alive: three times within the time after which it counts as lost. */
const aliveEvery = 10_000

const removeSeconds = 2

interface Handling {
  state(state: string): void
  trouble(error: unknown): void
  fine(): void
}

export class Registration {
  #known = false
  #due = 0
  #state = 'active'
  #underWay: Promise<void> | undefined

  constructor(
    private readonly to: Pick<Working, 'register' | 'beat' | 'unregister'>,
    private readonly name: string,
    private readonly settings: WorkerSettings,
    private readonly handling: Handling,
  ) {}

  /** send says that the worker is alive, if that is due. Load is the share of slots that are busy. */
  send(load: number, now: number): void {
    if (this.#underWay || now < this.#due) return
    this.#due = now + aliveEvery
    this.#underWay = this.#say(load).finally(() => (this.#underWay = undefined))
  }

  async #say(load: number): Promise<void> {
    try {
      if (!this.#known) {
        await this.to.register(this.name, this.settings)
        this.#known = true
      } else {
        const { state, registered } = await this.to.beat(this.name, load)
        if (!registered) this.#known = false
        if (state !== this.#state) this.handling.state((this.#state = state))
      }
      this.handling.fine()
    } catch (error) {
      if (error instanceof Problem && error.code === 'worker_not_found') this.#known = false
      else this.handling.trouble(error)
    }
    if (!this.#known) this.#due = Math.min(this.#due, Date.now() + 1_000)
  }

  /** remove has weir forget the worker, if that is quick and this key may do it. */
  async remove(): Promise<void> {
    const limit = new Promise((resolve) => setTimeout(resolve, removeSeconds * 1000).unref())
    await Promise.race([limit, this.#forget()])
  }

  async #forget(): Promise<void> {
    await this.#underWay
    if (this.#known) await this.to.unregister(this.name).catch(() => undefined)
    this.#known = false
  }
}
