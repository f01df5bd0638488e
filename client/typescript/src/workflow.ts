// Workflows: steps that wait for each other. The result of a step has its type in those that come after it.

import { type ArgsIn, type JobType, type Needs, newJob, type Result } from './job.js'
import type { NewStep, NewWorkflow } from './wire.js'

/** Step is a step of a plan. Later steps name it in `after`. */
export interface Step<Name extends string = string, T extends JobType = JobType> {
  readonly name: Name
  readonly type: T
}

/** The results that a step gets from those in its `after`, by their names. */
type ResultsOf<After extends readonly Step[]> = { [S in After[number] as S['name']]: Result<S['type']> }

type Fields = Omit<NewStep, 'name' | 'kind' | 'args' | 'depends_on' | 'wait_for' | 'workflow' | 'compensation'>

export interface StepOptions<After extends readonly Step[]> extends Fields {
  /** The steps that it waits for. */
  after?: After
  /** The step that undoes it. */
  compensation?: Step
}

/** A job type with needs takes a step only after steps that meet them; any other takes it anywhere. */
type Meets<T extends JobType, After extends readonly Step[]> =
  ResultsOf<After> extends Needs<T> ? unknown : { after: ['these steps do not give what the job needs', Needs<T>] }

/** WorkflowPlan is a workflow to be: `workflow('order')`. */
export class WorkflowPlan {
  readonly #steps: (() => Promise<NewStep>)[] = []

  constructor(private readonly fields: Omit<NewWorkflow, 'steps'>) {}

  /** step adds a step that runs a job. */
  step<const Name extends string, T extends JobType, const After extends readonly Step[] = []>(
    name: Name,
    type: T,
    args: ArgsIn<T>,
    ...[options]: unknown extends Meets<T, []>
      ? [options?: StepOptions<After> & Meets<T, After>]
      : [options: StepOptions<After> & Meets<T, After>]
  ): Step<Name, T> {
    const { after = [], compensation, ...fields } = (options ?? {}) as StepOptions<readonly Step[]>
    this.#steps.push(async () => {
      const { unique: _, ...job } = await newJob(type, args)
      return { ...job, ...fields, name, depends_on: after.map((step) => step.name), ...(compensation && { compensation: compensation.name }) }
    })
    return { name, type }
  }

  /** wait adds a step without a job: it completes at a time, or when a signal comes, with its payload as the result. */
  wait<const Name extends string, Payload = unknown>(
    name: Name,
    wait_for: NonNullable<NewStep['wait_for']>,
    { after = [], ...fields }: Pick<NewStep, 'needs' | 'on_failure'> & { after?: readonly Step[] } = {},
  ): Step<Name, JobType<unknown, unknown, Payload, Payload>> {
    this.#steps.push(async () => ({ ...fields, name, wait_for, depends_on: after.map((step) => step.name) }))
    return { name, type: { kind: name, options: {} } }
  }

  /** definition is what is sent. It throws Invalid where args are not what their schema says. */
  async definition(): Promise<NewWorkflow> {
    return { ...this.fields, steps: await Promise.all(this.#steps.map((step) => step())) }
  }
}

/** existing stands for a step that a workflow has already, so that steps that are added to it can come after it. */
export function existing<const Name extends string, T extends JobType>(name: Name, type: T): Step<Name, T> {
  return { name, type }
}

/** workflow begins a plan. */
export function workflow(name: string, fields: Omit<NewWorkflow, 'name' | 'steps'> = {}): WorkflowPlan {
  return new WorkflowPlan({ ...fields, name })
}
