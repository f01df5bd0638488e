// The errors of the SQL contract, as the Problems that REST makes of them.

import { Problem } from './problem.js'

/** The SQLSTATEs that these calls can raise. docs/sql.md lists all. */
const codes: Record<string, [code: string, status: number]> = {
  WR001: ['stale_token', 409],
  WR002: ['job_not_found', 404],
  WR003: ['job_ended', 409],
  WR006: ['idempotency_mismatch', 409],
  WR010: ['invalid_argument', 422],
  WR011: ['queue_not_found', 404],
  WR013: ['queue_full', 429],
  WR015: ['worker_not_found', 404],
  WR016: ['too_many_names', 409],
  WR018: ['tenant_mismatch', 409],
  WR019: ['quota_exceeded', 429],
  WR023: ['queue_encrypted', 409],
  WR024: ['worker_taken', 409],
  WR030: ['schedule_not_found', 404],
  WR050: ['workflow_not_found', 404],
  WR051: ['workflow_ended', 409],
}

/** SQLSTATEs of statements that may succeed later: a lost connection, a server that starts or stops, too many connections. */
const passing = /^(08...|57P0[1-3]|53300|40001|40P01|55P03)$/

interface PgError {
  code?: unknown
  hint?: unknown
  column?: unknown
  message?: unknown
  cause?: unknown
}

/** problemOfSql returns the Problem for an error of a statement. An ORM may have wrapped it. */
export function problemOfSql(error: unknown): unknown {
  if (error instanceof Problem) return error
  for (let at = error as PgError | undefined; at && typeof at === 'object'; at = at.cause as PgError | undefined) {
    const state = typeof at.code === 'string' ? at.code : ''
    const detail = String(at.message)
    const known = codes[state]
    if (known || state.startsWith('WR')) {
      const [code, status] = known ?? [state, 409]
      const place = typeof at.column === 'string' ? [{ location: at.column, message: detail }] : undefined
      return new Problem({ code, status, detail, hint: at.hint as string | undefined, errors: place, cause: error })
    }
    const network = /^(ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH)/.test(state)
    if (network || passing.test(state) || /^(Connection terminated|timeout exceeded|Client has encountered)/.test(detail)) {
      return new Problem({ code: 'unreachable', status: 503, detail, cause: error })
    }
  }
  return error
}
