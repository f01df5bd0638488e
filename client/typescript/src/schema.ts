// Validation by the standard-schema interface, which zod, valibot, arktype and others implement.

import type { StandardSchemaV1 } from '@standard-schema/spec'

export type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>

/** Invalid is thrown where args or a result are not what their schema says. */
export class Invalid extends Error {
  override readonly name = 'Invalid'
  constructor(
    what: string,
    readonly issues: readonly StandardSchemaV1.Issue[],
  ) {
    super(`${what}: ${issues.map(describe).join('; ')}`)
  }
}

function describe(issue: StandardSchemaV1.Issue): string {
  const path = (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  return path === '' ? issue.message : `${path}: ${issue.message}`
}

/** validate returns what the schema makes of a value, or throws Invalid. Without a schema every value is valid. */
export async function validate<Output>(schema: Schema<any, Output> | undefined, value: unknown, what: string): Promise<Output> {
  if (!schema) return value as Output
  const outcome = await schema['~standard'].validate(value)
  if (outcome.issues) throw new Invalid(what, outcome.issues)
  return outcome.value
}
