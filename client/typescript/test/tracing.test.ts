import assert from 'node:assert/strict'
import { test } from 'node:test'

import { context, propagation, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'

import { Client, defineJob, http, logging, tracing, Worker } from '../src/index.js'
import { eventually, weir } from './weir.js'

test('a handler’s span belongs to the trace of the producer, and its end is logged', async () => {
  const spans = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  trace.setGlobalTracerProvider(provider)
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable())
  propagation.setGlobalPropagator(new W3CTraceContextPropagator())
  const { middleware, prepare } = await tracing()
  const lines: Record<string, unknown>[] = []
  const logger = { info: (fields: Record<string, unknown>) => lines.push(fields), error: (fields: Record<string, unknown>) => lines.push(fields) }
  const kind = defineJob<{ fail: boolean }, void>('traced', { queue: 'traced', max_attempts: 1 })
  const client = new Client(http(weir().url), { prepare })
  await provider.getTracer('test').startActiveSpan('request', async (span) => {
    await client.enqueue(kind, { fail: false })
    await client.enqueue(kind, { fail: true })
    span.end()
  })
  const worker = new Worker(http(weir().url), { queues: ['traced'] })
  worker.use(middleware).use(logging(logger))
  worker.handle(kind, ({ args }) => {
    if (args.fail) throw new Error('no')
  })
  await worker.drain()
  await eventually('all spans are there', () => spans.getFinishedSpans().length === 3)
  const [request, ...handlers] = spans.getFinishedSpans()
  assert.deepEqual(handlers.map((span) => [span.name, span.parentSpanContext?.spanId, span.status.code]).sort(), [
    ['process traced', request!.spanContext().spanId, 0],
    ['process traced', request!.spanContext().spanId, 2],
  ])
  assert.deepEqual(lines.map((line) => [line['kind'], line['error'] instanceof Error]).sort(), [['traced', false], ['traced', true]])
})
