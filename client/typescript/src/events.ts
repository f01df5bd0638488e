// What happens to jobs, as it happens, as an async iterator: GET /v1/events, or weir.events_after.

import { Backoff, pause } from './backoff.js'
import { Http, problemOf } from './http.js'
import { isPassing, Problem } from './problem.js'
import type { paths } from './rest.js'
import type { EventPage, Sql } from './sql.js'
import type { Event } from './wire.js'

/** How often a stream over SQL looks for more, in milliseconds. */
const lookEvery = 250

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
 *
 * Over SQL there are no events of workers and circuit breakers, and an event comes about half a second after it happened, or
 * when the transactions that wrote before it have ended. An id is of use over the way that it came from.
 */
export async function* events(from: Http | Sql, { signal, lastEventId, ...query }: EventsOptions = {}): AsyncGenerator<JobEvent, void> {
  const leaving = new AbortController()
  const stop = () => leaving.abort()
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()
  let last = lastEventId
  const read = from instanceof Http ? stream : pages
  try {
    for (const backoff = new Backoff(); !leaving.signal.aborted; ) {
      try {
        for await (const { id, event } of read(from as never, query, last, leaving.signal)) {
          backoff.reset()
          last = id
          if (event) yield { ...event, id }
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

/** Where to go on, and the event before that place, if there is one. */
interface Place {
  id: string
  event?: Event
}

async function* stream(from: Http, query: Query, last: string | undefined, signal: AbortSignal): AsyncGenerator<Place> {
  for await (const { id, data } of frames(await open(from, query, last, signal))) yield { id, event: JSON.parse(data) as Event }
}

async function* pages(from: Sql, { event, ...rest }: Query, last: string | undefined, signal: AbortSignal): AsyncGenerator<Place> {
  const filter = { ...rest, ...(event && { events: event }) }
  for (let after = last; !signal.aborted; ) {
    const page: EventPage = await from.events(after, filter)
    for (const { position, ...event } of page.events) yield { id: position, event }
    after = page.position
    yield { id: after }
    if (!page.more) await pause(lookEvery, signal)
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
