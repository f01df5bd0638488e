// What happens to jobs, as it happens: GET /v1/events as an async iterator.

import { Backoff, pause } from './backoff.js'
import { type Http, problemOf } from './http.js'
import { isPassing, Problem } from './problem.js'
import type { paths } from './rest.js'
import type { Event } from './wire.js'

type Query = NonNullable<paths['/v1/events']['get']['parameters']['query']>

export interface EventsOptions extends Query {
  signal?: AbortSignal
  /** The `id` of the last event that you know, to go on after it: of the last hour. */
  lastEventId?: string
}

export type JobEvent = Event & { id: string }

/**
 * events yields what happens to jobs, workflows and workers, until you leave the loop or abort the signal. When the connection
 * breaks it goes on after the last event; one may come twice. It throws where weir refuses, or where too much was missed.
 */
export async function* events(from: Http, { signal, lastEventId, ...query }: EventsOptions = {}): AsyncGenerator<JobEvent, void> {
  const leaving = new AbortController()
  const stop = () => leaving.abort()
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  let last = lastEventId
  try {
    for (const backoff = new Backoff(); !leaving.signal.aborted; ) {
      try {
        for await (const frame of frames(await open(from, query, last, leaving.signal))) {
          backoff.reset()
          last = frame.id
          yield { ...(JSON.parse(frame.data) as Event), id: frame.id }
        }
        await pause(backoff.next(), leaving.signal)
      } catch (error) {
        if (leaving.signal.aborted) return
        if (error instanceof Problem && !isPassing(error)) throw error
        await pause(backoff.next(error), leaving.signal)
      }
    }
  } finally {
    stop()
    signal?.removeEventListener('abort', stop)
  }
}

async function open(from: Http, query: Query, last: string | undefined, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  const { data, error, response } = await from.rest.GET('/v1/events', {
    params: { query, ...(last !== undefined && { header: { 'Last-Event-ID': last } }) },
    parseAs: 'stream',
    signal,
  })
  if (!response.ok || !data) throw problemOf(error, response)
  return data
}

interface Frame {
  id: string
  data: string
}

/** frames parses server-sent events. Comments, which keep the connection alive, are left out. */
async function* frames(stream: ReadableStream<Uint8Array>): AsyncGenerator<Frame> {
  let rest = ''
  let id = ''
  let data: string[] = []
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines.map((line) => line.replace(/\r$/, ''))) {
      if (line === '') {
        if (data.length > 0) yield { id, data: data.join('\n') }
        data = []
      } else if (line.startsWith('id:')) id = line.slice(3).trim()
      else if (line.startsWith('data:')) data.push(line.slice(5).trimStart())
    }
  }
}
