// Problems: what weir refuses, with the same codes over REST and in SQL.

/** Problem is a call that weir did not do. `code` is for programs; docs/rest.md lists the codes. */
export class Problem extends Error {
  override readonly name = 'Problem'
  readonly code: string
  /** The HTTP status that belongs to the code. */
  readonly status: number
  readonly hint: string | undefined
  /** The places of invalid values, such as body.priority. */
  readonly places: readonly { location: string; message: string }[]
  /** How long to wait before another try, where weir says so. */
  readonly retryAfterSeconds: number | undefined

  constructor(of: {
    code: string
    status: number
    detail: string
    hint?: string | undefined
    errors?: readonly { location?: string; message?: string }[] | undefined
    retryAfterSeconds?: number | undefined
    cause?: unknown
  }) {
    const places = (of.errors ?? []).map((e) => ({ location: e.location ?? '', message: e.message ?? '' }))
    const where = places.map((p) => `${p.location}: ${p.message}`).join('; ')
    super(`${of.code}: ${of.detail}${where && ` (${where})`}`, { cause: of.cause })
    this.code = of.code
    this.status = of.status
    this.hint = of.hint
    this.places = places
    this.retryAfterSeconds = of.retryAfterSeconds
  }
}

/** isStale reports whether an error says that the job is another worker's by now, or has ended. Drop what you did. */
export function isStale(error: unknown): boolean {
  return error instanceof Problem && (error.code === 'stale_token' || error.code === 'job_not_found')
}

/** isPassing reports whether the same call may succeed later: weir is out of reach, starting, or has too much to do. */
export function isPassing(error: unknown): boolean {
  return error instanceof Problem && [408, 429, 500, 502, 503, 504].includes(error.status)
}

/** isUnfit reports whether a call was refused for what it says, so that another try is of no use. */
export function isUnfit(error: unknown): boolean {
  return error instanceof Problem && [400, 413, 422].includes(error.status)
}
