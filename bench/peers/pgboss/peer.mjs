// pg-boss at its quickest: loops of fetch and complete in batches, because a worker of work() polls twice a second at most.
// Where workers wait it is work() all the same, woken by notifications.
import { PgBoss } from 'pg-boss'
import { claimed, completed, options, serve, url } from '../protocol.mjs'

const queue = 'bench'

async function start(more = {}) {
  const boss = new PgBoss({ connectionString: url, max: 16, ...more })
  boss.on('error', (error) => console.error(error))
  await boss.start()
  return boss
}

const quiet = { supervise: false, schedule: false }

// loop fetches and completes one batch after the other.
async function loop(boss, running) {
  while (running()) {
    const jobs = await boss.fetch(queue, { batchSize: options.batch })
    if (jobs.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 10))
      continue
    }
    for (const job of jobs) claimed(job.data.n)
    await boss.complete(queue, jobs.map((job) => job.id))
    for (const job of jobs) completed(job.data.n)
  }
}

await serve({
  async setup() {
    const boss = await start(quiet)
    await boss.createQueue(queue)
    await boss.stop({ graceful: false })
  },

  async produce() {
    const boss = await start(quiet)
    return {
      enqueue: (all) => boss.insert(queue, all.map((data) => ({ data }))),
      close: () => boss.stop({ graceful: false }),
    }
  },

  async work() {
    if (options.waiting) {
      const boss = await start({ useListenNotify: true })
      await boss.updateQueue(queue, { notify: true })
      const handler = async ([job]) => {
        claimed(job.data.n)
        completed(job.data.n)
      }
      await boss.work(queue, { localConcurrency: options.waiting, batchSize: 1, pollingIntervalSeconds: 0.5, notifyPollingIntervalSeconds: 0.5 }, handler)
      return () => boss.stop({ graceful: true, timeout: 10_000 })
    }
    const boss = await start()
    let stopped = false
    const loops = Array.from({ length: options.connections }, () => loop(boss, () => !stopped))
    return async () => {
      stopped = true
      await Promise.all(loops)
      await boss.stop({ graceful: false })
    }
  },
})
