// Typed jobs: a kind, with the types of its args and of its result.

import type { StandardSchemaV1 } from '@standard-schema/spec'

import { type Schema, validate } from './schema.js'
import type { JobOptions, NewJob } from './wire.js'

/**
 * JobType is a kind of job. Producers pass ArgsIn and get Result; handlers get Args and return ResultIn. They differ only
 * where a schema transforms. Needs are the results of other steps, by name, where the job is a step of a workflow.
 */
export interface JobType<ArgsIn = any, Args = any, ResultIn = any, Result = any, Needs = any> {
  readonly kind: string
  readonly options: JobOptions
  readonly args?: Schema<ArgsIn, Args>
  readonly result?: Schema<ResultIn, Result>
  readonly needs?: { readonly [Name in keyof Needs]: JobType }
}

export type ArgsIn<T> = T extends JobType<infer A, any, any, any, any> ? A : never
export type Args<T> = T extends JobType<any, infer A, any, any, any> ? A : never
export type ResultIn<T> = T extends JobType<any, any, infer R, any, any> ? R : never
export type Result<T> = T extends JobType<any, any, any, infer R, any> ? R : never
export type Needs<T> = T extends JobType<any, any, any, any, infer N> ? N : never

type Steps = { readonly [name: string]: JobType }
type Results<S extends Steps> = { [Name in keyof S]: Result<S[Name]> }

interface Definition<A extends Schema<any, any>, R extends Schema<any, any>, S extends Steps> extends JobOptions {
  /** What producers pass and handlers get: a schema of zod, valibot, arktype or another that has the interface. */
  args: A
  /** What handlers return and producers get. */
  result?: R
  /** The steps of a workflow whose results the handler gets, by their names. */
  needs?: S
}

/**
 * defineJob makes a kind of job. With schemas, args are checked before they are enqueued and before they are handled, and
 * results before they are stored; without, they have the types that you name. Other options are the defaults of its jobs.
 */
export function defineJob<
  A extends Schema<any, any>,
  R extends Schema<any, any> = Schema<unknown, unknown>,
  // eslint-disable-next-line @typescript-eslint/no-empty-object-type
  S extends Steps = {},
>(
  kind: string,
  definition: Definition<A, R, S>,
): JobType<
  StandardSchemaV1.InferInput<A>,
  StandardSchemaV1.InferOutput<A>,
  StandardSchemaV1.InferInput<R>,
  StandardSchemaV1.InferOutput<R>,
  Results<S>
>
export function defineJob<Args = unknown, Result = unknown, Needs = unknown>(
  kind: string,
  options?: JobOptions,
): JobType<Args, Args, Result, Result, Needs>
export function defineJob(kind: string, definition: Partial<Definition<Schema, Schema, Steps>> = {}): JobType {
  const { args, result, needs, ...options } = definition
  return { kind, options, ...(args && { args }), ...(result && { result }), ...(needs && { needs }) }
}

/** newJob makes what is sent for a job of a kind. It throws Invalid where its args are not what the schema says. */
export async function newJob<T extends JobType>(type: T, args: ArgsIn<T>, options: JobOptions = {}): Promise<NewJob> {
  await validate(type.args, args, `args of ${type.kind}`)
  return { ...type.options, ...options, kind: type.kind, ...(args !== undefined && { args }) }
}
