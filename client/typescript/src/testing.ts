// For tests of applications: a weir of their own, which takes about three seconds to start. `worker.drain()` then works what
// was enqueued, within the test.

import { type ChildProcess, spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'

export interface StartOptions {
  /** The program. Defaults to WEIR_BIN, or else `weir` on the PATH. */
  program?: string
  /** More arguments of `weir dev`. */
  args?: readonly string[]
}

export interface LocalWeir extends AsyncDisposable {
  /** For `http`. */
  readonly url: string
  /** For a pool of `pg`. */
  readonly databaseUrl: string
  /** A key of an administrator, where the node asks for one. */
  readonly key: string
  stop(): Promise<void>
}

/** startWeir starts a PostgreSQL and a node on free ports. They end, and their data is deleted, with stop or this process. */
export async function startWeir({ program = process.env['WEIR_BIN'] ?? 'weir', args = [] }: StartOptions = {}): Promise<LocalWeir> {
  const flags = ['dev', '--ephemeral', '--json', '--until-eof', '--addr', '127.0.0.1:0', ...args]
  const child = spawn(program, flags, { stdio: ['pipe', 'pipe', 'pipe'] })
  const said = await firstLine(child)
  child.stderr.resume()
  const { url, database_url: databaseUrl, admin_key_file: keyFile } = JSON.parse(said) as Record<string, string>
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = () => {
    child.stdin.end()
    return ended
  }
  const key = (await readFile(keyFile!, 'utf8')).trim()
  return { url: url!, databaseUrl: databaseUrl!, key, stop, [Symbol.asyncDispose]: stop }
}

/** firstLine returns what a program says first, or throws what it says on standard error before it ends. */
function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let errors = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-4_000)))
    child.once('error', (error) => reject(new Error(`weir cannot be started: ${error.message}`, { cause: error })))
    child.once('exit', (status) => reject(new Error(`weir dev ended with status ${status}: ${errors}`)))
    createInterface(child.stdout!).once('line', resolve)
  })
}
