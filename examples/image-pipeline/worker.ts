// Works the pipeline. Any number of these may run.

import { mkdir, rename } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'

import { discard, type Transport, Worker } from '@weirhq/weir'
import type pg from 'pg'
import sharp from 'sharp'

import { probe, publish, resize } from './jobs.js'

export function makeWorker(weir: Transport, pool: pg.Pool, name?: string): Worker {
  const worker = new Worker(weir, { queues: ['images'], concurrency: 4, leaseSeconds: 5, ...(name !== undefined && { name }) })

  worker.handle(probe, async ({ args }) => {
    const { width, height, format } = await sharp(args.file)
      .metadata()
      .catch((error: Error) => ({ width: 0, height: 0, format: error.message }))
    return width ? { width, height, format } : discard(`${args.file} is no image: ${format}`)
  })

  worker.handle(resize, async ({ args, id }, { log }) => {
    await mkdir(args.to, { recursive: true })
    const file = join(args.to, `${basename(args.file, extname(args.file))}-${args.width}.webp`)
    const partial = `${file}.${id}` // a run that is cut short leaves no half of a picture
    const { width, height } = await sharp(args.file).resize({ width: args.width, withoutEnlargement: true }).webp().toFile(partial)
    await rename(partial, file)
    log.info('resized', { file, width, height })
    return { file, width, height }
  })

  // The row and the completion are one transaction: an image is published once, however often its job is tried.
  worker.handle(publish, async (job) => {
    const { probe, small, large } = job.dependencies
    const client = await pool.connect()
    try {
      await client.query('begin')
      const row = [job.args.file, probe.width, probe.height, small.file, large.file]
      await client.query('insert into image (file, width, height, small, large) values ($1, $2, $3, $4, $5)', row)
      const completed = await job.completeTx(client, undefined)
      await client.query('commit')
      return completed
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  })
  return worker
}
