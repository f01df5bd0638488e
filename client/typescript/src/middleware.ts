// The middleware that comes with the package: logs, and traces by OpenTelemetry.

import type { Middleware } from './handler.js'
import { Outcome } from './outcome.js'
import type { NewJob } from './wire.js'

export interface Logger {
  info(fields: Record<string, unknown>, message: string): void
  error(fields: Record<string, unknown>, message: string): void
}

/** logging logs the end of each handler, to pino or any logger with its signature. */
export function logging(logger: Logger): Middleware {
  return async (job, { stopped }, next) => {
    const began = performance.now()
    const fields = (more: Record<string, unknown>) => ({
      job: job.id, kind: job.kind, queue: job.queue, attempt: job.attempt, ms: Math.round(performance.now() - began), ...(stopped && { stopped }), ...more,
    })
    try {
      const result = await next()
      logger.info(fields(result instanceof Outcome ? { outcome: result.ending.outcome } : {}), 'job handled')
      return result
    } catch (error) {
      if (error instanceof Outcome) logger.info(fields({ outcome: error.ending.outcome }), 'job handled')
      else logger.error(fields({ error }), 'job failed')
      throw error
    }
  }
}

export interface Tracing {
  /** For `worker.use`: a span around each handler, in the trace of the producer. */
  middleware: Middleware
  /** For `new Client(…, { prepare })`: puts the trace into the metadata of each job. */
  prepare: (job: NewJob) => NewJob
}

/** tracing traces by the OpenTelemetry API, if the application has it installed; otherwise it does nothing. */
export async function tracing(): Promise<Tracing> {
  const otel = await import('@opentelemetry/api').catch(() => undefined)
  if (!otel) return { middleware: (_job, _context, next) => next(), prepare: (job) => job }
  const { context, propagation, SpanKind, SpanStatusCode, trace } = otel
  const tracer = trace.getTracer('@weirhq/weir')
  return {
    prepare(job) {
      const carrier: Record<string, string> = {}
      propagation.inject(context.active(), carrier)
      return Object.keys(carrier).length === 0 ? job : { ...job, metadata: { ...job.metadata, ...carrier } }
    },
    middleware(job, _context, next) {
      const parent = propagation.extract(context.active(), job.metadata)
      const attributes = {
        'messaging.system': 'weir', 'messaging.operation.type': 'process', 'messaging.destination.name': job.queue,
        'messaging.message.id': job.id, 'weir.job.kind': job.kind, 'weir.job.attempt': job.attempt,
      }
      return tracer.startActiveSpan(`process ${job.kind}`, { kind: SpanKind.CONSUMER, attributes }, parent, async (span) => {
        try {
          return await next()
        } catch (error) {
          if (!(error instanceof Outcome)) {
            span.recordException(error as Error)
            span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) })
          }
          throw error
        } finally {
          span.end()
        }
      })
    },
  }
}
