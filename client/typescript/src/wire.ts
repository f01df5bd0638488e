// The data that goes between weir and this package, under the names that the REST API and the SQL contract give it.

import type { components } from './rest.js'

type Schemas = components['schemas']

export type NewJob = Schemas['NewJob']
export type Job = Schemas['Job']
export type JobState = Job['state']
export type ClaimedJob = Schemas['ClaimedJob']
export type Ack = Schemas['Ack']
export type AckResult = Schemas['AckResult']
export type Failure = Schemas['Failure']
export type Progress = Schemas['Progress']
export type LogLine = Schemas['NewLogLine']
export type NewStep = Schemas['NewStep']
export type NewWorkflow = Schemas['NewWorkflow']
export type Workflow = Schemas['Workflow']
export type ScheduleDefinition = Schemas['ScheduleDefinition']
export type Schedule = Schemas['Schedule']
export type Event = Schemas['Event']
export type WorkerSettings = Schemas['WorkerSettings']
export type WorkerBeat = Schemas['WorkerBeat']

/** The fields of a job beside its kind and args, under the names that REST and SQL give them. */
export type JobOptions = Omit<NewJob, 'kind' | 'args'>
