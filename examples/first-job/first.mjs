// Enqueues a job, works on it and prints its result.
import { Client, defineJob, http, Worker } from '@weirhq/weir'
import { z } from 'zod'

const greet = defineJob('greet', { args: z.object({ Name: z.string() }), result: z.string() })
const weir = http(process.env.WEIR_URL ?? 'http://127.0.0.1:8080')

const worker = new Worker(weir)
worker.handle(greet, async (job) => `Hello, ${job.args.Name}, from TypeScript`)
const ended = worker.run()

const handle = await new Client(weir).enqueue(greet, { Name: 'weir' })
console.log(await handle.result())
await worker.stop()
await ended
