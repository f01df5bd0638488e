// Graphile Worker with the settings that its documentation gives for the highest throughput: a local queue of 500, and
// completions in batches.
import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker'
import { claimed, completed, options, serve, url } from '../protocol.mjs'

process.env.NO_LOG_SUCCESS = '1'

const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})

const preset = {
  worker: {
    connectionString: url,
    concurrentJobs: options.waiting || 24,
    maxPoolSize: 25,
    localQueue: { size: options.waiting ? options.waiting + 1 : 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  },
}

await serve({
  setup: () => runMigrations({ preset }),

  async produce() {
    const utils = await makeWorkerUtils({ preset })
    return {
      enqueue: (all) => utils.addJobs(all.map((payload) => ({ identifier: 'bench', payload }))),
      close: () => utils.release(),
    }
  },

  // A job counts as completed when its task has succeeded; the batch with its completion follows at once, at the latest in stop().
  async work() {
    const bench = async (payload) => claimed(payload.n)
    const runner = await run({ preset, taskList: { bench }, noHandleSignals: true })
    runner.events.on('job:success', ({ job }) => completed(job.payload.n))
    return () => runner.stop()
  },
})
