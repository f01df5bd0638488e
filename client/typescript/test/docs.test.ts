import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const client = fileURLToPath(new URL('../..', import.meta.url))

/** What the examples leave to the reader, and take from each other. Each shadows what it defines itself. */
const around = `
import { Client, defineJob, discard, drizzleTx, enqueueTx, events, http, logging, retryIn, snooze, Worker, workflow } from '@weirhq/weir'
import { startWeir } from '@weirhq/weir/testing'
import { sql } from 'drizzle-orm'
import type { drizzle } from 'drizzle-orm/node-postgres'
import type pg from 'pg'
import { z } from 'zod'
declare function mail(order: number, options?: object): Promise<string>
declare function parcel(shelf: string): void
declare function pino(): { info(fields: object, message: string): void; error(fields: object, message: string): void }
declare function transaction<T>(pool: pg.Pool, run: (tx: pg.PoolClient) => Promise<T>): Promise<T>
declare function resizeImage(): void
declare function placeOrder(client: Client, order: number): Promise<void>
declare function send(): { message: string }
declare const db: ReturnType<typeof drizzle>, pool: pg.Pool, tx: pg.PoolClient, job: any
const [resize, report, pack, ship] = [defineJob('resize'), defineJob('report'), defineJob('pack'), defineJob('ship')]
const sendReceipt = defineJob('send_receipt', { args: z.object({ order: z.number() }), result: z.object({ message: z.string() }) })
const charge = defineJob<{ order: number }, { receipt: string }>('charge')
const weir = http('http://127.0.0.1:8080'), client = new Client(weir)
const worker = new Worker(weir, { queues: ['mail'] })
`

test('the examples of the guides compile', async () => {
  const folder = await mkdtemp(join(client, 'build', 'docs-'))
  try {
    for (const guide of ['clients/typescript.md', 'migrating/bullmq.md']) {
      const text = await readFile(join(client, '../../docs', guide), 'utf8')
      const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map((match) => match[1]!).filter((code) => !code.startsWith('// BullMQ'))
      assert.ok(examples.length > 3)
      for (const [i, code] of examples.entries()) {
        const body = code.replace(/^import .*$/gm, '')
        await writeFile(join(folder, `${guide.replace(/\W/g, '-')}-${i + 1}.ts`), `${around}\nexport async function example() {\n${body}\n}\n`)
      }
    }
    const paths = { '@weirhq/weir': [join(client, 'src/index.ts')], '@weirhq/weir/testing': [join(client, 'src/testing.ts')] }
    const compilerOptions = { noEmit: true, noUnusedLocals: false, noUnusedParameters: false, rootDir: client, paths }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ extends: join(client, 'tsconfig.json'), compilerOptions, include: [folder], exclude: [] }))
    const tsc = [join(client, 'node_modules/typescript/bin/tsc'), '-p', folder]
    await promisify(execFile)(process.execPath, tsc).catch((error: { stdout: string }) => assert.fail(error.stdout))
  } finally {
    await rm(folder, { recursive: true })
  }
})
