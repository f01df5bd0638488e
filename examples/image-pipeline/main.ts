// image-pipeline submit FOLDER TO   submits a workflow for each image of a folder
// image-pipeline work               works them, until it is told to end

import { readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { Client, http } from '@weirhq/weir'
import pg from 'pg'

import { planOf } from './jobs.js'
import { makeWorker } from './worker.js'

const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'] })
pool.on('error', (error) => console.error('a connection broke:', error.message)) // without a listener it would end the process
const weir = http(process.env['WEIR_URL'] ?? 'http://127.0.0.1:8080')
const [command, folder, to] = process.argv.slice(2)

if (command === 'submit' && folder && to) {
  await pool.query('create table if not exists image (file text primary key, width int, height int, small text, large text)')
  const client = new Client(weir)
  for (const name of await readdir(folder)) {
    const run = await client.submit(planOf(resolve(folder, name), resolve(to)), { idempotency_key: join(resolve(folder), name) })
    console.log(`workflow ${run.id}: ${name}`)
  }
} else if (command === 'work') {
  const worker = makeWorker(weir, pool)
  worker.on('ended', (job, outcome, error) => console.log(`job ${job.id} ${job.kind}: ${outcome}`, ...(error ? [error] : [])))
  worker.on('trouble', (what, error) => console.error(`trouble with ${what}:`, error))
  await worker.run({ signals: true })
} else {
  console.error('usage: node build/main.js submit FOLDER TO | work')
  process.exitCode = 2
}
await pool.end()
