// A worker in a process of its own, which a test can kill: node child.js rest|sql ADDRESS QUEUE. Each of its jobs takes a moment.

import { setTimeout as delay } from 'node:timers/promises'

import pg from 'pg'

import { defineJob, http, sql, Worker } from '../src/index.js'

const [way, address, queue] = process.argv.slice(2) as [string, string, string]
const to = way === 'rest' ? http(address) : sql(new pg.Pool({ connectionString: address }))
const worker = new Worker(to, { queues: [queue], concurrency: 20, leaseSeconds: 2 })
worker.handle(defineJob('plain'), () => delay(5))
await worker.run({ signals: true })
process.exit(0)
