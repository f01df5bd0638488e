// The driver of the TypeScript clients: docs/clients/conformance.md says what it is asked and answers.

import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

import {
  cancel, Client, defineJob, discard, events, type Handle, http, type Http, JobFailed, type JobOptions, retryIn, snooze, type Sql, sql, type Step,
  Worker, workflow, type WorkflowPlan,
} from '@weirhq/weir'
import pg from 'pg'

type Answer = Record<string, unknown>
type Parameters = Record<string, unknown>

/** answerEach answers the requests of the input, one after the other. */
async function answerEach(answer: (request: any) => Promise<Answer>): Promise<void> {
  for await (const line of createInterface(process.stdin)) {
    const said = await answer(JSON.parse(line)).catch((error: unknown) => ({ failed: String(error) }))
    process.stdout.write(JSON.stringify(said) + '\n')
  }
}

interface Call {
  method: 'GET'
  template: '/v1/jobs'
  path: Parameters
  query: Parameters
  header: Parameters
  body?: unknown
}

/** call makes a call whose types the compiler has seen in calls.ts. */
async function call(rest: ReturnType<typeof http>['rest'], { method, template, path, query, header, body }: Call): Promise<Answer> {
  const { data, error, response } = await rest[method](template, { params: { path, query, header }, body } as Record<string, unknown>)
  if (response.ok) return { answer: data ?? null }
  return { refused: { status: response.status, code: (error as { code?: string } | undefined)?.code } }
}

// ---- jobs

interface Job {
  kind: string
  args: any
  options: JobOptions & { idempotency_key?: string }
}

/** produce answers requests of producers. */
function produce(to: Http | Sql): (request: any) => Promise<Answer> {
  const client = new Client(to)
  const seen: [string, string][] = []
  return async (request) => {
    switch (request.do) {
      case 'enqueue':
        return { answer: (await enqueue(client, request.jobs)).map(({ id, duplicate }) => ({ id, duplicate })) }
      case 'result':
        return client.handle(defineJob('script'), request.id).result().then(
          (result) => ({ answer: result ?? null }),
          (error: unknown) => {
            if (error instanceof JobFailed) return { refused: { code: error.job.state } }
            throw error
          },
        )
      case 'cancel':
        return { answer: await client.handle(defineJob('script'), request.id).cancel() }
      case 'submit':
        return { answer: (await client.submit(planOf(request.name, request.steps))).id }
      case 'schedule': {
        const { kind, args, options } = request.job as Job
        return { answer: await client.schedule(request.name, { every_seconds: request.every_seconds }, defineJob(kind), args, options) }
      }
      case 'unschedule':
        return { answer: await client.unschedule(request.name) }
      case 'watch':
        void (async () => {
          for await (const event of events(to, { queue: request.queue })) seen.push([event.job_id!, event.event])
        })()
        return { answer: null }
      case 'seen':
        return { answer: seen }
    }
    throw new Error(`there is no ${request.do}`)
  }
}

async function enqueue(client: Client, jobs: Job[]): Promise<Handle[]> {
  const [{ kind, args, options }] = jobs as [Job]
  if (jobs.length === 1) return [await client.enqueue(defineJob(kind), args, options)]
  return client.enqueueMany(defineJob(kind), jobs.map(({ args, options }) => ({ args, options })))
}

function planOf(name: string, steps: (Job & { name: string; after: string[] })[]): WorkflowPlan {
  const plan = workflow(name)
  const made = new Map<string, Step>()
  for (const { name, kind, args, options, after } of steps) {
    made.set(name, plan.step(name, defineJob(kind), args, { ...options, after: after.map((one) => made.get(one)!) }))
  }
  return plan
}

/** work runs a worker until it is told to end. */
async function work(to: Http | Sql, settings: { queues: string[]; concurrency: number; lease_seconds: number; grace_seconds: number }): Promise<void> {
  const { queues, concurrency, lease_seconds: leaseSeconds, grace_seconds: graceSeconds } = settings
  const worker = new Worker(to, { queues, concurrency, leaseSeconds, graceSeconds })
  const snoozed = new Set<string>()
  worker.handle(defineJob<{ n: number; do: any[][] }, unknown>('script'), async (job, context) => {
    process.stdout.write(`ran ${job.id}\n`)
    for (const step of job.args.do[Math.min(job.attempt, job.args.do.length) - 1]!) {
      const [[what, value]] = Object.entries<any>(step) as [[string, any]]
      if (what === 'sleep') await delay(value * 1000, undefined, { signal: context.signal })
      else if (what === 'progress') context.progress(value, 'so far')
      else if (what === 'fail') throw new Error(value)
      else if (what === 'retry in') return retryIn(value, new Error('later'))
      else if (what === 'discard') return discard(new Error(value))
      else if (what === 'cancel') return cancel(value)
      else if (what === 'return') return value
      else if (what === 'return arg') return job.args[value as 'n']
      else if (what === 'return dependencies') return job.dependencies
      else if (what === 'snooze' && !snoozed.has(job.id)) {
        snoozed.add(job.id)
        return snooze(value)
      } else if (what !== 'snooze') throw new Error(`there is no step ${what}`)
    }
    return undefined
  })
  await worker.run({ signals: true })
}

const [mode, ...args] = process.argv.slice(2) as [string, ...string[]]
if (mode === 'call') {
  const { rest } = http(args[0]!)
  await answerEach((request: Call) => call(rest, request))
} else {
  const to = args[0] === 'rest' ? http(args[1]!) : sql(new pg.Pool({ connectionString: args[1] }).on('error', () => undefined))
  if (mode === 'work') await work(to, JSON.parse(args[2]!))
  else await answerEach(produce(to))
}
process.exit(0)
