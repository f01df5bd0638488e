import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

import { startWeir } from '@weirhq/weir/testing'
import pg from 'pg'
import sharp from 'sharp'

// As the README describes it: two workers, one of which is killed in the middle.
test('each image is resized and published once', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'image-pipeline-'))
  const [from, to] = [join(folder, 'from'), join(folder, 'to')]
  const weir = await startWeir()
  const pool = new pg.Pool({ connectionString: weir.databaseUrl })
  pool.on('error', () => undefined) // its connections break when weir ends
  const run = (...args: string[]): { child: ChildProcess; ended: Promise<number | null> } => {
    const env = { ...process.env, WEIR_URL: weir.url, DATABASE_URL: weir.databaseUrl }
    const child = spawn(process.execPath, [fileURLToPath(new URL('main.js', import.meta.url)), ...args], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    return { child, ended: new Promise((resolve) => child.once('exit', resolve)) }
  }
  const started: ChildProcess[] = []
  try {
    await mkdir(from)
    for (let i = 0; i < 40; i++) {
      const background = { r: 6 * i, g: 255 - 6 * i, b: 128 }
      await sharp({ create: { width: 500 + 10 * i, height: 400, channels: 3, background } }).png().toFile(join(from, `${i}.png`))
    }
    await writeFile(join(from, 'no-image.txt'), 'not an image')
    assert.equal(await run('submit', from, to).ended, 0)
    assert.equal(await run('submit', from, to).ended, 0, 'a second time, which submits nothing')

    const [doomed, other] = [run('work'), run('work')]
    started.push(doomed.child, other.child)
    await until(async () => (await published(pool)) >= 5)
    doomed.child.kill('SIGKILL')
    await until(async () => (await published(pool)) >= 40)
    const states = 'select state::text, count(*)::int as n from weir.workflows group by 1 order by 1'
    await until(async () => (await pool.query(states)).rows.every((row) => row.state !== 'running' && row.state !== 'stopping'))
    assert.deepEqual((await pool.query(states)).rows, [{ state: 'completed', n: 40 }, { state: 'failed', n: 1 }])

    for (const image of (await pool.query('select * from image')).rows) {
      const [small, large] = [await sharp(image.small).metadata(), await sharp(image.large).metadata()]
      assert.deepEqual([small.width, large.width, small.format], [100, 400, 'webp'])
      assert.equal(image.height, 400)
    }
    assert.equal((await readdir(to)).filter((name) => name.endsWith('.webp')).length, 80)
    other.child.kill('SIGTERM')
    assert.equal(await other.ended, 0)
  } finally {
    for (const child of started) child.kill('SIGKILL')
    await pool.end()
    await weir.stop()
    await rm(folder, { recursive: true })
  }
})

async function published(pool: pg.Pool): Promise<number> {
  return (await pool.query('select count(*)::int as n from image')).rows[0].n
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 120_000; !(await holds()); await delay(50)) {
    if (Date.now() > end) throw new Error('in vain')
  }
}
