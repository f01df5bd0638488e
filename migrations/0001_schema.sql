-- +goose Up
-- The schema, the one sequence, and the words that every table uses.

comment on schema weir is
  'weir: a job queue. Functions act (weir.enqueue, weir.claim, weir.complete, …), views look (weir.jobs, '
  'weir.queue_depth, …). A job is in exactly one place, and the place is its state: job_scheduled, job_held, '
  'job_ready, job_lease or job_outcome.';
-- Ids of jobs and places in the queues are drawn from one sequence, so a job that is available for the first time
-- takes its own id as its place (job_ready.seq), and needs no second index to be found. The upper bits of an id name
-- its partition (id >> 32) and, above that, its shard (id >> 48).
create sequence weir.job_id_seq as bigint;
comment on sequence weir.job_id_seq is
  'Draws job ids and the places (seq) of available jobs, which the fencing tokens of leases are made of.';

-- The rules that constraints and functions share. Constraints call them, so they are made here, before the tables.

create function weir.is_queue_name(name text) returns boolean language sql immutable
  return name ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$';
comment on function weir.is_queue_name(text) is
  'Internal. Whether a text can name a queue, a circuit breaker, a webhook or a schedule: 1 to 128 letters, digits '
  'or _ . : - , not beginning with . : or -.';

create function weir.is_breaker_reference(reference text) returns boolean language sql immutable
  return reference ~ '^([^\x01-\x1f]{1,200}/)?[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$'
    and reference !~ '^[.][.]?/[^/]*$';
comment on function weir.is_breaker_reference(text) is
  'Internal. Whether a text can be the reference of a circuit breaker: its name, or its tenant, a slash and its name.';

create function weir.max_seconds() returns int language sql immutable return 315360000;
comment on function weir.max_seconds() is
  'Internal. The longest delay, wait or retention in seconds: ten years of 365 days.';

create type weir.job_state as enum ('held', 'scheduled', 'retryable', 'available', 'running', 'completed',
  'cancelled', 'dead');
comment on type weir.job_state is
  'What people see of a job. Waiting: held, scheduled, retryable (scheduled after a failure), available. Then '
  'running. Ended: completed, cancelled, dead.';

create type weir.event_kind as enum ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'cancel_requested',
  'retried', 'edited', 'redriven', 'purged',
  'routed', 'let_through', 'rerouted', 'postponed', 'substituted', 'replayed');
comment on type weir.event_kind is
  'The exceptional moments of a job: an attempt failed, ran past its timeout, or lost its lease; the job was '
  'snoozed, released, asked to stop while it ran, run again by hand, or changed; as a dead letter it was run again, '
  'purged, or routed to another queue; its circuit breaker held it and let it through, sent it to another queue, put '
  'it off, or had it completed with another result; a copy of it was enqueued, or it is such a copy.';

-- Queues: the unit of routing, and the home of defaults. The first job of a queue creates it.

create table weir.queue (
  id int generated always as identity primary key,
  name text not null constraint queue_name_is_unique unique
    constraint queue_name_is_short_and_plain check (weir.is_queue_name(name)),
  priority smallint not null default 5 constraint priority_is_1_to_10 check (priority between 1 and 10),
  max_attempts smallint not null default 5 constraint max_attempts_is_1_to_100 check (max_attempts between 1 and 100),
  timeout_seconds int not null default 300 constraint timeout_is_1_second_to_7_days check (timeout_seconds between 1
    and 604800),
  lease_seconds int not null default 30 constraint lease_is_1_second_to_1_hour check (lease_seconds between 1 and 3600),
  retry jsonb not null default '{"strategy": "exponential", "base_seconds": 2, "max_seconds": 3600, "jitter": true}',
  retention_seconds int not null default 604800
    constraint retention_is_1_minute_to_10_years check (retention_seconds between 60 and weir.max_seconds()),
  dead_retention_seconds int not null default 2592000
    constraint dead_retention_is_1_minute_to_10_years check (dead_retention_seconds between 60 and weir.max_seconds()),
  dead_letter_queue_id int constraint a_queue_is_not_its_own_dead_letter_queue check (dead_letter_queue_id <> id),
  max_depth int constraint max_depth_is_1_to_10_million check (max_depth between 1 and 10000000),
  governed boolean not null default false,
  declared boolean not null default false,
  admitted_id int constraint queue_admitted_id_is_unique unique,
  ready_id int not null generated always as (case when governed then admitted_id else id end) stored,
  breaker_id int,
  limits jsonb,
  tenant text constraint tenant_of_a_queue_is_short check (length(tenant) between 1 and 200),
  line_by smallint,
  encrypted boolean not null default false,
  limits_version bigint not null default 0,
  paused_at timestamptz,
  pause_reason text constraint pause_reason_is_short check (length(pause_reason) between 1 and 500),
  resume_at timestamptz,
  created_at timestamptz not null default now(),
  deleted_at timestamptz,
  hidden_beside text[]
);
create index queue_encrypted on weir.queue (id) where encrypted;
comment on table weir.queue is
  'One row a queue: its name, its defaults for jobs that do not say otherwise, and whether it is paused.';
comment on column weir.queue.id is 'The short name that the hot tables use.';
comment on column weir.queue.name is
  'What people and programs call it: letters, digits, and _ . : - ; at most 128 characters.';
comment on column weir.queue.priority is
  'Priority of a job that names none, 1 to 10, 10 first. Read when the job is enqueued.';
comment on column weir.queue.max_attempts is 'Attempts of a job that names no number. Read when the job is enqueued.';
comment on column weir.queue.timeout_seconds is
  'How long one attempt may run, for a job that does not say. Read when the job is enqueued.';
comment on column weir.queue.lease_seconds is 'Length of a lease where the claim does not say.';
comment on column weir.queue.retry is
  'Retry policy of jobs without one of their own, read when an attempt fails: {strategy, base_seconds, max_seconds, '
  'jitter}; see weir.retry_delay.';
comment on column weir.queue.retention_seconds is
  'How long a job is kept after it ended; it goes with its partition, so at most some hours later.';
comment on column weir.queue.dead_retention_seconds is
  'How long a dead letter is kept after it died; its job then goes as any ended one.';
comment on column weir.queue.dead_letter_queue_id is
  'The queue (weir.queue.id) that gets a copy of each job that dies here, in place of a dead letter; null: none.';
comment on column weir.queue.max_depth is
  'Enqueueing is refused while this many jobs are available; null: no limit. Each enqueue counts up to it, so a '
  'large one costs time.';
comment on column weir.queue.limits is
  'Limits of the queue and of each of its keys and tenants: {concurrency, per_key, rate, key_rate, tenants}; null: '
  'none. weir.limit_override has the limits of single keys and tenants.';
comment on column weir.queue.tenant is
  'The tenant that it belongs to: all its jobs have it; null: tenants share it.';
comment on column weir.queue.line_by is
  'What its limits tell apart: 0 nothing, 1 keys, 2 tenants, 3 both; null: it has no limits. Set by '
  'weir.recompute_limits.';
comment on column weir.queue.encrypted is
  'Args, results and errors of its jobs are stored encrypted, with a data key (weir_auth.data_key).';
comment on column weir.queue.limits_version is 'Counts the changes of its limits.';
comment on column weir.queue.governed is 'It has limits: its jobs wait in lines, and are admitted as the limits allow.';
comment on column weir.queue.declared is
  'An operator set it, or made it the target of another. Of those that only jobs have named the number has a bound, and '
  'they expire: see sql/functions/name.sql.';
comment on column weir.queue.admitted_id is
  'Its admitted jobs stand in weir.job_ready under this id, drawn from the same sequence as id; null: it never had '
  'limits.';
comment on column weir.queue.ready_id is
  'Claims take its jobs from weir.job_ready under this id: id, or admitted_id while it is governed.';
comment on column weir.queue.breaker_id is
  'The circuit breaker (weir.breaker.id) of jobs that name none; null: none. While it is open it holds the whole '
  'queue, or does with its jobs what its policy says.';
comment on column weir.queue.paused_at is
  'While set, until resume_at, claims take nothing from this queue. Enqueueing goes on.';
comment on column weir.queue.pause_reason is 'Why it is paused, at most 500 characters.';
comment on column weir.queue.resume_at is 'When the pause ends, by the database''s clock; null: it has no end.';
comment on column weir.queue.created_at is 'When its first job, or its settings, came.';
comment on column weir.queue.deleted_at is
  'Set by delete_queue: hidden, settings back to the defaults; the next job brings it back. Kept so that ended jobs '
  'still have a queue.';
comment on column weir.queue.hidden_beside is
  'Virtual transactions that may have read the row before it was hidden: it is not removed while one of them runs.';

create type weir.queue_settings as (
  names text[], ids int[], priorities smallint[], max_attempts smallint[], timeouts int[], line_bys smallint[],
    bounded boolean
);
comment on type weir.queue_settings is
  'Internal. What enqueueing needs to know of some queues, in parallel arrays in the order of their names. bounded: '
  'one has a max_depth.';

-- The places a job can be in, and its facts. Facts are written once. Moving a job deletes one narrow row and inserts
-- another, in one statement, so that no table is a history of updates and no index follows a state column.
--
--   enqueue ──▶ job_scheduled ──▶ job_ready ──▶ job_lease ──▶ job_outcome (completed, cancelled, dead)
--                    ▲   job_held ──▲   ▲             │              │
--                    └── retry, snooze ─┴─ release ───┘              └─▶ job_dead, while it is dead and not redriven
--
-- Locks: each function takes rows of one place at a time, deletes before it inserts, and takes many rows in the order
-- of their ids or skips locked ones; so they do not deadlock. No foreign keys: they would lock facts at every move.

create table weir.job (
  id bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  queue_id int not null,
  timeout_seconds int not null,
  priority smallint not null,
  max_attempts smallint not null,
  args jsonb not null,  -- before kind, so that it is aligned without a gap
  kind text not null,
  retry jsonb,
  tags text[],
  metadata jsonb,
  unique_key text,
  tenant text,
  parent_id bigint,
  result_ttl_seconds int,
  run_at timestamptz,
  workflow_id bigint,
  step text,
  concurrency_key text,
  breaker text,
  schedule text,
  slot timestamptz,
  principal int,
  constraint job_pkey primary key (id)
) partition by range (id);
create index job_parent_id on weir.job (parent_id, id) where parent_id is not null;
comment on table weir.job is
  'The facts of every job, in partitions by id. Inserted by enqueue; changed only by weir.edit, and by '
  'weir.start_run before any other session can see it.';
comment on column weir.job.id is 'Drawn from job_id_seq; grows with the order of enqueueing.';
comment on column weir.job.created_at is 'When it was enqueued, by the database''s clock.';
comment on column weir.job.queue_id is 'Its queue, weir.queue.id.';
comment on column weir.job.timeout_seconds is 'How long one attempt may run.';
comment on column weir.job.priority is '1 to 10, 10 first.';
comment on column weir.job.max_attempts is 'After this many failed attempts it is dead.';
comment on column weir.job.kind is 'What the worker should do; at most 200 characters.';
comment on column weir.job.args is 'What it should do it with; at most 1 MiB as text.';
comment on column weir.job.retry is 'Its own retry policy, or null for its queue''s.';
comment on column weir.job.tags is 'Labels to find it by.';
comment on column weir.job.metadata is
  'Anything its producer wants to keep with it; handed to the worker, never read by weir.';
comment on column weir.job.unique_key is 'The key that made a second enqueue answer with this job; see job_unique.';
comment on column weir.job.tenant is 'On whose behalf it runs.';
comment on column weir.job.parent_id is 'The job that it belongs to, which was there when it was enqueued.';
comment on column weir.job.principal is
  'Who enqueued it, weir.principal.id; null: the owner of the schema, or a node without authentication.';
comment on column weir.job.run_at is 'What it was scheduled for when it was enqueued; null: it was available at once.';
comment on column weir.job.workflow_id is 'The workflow that it is a step of.';
comment on column weir.job.step is 'Its name in that workflow.';
comment on column weir.job.concurrency_key is
  'Its line in a queue with limits: those of one key share the key''s limits.';
comment on column weir.job.breaker is
  'The circuit breaker of the dependency that it needs: its reference, `name` or `tenant/name`.';
comment on column weir.job.schedule is 'The name of the schedule that made it, as it was then.';
comment on column weir.job.slot is
  'The slot of the schedule that it was made for; of a trigger by hand, when that was.';
comment on column weir.job.result_ttl_seconds is
  'How long its result is kept after it completed; null: as long as the job.';

create table weir.job_scheduled (
  job_id bigint not null constraint job_scheduled_pkey primary key,
  run_at timestamptz not null,
  queue_id int not null,
  priority smallint not null,
  attempt smallint not null,
  retryable boolean not null default false
);
create index job_scheduled_run_at on weir.job_scheduled (run_at);
comment on table weir.job_scheduled is
  'Jobs that become available at run_at: delayed, snoozed, or waiting to be retried.';
comment on column weir.job_scheduled.job_id is 'weir.job.id';
comment on column weir.job_scheduled.run_at is 'When it becomes available, by the database''s clock.';
comment on column weir.job_scheduled.queue_id is 'weir.queue.id';
comment on column weir.job_scheduled.priority is '1 to 10, 10 first.';
comment on column weir.job_scheduled.attempt is 'Attempts made so far.';
comment on column weir.job_scheduled.retryable is 'It waits for another attempt after one that failed.';

create table weir.job_held (
  job_id bigint not null constraint job_held_pkey primary key,
  held_at timestamptz not null default clock_timestamp(),
  queue_id int not null,
  priority smallint not null,
  attempt smallint not null,
  reason text not null constraint reason_is_known check (reason in ('dependency', 'line', 'breaker', 'signal',
    'timer', 'workflow')),
  key text collate "C",
  seq bigint,
  let_through bigint
);
comment on table weir.job_held is
  'Jobs that wait for something with a name: a dependency, their turn in a line, a breaker, a signal, a time, '
  'another workflow.';
comment on column weir.job_held.job_id is 'weir.job.id';
comment on column weir.job_held.held_at is 'Since when it waits.';
comment on column weir.job_held.queue_id is 'weir.queue.id';
comment on column weir.job_held.priority is '1 to 10, 10 first.';
comment on column weir.job_held.attempt is 'Attempts made so far.';
comment on column weir.job_held.reason is
  'What kind of thing it waits for: dependency, line, breaker, signal, timer, workflow.';
comment on column weir.job_held.key is 'Which one it waits for.';
comment on column weir.job_held.let_through is
  'As in weir.job_ready, for a job that a circuit breaker let go and that waits in a line.';
comment on column weir.job_held.seq is
  'Its place among those that wait for the same, drawn from job_id_seq; null where they have no order.';

create table weir.job_ready (
  queue_id int not null,
  priority smallint not null,
  attempt smallint not null default 0,
  seq bigint not null,
  job_id bigint,
  let_through bigint,
  constraint job_ready_place_is_unique unique (queue_id, priority, seq)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
-- A job that is available for the first time has its id as its seq and is found by its facts; only the others are in
-- here.
create index job_ready_came_back on weir.job_ready (job_id) where job_id is not null;
-- The predicate is one that no other statement implies, or plans for a job_id could use this index.
create index job_ready_came_back_at on weir.job_ready (seq) where coalesce(job_id, 0) > 0;
comment on table weir.job_ready is
  'Jobs that may be claimed, in the order of each queue: priority from 10 to 1, then seq.';
comment on column weir.job_ready.queue_id is
  'weir.queue.id; weir.queue.admitted_id for an admitted job of a governed queue. Claims take what stands under '
  'weir.queue.ready_id.';
comment on column weir.job_ready.priority is '1 to 10, 10 first.';
comment on column weir.job_ready.attempt is 'Attempts made so far.';
comment on column weir.job_ready.seq is
  'Its place in the queue, drawn from job_id_seq each time it becomes available. The token of its next lease is made '
  'of it.';
comment on column weir.job_ready.job_id is
  'weir.job.id of a job that has come back; null: it is available for the first time, and its id is seq (never of an '
  'admitted job).';
comment on column weir.job_ready.let_through is
  'The version of the gated circuit breaker that has let it through; null: none has.';

create table weir.job_lease (
  job_id bigint not null constraint job_lease_pkey primary key,
  token bigint not null,
  leased_at timestamptz not null,
  expires_at timestamptz not null,
  queue_id int not null,
  lease_seconds smallint not null,
  priority smallint not null,
  attempt smallint not null,
  counted boolean,
  followed boolean,
  line text collate "C",
  breaker_id int,
  cancel_requested_at timestamptz,
  worker text not null,
  progress jsonb,
  result_ttl_seconds int,
  principal int,
  login oid
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index job_lease_expires_at on weir.job_lease (expires_at);
comment on table weir.job_lease is 'Jobs that a worker has.';
comment on column weir.job_lease.job_id is 'weir.job.id';
comment on column weir.job_lease.token is
  'The fencing token: every write about a running job names it. See weir.lease_token.';
comment on column weir.job_lease.leased_at is 'When this attempt began.';
comment on column weir.job_lease.expires_at is
  'From then on the job is taken back. A heartbeat moves it, but never past leased_at plus the job''s timeout.';
comment on column weir.job_lease.queue_id is 'weir.queue.id';
comment on column weir.job_lease.lease_seconds is 'Length of the lease, which a heartbeat that names none renews.';
comment on column weir.job_lease.priority is '1 to 10, 10 first.';
comment on column weir.job_lease.attempt is 'Number of this attempt: 1, 2, …';
comment on column weir.job_lease.principal is
  'Who claimed it, weir.principal.id; null: the owner of the schema, or a node without authentication.';
comment on column weir.job_lease.counted is 'It counts towards its worker''s capacity; null where that has none.';
comment on column weir.job_lease.followed is
  'It is a step of a workflow, so weir.on_jobs_ended must be called when its attempt ends; null: it is not.';
comment on column weir.job_lease.line is
  'The line for which it is in flight (weir.line_name); null: its queue had no limits when it was claimed.';
comment on column weir.job_lease.breaker_id is
  'The circuit breaker (weir.breaker.id) that is to hear how this attempt ends; null: none.';
comment on column weir.job_lease.cancel_requested_at is
  'When its cancellation was requested; its worker learns of it at its next heartbeat.';
comment on column weir.job_lease.worker is 'Name of the worker that has it.';
comment on column weir.job_lease.progress is 'What the worker last said of its progress: {percent, message}.';
comment on column weir.job_lease.result_ttl_seconds is 'As in weir.job, so that completing need not read the facts.';

comment on column weir.job_lease.login is
  'The role that claimed it (pg_roles.oid) and alone may report on it, for a login of weir.grant_access; null: weir''s '
  'owner, and so a node.';

create table weir.job_outcome (
  job_id bigint not null,
  finished_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  queue_id int not null,
  state weir.job_state not null constraint state_is_an_end check (state in ('completed', 'cancelled', 'dead')),
  attempt smallint not null,
  worker text,
  result jsonb,
  error jsonb,
  result_until timestamptz,
  constraint job_outcome_pkey primary key (job_id)
) partition by range (job_id);
-- Outcomes are appended as time goes on, so a BRIN index finds the last minutes at next to no cost for the insert.
create index job_outcome_finished_at on weir.job_outcome using brin (finished_at) with (pages_per_range = 16,
  autosummarize = on);
create index job_outcome_result_until on weir.job_outcome (result_until) where result_until is not null;
comment on table weir.job_outcome is
  'How each ended job ended, in partitions by job id. Its primary key lets no job end twice.';
comment on column weir.job_outcome.job_id is 'weir.job.id';
comment on column weir.job_outcome.finished_at is 'When it ended.';
comment on column weir.job_outcome.started_at is 'When its last attempt began, or null if it never ran.';
comment on column weir.job_outcome.queue_id is 'weir.queue.id';
comment on column weir.job_outcome.state is 'completed, cancelled or dead.';
comment on column weir.job_outcome.attempt is 'Attempts made.';
comment on column weir.job_outcome.worker is 'Name of the worker that had it last.';
comment on column weir.job_outcome.result is 'What the worker gave as its result.';
comment on column weir.job_outcome.error is 'Why it is dead: {message, type, stack}.';
comment on column weir.job_outcome.result_until is
  'The result is shown until then, and wiped soon after; null: as long as the job is kept.';

create table weir.job_dead (
  job_id bigint not null constraint job_dead_pkey primary key,
  died_at timestamptz not null default clock_timestamp(),
  queue_id int not null
);
create index job_dead_died_at on weir.job_dead (died_at, job_id);
create index job_dead_of_queue on weir.job_dead (queue_id, died_at, job_id);
comment on table weir.job_dead is
  'Dead letters: jobs that died and were neither redriven nor purged nor routed to another queue.';
comment on column weir.job_dead.job_id is 'weir.job.id';
comment on column weir.job_dead.died_at is 'When it died.';
comment on column weir.job_dead.queue_id is 'weir.queue.id';

create table weir.job_event (
  job_id bigint not null,
  at timestamptz not null default clock_timestamp(),
  kind weir.event_kind not null,
  attempt smallint not null,
  state weir.job_state,
  started_at timestamptz,
  run_at timestamptz,
  worker text,
  detail jsonb
) partition by range (job_id);
create index job_event_job_id on weir.job_event (job_id);
create index job_event_at on weir.job_event using brin (at) with (pages_per_range = 16, autosummarize = on);
comment on table weir.job_event is
  'The exceptional moments of a job''s life, in partitions by job id. An uneventful life has none.';
comment on column weir.job_event.job_id is 'weir.job.id';
comment on column weir.job_event.at is 'When it happened.';
comment on column weir.job_event.kind is 'What happened.';
comment on column weir.job_event.attempt is 'Attempts made by then.';
comment on column weir.job_event.state is 'What the job became by it.';
comment on column weir.job_event.started_at is 'When the attempt began that ended with it.';
comment on column weir.job_event.run_at is 'When the job becomes available again, if it then waited for a time.';
comment on column weir.job_event.worker is 'Name of the worker that had it.';
comment on column weir.job_event.detail is
  'The error of a failed attempt ({message, type, stack}), what was changed, how a job had ended that was run again, '
  'or by whom.';
-- What workers log about their jobs. Nothing but weir.log writes it, and no claim, ack or enqueue reads it.
create type weir.log_level as enum ('debug', 'info', 'warn', 'error');
comment on type weir.log_level is 'How grave a line of a job''s log is, the least first.';

create table weir.job_log (
  job_id bigint not null,
  number int not null,
  at timestamptz not null,
  attempt smallint not null,
  level weir.log_level not null,
  message text,
  fields jsonb,
  encrypted text,
  constraint job_log_pkey primary key (job_id, number),
  constraint log_line_says_something check ((message is null) <> (encrypted is null))
) partition by range (job_id);
comment on table weir.job_log is
  'Lines of the logs of jobs, in partitions by job id; weir.job_logs is for reading. Written once by weir.log.';
comment on column weir.job_log.job_id is 'weir.job.id';
comment on column weir.job_log.number is 'Its place in the job''s log, from 1, over all attempts.';
comment on column weir.job_log.at is 'When it was written, as its worker says, or else when it came.';
comment on column weir.job_log.attempt is 'The attempt that wrote it.';
comment on column weir.job_log.level is 'How grave it is.';
comment on column weir.job_log.message is 'What it says; null if it is encrypted.';
comment on column weir.job_log.fields is 'More about it: an object, or null for none.';
comment on column weir.job_log.encrypted is 'Its message and fields, encrypted by a node; null: they are readable.';

create table weir.job_log_total (
  job_id bigint not null,
  lines int not null default 0,
  bytes int not null default 0,
  dropped int not null default 0,
  dropped_at timestamptz,
  dropped_attempt smallint,
  constraint job_log_total_pkey primary key (job_id)
) partition by range (job_id);
comment on table weir.job_log_total is
  'How long the log of each job is that has one, in partitions by job id. Its row orders the calls of weir.log.';
comment on column weir.job_log_total.job_id is 'weir.job.id';
comment on column weir.job_log_total.lines is 'How many lines are stored, which is the number of the last.';
comment on column weir.job_log_total.bytes is 'Bytes of their messages and fields.';
comment on column weir.job_log_total.dropped is 'How many lines came when the log was full.';
comment on column weir.job_log_total.dropped_at is 'When the first of those came.';
comment on column weir.job_log_total.dropped_attempt is 'The attempt that wrote it.';

-- Read only by enqueue. Nothing is written when the job ends: a key whose job has ended is simply taken over by the
-- next.
create table weir.job_unique (
  key text not null,
  tenant text not null default '',
  job_id bigint not null,
  until timestamptz,
  constraint job_unique_pkey primary key (key, tenant)
);
comment on table weir.job_unique is
  'Unique keys and the job that has each: while the job has not ended, or until a time.';
comment on column weir.job_unique.key is 'The key, at most 500 characters: one space of keys for all queues of a tenant.';
comment on column weir.job_unique.tenant is 'The tenant of the jobs that share the key; empty: none.';
comment on column weir.job_unique.job_id is 'weir.job.id';
comment on column weir.job_unique.until is
  'The key is taken until then (scope ttl); null: until the job ends (scope active).';

create table weir.job_idempotency (
  key text not null,
  tenant text not null default '',
  job_id bigint not null,
  fingerprint text not null,
  until timestamptz not null,
  constraint job_idempotency_pkey primary key (key, tenant)
);
comment on table weir.job_idempotency is 'Idempotency keys of the last day and the job that each made.';
comment on column weir.job_idempotency.key is
  'The key, at most 255 characters: one space of keys for all queues of a tenant.';
comment on column weir.job_idempotency.tenant is 'The tenant of the job or of the login that submitted the workflow; empty: none.';
comment on column weir.job_idempotency.job_id is 'weir.job.id';
comment on column weir.job_idempotency.fingerprint is
  'MD5 of what was asked for, to tell a repeated request from another one with the same key.';
comment on column weir.job_idempotency.until is 'The key is known until then: 24 hours.';

-- Counts of large queues, made by one node for all and read through weir.queue_depth.
create table weir.queue_count (
  queue_id int not null constraint queue_count_pkey primary key,
  counted_at timestamptz not null,
  available bigint not null,
  admitting bigint not null,
  scheduled bigint not null,
  retryable bigint not null,
  held bigint not null,
  dead bigint not null,
  next_run_at timestamptz,
  exact boolean not null
);
comment on table weir.queue_count is
  'How many jobs each queue has, as last counted; empty while no queue has more than 2,000. weir.queue_depth reads it.';
comment on column weir.queue_count.queue_id is 'weir.queue.id';
comment on column weir.queue_count.counted_at is 'When its jobs were counted.';
comment on column weir.queue_count.available is 'Jobs that may be claimed, counted up to 100,000.';
comment on column weir.queue_count.admitting is 'Jobs on their way into lines, counted up to 100,000.';
comment on column weir.queue_count.scheduled is 'Jobs that wait for their time.';
comment on column weir.queue_count.retryable is 'Jobs that failed and wait for their next attempt.';
comment on column weir.queue_count.held is 'Jobs that wait for something other than a time, without those on their way.';
comment on column weir.queue_count.dead is 'Dead letters, counted up to 100,000.';
comment on column weir.queue_count.next_run_at is 'When the next of the scheduled and retryable ones became available.';
comment on column weir.queue_count.exact is
  'Whether all scheduled and held jobs of all queues were counted; they are counted up to 200,000.';

-- Partitions of job, job_outcome and job_event, and of the tables of workflows. They share their bounds, so an id
-- finds one partition of each.
--
-- A partition is 2^32 ids wide, more than it will ever hold: number = id >> 32. The next one is begun by moving the
-- sequence to its first id, when the current one is old enough. So partitions follow time, they cannot run out
-- between two looks, and a database whose service is down for a week goes on inserting into the partition it has.
-- docs/decisions/0002-partitions.md.

create table weir.job_partition (
  number int not null constraint job_partition_pkey primary key,
  opened_at timestamptz,
  kept int,
  sealed_at timestamptz,
  outcomes_sealed_at timestamptz,
  logs_kept int,
  zoned_until timestamptz
);
comment on table weir.job_partition is
  'The partitions that exist. Each holds the ids from number * 2^32 to (number + 1) * 2^32 - 1.';
comment on column weir.job_partition.number is 'The upper bits of the ids in it: id >> 32.';
comment on column weir.job_partition.kept is
  'How many jobs retention left in it when it was rewritten; 0: it may be dropped; null: it is as it was.';
comment on column weir.job_partition.sealed_at is
  'When its jobs had all their search indexes; no id will be inserted any more. Null: not yet.';
comment on column weir.job_partition.outcomes_sealed_at is
  'When its outcomes and events had all their search indexes; nearly all of its jobs had ended. Null: not yet.';
comment on column weir.job_partition.logs_kept is
  'The value of kept when its lines of logs were rewritten; null: they are as they were.';
comment on column weir.job_partition.opened_at is 'When ids began to be drawn from it; null while it lies ahead.';
comment on column weir.job_partition.zoned_until is
  'weir.job_zone has its jobs that had ended by then. Null: it has no zones.';

create table weir.job_zone (
  low bigint not null constraint job_zone_pkey primary key,
  created_from timestamptz not null,
  created_until timestamptz not null,
  started_from timestamptz,
  started_until timestamptz,
  finished_from timestamptz,
  finished_until timestamptz,
  shortest_wait float8,
  longest_wait float8,
  shortest_run float8,
  longest_run float8
);
comment on table weir.job_zone is
  'Zones of sealed partitions: of each 256 ids, within what times their jobs were enqueued, started and ended, and how '
  'long they waited and ran. A search for a time or a length reads only zones that may have a match.';
comment on column weir.job_zone.low is 'The first id, a multiple of 256.';
comment on column weir.job_zone.created_from is 'When the first of its jobs was enqueued.';
comment on column weir.job_zone.created_until is 'When the last was.';
comment on column weir.job_zone.started_from is 'The earliest start of a last attempt; null: none was started.';
comment on column weir.job_zone.started_until is 'The latest.';
comment on column weir.job_zone.finished_from is 'The earliest end; null: none had ended.';
comment on column weir.job_zone.finished_until is 'The latest.';
comment on column weir.job_zone.shortest_wait is 'The shortest wait, in seconds, as of weir.wait_seconds.';
comment on column weir.job_zone.longest_wait is 'The longest.';
comment on column weir.job_zone.shortest_run is 'The shortest last attempt, in seconds; null: none was started.';
comment on column weir.job_zone.longest_run is 'The longest.';

-- Where claims start to look. A claim scans job_ready from its queue's frontier, never from the start, so it does not
-- walk over the dead entries of jobs claimed long ago, which vacuum cannot remove while any transaction holds back
-- the xmin horizon.
--
-- A frontier is not moved by claims. It is looked up again a few times a second (advance_frontier): the place just
-- before the first entry that is still there. A claim that is not committed has not removed its entries yet, so the
-- frontier stays before them.
--
-- One thing could appear behind it: an entry whose transaction drew its seq early and commits late. Such a
-- transaction holds ROW EXCLUSIVE on a hot table from before it draws until it ends, so pg_locks names all there can
-- be. Each tick of the watermark notes who they are and a seq that none of their entries can be below; when one is
-- gone, the next frontier is looked up from there. Rule for every function that draws a seq: lock job_ready first, or
-- draw in the statement that inserts. docs/decisions/0001-frontier.md has the argument and the measurements.
--
-- Both tables are read "newest first", which costs one index probe however many dead rows lie behind.

create table weir.watermark (
  tick bigint not null constraint watermark_pkey primary key,
  at timestamptz not null,
  seq bigint not null,
  settled_at timestamptz not null,
  late_tick bigint not null,
  epoch int not null default 0,
  wal_timeline int not null,
  origin text not null,
  holders text[] not null default '{}',
  holder_seqs bigint[] not null default '{}',
  holder_since timestamptz[] not null default '{}',
  waiting int[]
);
comment on table weir.watermark is 'One row: what the last tick of advance_frontier saw.';
comment on column weir.watermark.tick is 'Counts the ticks that saw a change.';
comment on column weir.watermark.at is 'When this one began, by the database''s clock.';
comment on column weir.watermark.seq is
  'The last number drawn from job_id_seq by then. A queue and priority that was empty is looked at from here.';
comment on column weir.watermark.settled_at is
  'Every row due before then (job_scheduled.run_at, job_lease.expires_at) was visible by then, or was there already.';
comment on column weir.watermark.late_tick is
  'The last tick at which a transaction was found to have ended, and entries may have appeared behind a frontier.';
comment on column weir.watermark.epoch is
  'Rises when the database goes on from an earlier state: a promoted standby, a point-in-time restore, a restored '
  'dump. See weir.claim_epoch.';
comment on column weir.watermark.wal_timeline is 'The timeline of the write-ahead log that the epoch was set on.';
comment on column weir.watermark.origin is
  'The cluster and the copy of the tables that the epoch was set on; see weir.database_origin.';
comment on column weir.watermark.holders is
  'Names (pid:virtual transaction id) of the transactions that were writing to the hot tables.';
comment on column weir.watermark.holder_seqs is 'For each holder: all that it drew is above this.';
comment on column weir.watermark.holder_since is 'For each holder: it began to write after this.';
comment on column weir.watermark.waiting is
  'Where something waited, as weir.job_ready.queue_id; null: in more than 1,000 queues. See weir.queues_to_look_at.';
-- As weir.wal_timeline and weir.database_origin have it, which are not made yet.
insert into weir.watermark (tick, at, seq, settled_at, late_tick, wal_timeline, origin)
select 0, 'epoch', 0, 'epoch', 0, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int,
  c.system_identifier || '/' || 'weir.watermark'::regclass::oid
from pg_control_system() c;

create table weir.frontier (
  queue_id int not null,
  tick bigint not null,
  positions bigint[] not null,
  constraint frontier_pkey primary key (queue_id, tick)
);
comment on table weir.frontier is
  'One row a queue, two a governed one (its id and its admitted_id): where scans of weir.job_ready start in each '
  'priority.';
comment on column weir.frontier.queue_id is 'As weir.job_ready.queue_id.';
comment on column weir.frontier.tick is 'The tick at which it was last seen to have moved.';
comment on column weir.frontier.positions is
  'For priority 1 to 10: entries that wait have a seq above this; null: none waited, look from watermark.seq.';

-- Wake-ups. A NOTIFY takes one lock for the whole database at commit, so weir sends one only while a claim waits: a
-- node whose workers find a queue empty parks there, and each statement that makes a job available in a parked queue
-- notifies once.
--
-- The race: an enqueuer may see no parked node, and commit after a node has parked and found nothing. Its transaction
-- was writing to job_ready when the node parked, so the node ticks the watermark at once, before it looks again: who
-- is not among the writers then is found by that look, and the end of those who are is seen by the next ticks
-- (weir.watermark.late_tick).

create table weir.parked (
  queue text not null,
  node text not null,
  until timestamptz not null,
  constraint parked_pkey primary key (queue, node)
);
comment on table weir.parked is 'Who waits for jobs of a queue and listens on channel weir_ready.';
comment on column weir.parked.queue is 'Name of the queue; it need not exist yet.';
comment on column weir.parked.node is 'Any name that tells the waiting processes apart.';
comment on column weir.parked.until is 'Notified until then, by the database''s clock.';

-- Views for people with psql, and for the service's own answers.

-- Who holds back the xmin horizon.

-- Workers: what is known of each, how many jobs it may hold at once, and whether its claims get any. Registering is
-- optional.
--
-- There are two tables, so that decisions never wait for workers: registration and people write weir.worker; claims
-- and heartbeats write weir.worker_seen, perhaps in an application's long transaction. A claim reads only
-- weir.worker, which changes so seldom that reading it stays fast however long the xmin horizon is held back.
--
-- Capacity: the leases of a worker with a capacity are flagged (job_lease.counted) and so have an index of their own.
-- A claim takes a try-lock on the worker's name before it counts them and keeps it until its transaction ends, so one
-- of two concurrent claims gets nothing.

create table weir.worker (
  name text not null constraint worker_pkey primary key constraint worker_name_is_1_to_200_characters check (length(name) between 1 and 200),
  decided_at timestamptz not null default clock_timestamp(),
  registered_at timestamptz,
  hostname text,
  version text,
  queues text[] not null default '{}',
  labels jsonb not null default '{}',
  capacity int constraint capacity_is_1_to_10000 check (capacity between 1 and 10000),
  capped_at timestamptz,
  paused_at timestamptz,
  draining_at timestamptz,
  principal int,
  login oid,
  tenant text
);
comment on table weir.worker is
  'What workers registered and what people decided about them. A worker may have no row here.';
comment on column weir.worker.name is 'The name that its claims give, 1 to 200 characters.';
comment on column weir.worker.decided_at is
  'When this row was created: the worker registered, or was paused or drained.';
comment on column weir.worker.registered_at is 'When it first registered; null: it never did, or was removed since.';
comment on column weir.worker.hostname is 'The host that it gave at registration.';
comment on column weir.worker.version is 'The version that it gave at registration.';
comment on column weir.worker.queues is
  'The queues that it gave at registration. Informational: each claim names its queues.';
comment on column weir.worker.labels is 'Its labels: an object of strings, at most 8 KiB.';
comment on column weir.worker.capacity is 'How many jobs it may hold at once, on all nodes together; null: no limit.';
comment on column weir.worker.capped_at is
  'Since when it has had a capacity without a break. Its leases since then, and those it had, are counted.';
comment on column weir.worker.paused_at is 'While set, its claims get nothing.';
comment on column weir.worker.draining_at is 'While set, its claims get nothing: it should finish its jobs and exit.';
comment on column weir.worker.principal is
  'Who registered it over REST (weir.principal.id), and alone claims under its name; null: none.';
comment on column weir.worker.login is 'The login (pg_roles.oid) that registered it, in the same way; null: none.';
comment on column weir.worker.tenant is 'The tenant of those who registered it; null: none.';

create table weir.worker_turn (
  name text not null constraint worker_turn_pkey primary key
);
comment on table weir.worker_turn is
  'The lock of a row is the turn of the session that decides a claim of this worker: see weir.admit_claims. A table '
  'of its own, so that pausing a worker or recording that it was seen waits for no claim.';
comment on column weir.worker_turn.name is 'weir.worker.name, of one that has or had a capacity.';

create table weir.worker_seen (
  name text not null constraint worker_seen_pkey primary key,
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  load float8,
  counted_from timestamptz,
  capped_at timestamptz
) with (fillfactor = 50, autovacuum_vacuum_threshold = 1000);
comment on table weir.worker_seen is
  'When workers were last seen, each written at most every 5 seconds. A worker that never registered has its only '
  'row here.';
comment on column weir.worker_seen.name is 'The name that its claims give.';
comment on column weir.worker_seen.first_seen_at is 'When it was first seen.';
comment on column weir.worker_seen.last_seen_at is
  'Its last claim or heartbeat of its own. A heartbeat of a job is not written here: its lease shows it.';
comment on column weir.worker_seen.load is 'The load that it last reported, in units of its own choice.';
comment on column weir.worker_seen.counted_from is
  'All of its counted leases began at or after this: where counting them starts.';
comment on column weir.worker_seen.capped_at is 'The weir.worker.capped_at for which counted_from holds.';
create index job_lease_counted on weir.job_lease (worker, leased_at) where counted;

-- Operations: one call asks for work on many rows, and one node at a time does it in batches.
--
-- A batch and its progress are one transaction, so an interrupted operation continues where it stopped. next_at is when
-- the next batch is due: an unfinished operation that is overdue has lost its node.

create table weir.operation (
  id bigint generated always as identity constraint operation_pkey primary key,
  kind text not null constraint operation_is_known check (kind in ('redrive_dead', 'purge_dead', 'bulk_cancel',
    'bulk_retry', 'bulk_reprioritise', 'export_jobs')),
  state text not null default 'pending' constraint operation_state_is_known check (state in ('pending', 'running',
    'completed', 'cancelled')),
  filter jsonb not null,
  bounds jsonb,
  keep_attempts boolean not null default false,
  options jsonb not null default '{}',
  requested_by text,
  rate_per_second float8 constraint rate_is_one_a_day_to_100_thousand_a_second check (rate_per_second between 1.0 / 86400 and 100000),
  total bigint not null,
  total_exact boolean not null default true,
  done bigint not null default 0,
  failed bigint not null default 0,
  pieces int not null default 0,
  read_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  next_at timestamptz not null default clock_timestamp(),
  cursor_at timestamptz not null default 'epoch',
  cursor_id bigint not null default 0,
  until_id bigint not null default 0
);
create index operation_under_way on weir.operation (next_at) where finished_at is null;
comment on table weir.operation is
  'Operations on many rows, done in batches: what, how far, how fast. Kept for 30 days after their end.';
comment on column weir.operation.id is 'Its id.';
comment on column weir.operation.kind is
  'redrive_dead: runs dead letters again. purge_dead: removes them. bulk_cancel, bulk_retry, bulk_reprioritise: does '
  'so to jobs. export_jobs: writes them down, in weir.operation_result.';
comment on column weir.operation.state is 'pending, running, then completed or cancelled.';
comment on column weir.operation.filter is
  'Which dead letters, of those that died before created_at (see weir.count_dead), or which jobs, of those up to '
  'until_id (see weir.count_jobs).';
comment on column weir.operation.bounds is
  'What kept the caller who requested it to its own rows: {tenant, queues, principal, own}; null: nothing did.';
comment on column weir.operation.options is
  'What else was asked for: {priority} of bulk_reprioritise, {reset_attempts} of bulk_retry, {format, limit} of '
  'export_jobs.';
comment on column weir.operation.keep_attempts is 'With redrive_dead: the attempts so far count.';
comment on column weir.operation.requested_by is 'Who requested it, if given.';
comment on column weir.operation.rate_per_second is 'Rows a second at most; null: no limit.';
comment on column weir.operation.total is
  'Rows in scope: those counted within two seconds at the start, or those done if that is more.';
comment on column weir.operation.total_exact is
  'Whether total is exact. If not, counting took too long: there are at least as many.';
comment on column weir.operation.pieces is 'How many pieces an export has in weir.operation_result.';
comment on column weir.operation.read_at is
  'When a download of an export last read a piece, to within a minute. Its pieces are kept for an hour after that.';
comment on column weir.operation.done is 'How many are done.';
comment on column weir.operation.failed is
  'At its end: rows of total that it no longer found, because another session had changed them.';
comment on column weir.operation.created_at is 'When it was requested.';
comment on column weir.operation.started_at is 'When its first batch began.';
comment on column weir.operation.finished_at is 'When it was completed or cancelled.';
comment on column weir.operation.next_at is 'When its next batch is due.';
comment on column weir.operation.cursor_at is 'All dead letters that died before then are done.';
comment on column weir.operation.cursor_id is
  'Of those that died exactly then, or of all jobs, those with ids up to this one are done.';
comment on column weir.operation.until_id is
  'Only jobs up to this id are in scope: those that existed when it was requested.';

create table weir.operation_result (
  operation_id bigint not null,
  n int not null,
  body text not null,
  constraint operation_result_pkey primary key (operation_id, n)
);
comment on table weir.operation_result is 'The output of exports, in pieces. Kept for a day after the end.';
comment on column weir.operation_result.operation_id is 'weir.operation.id';
comment on column weir.operation_result.n is 'Number of the piece: 1, 2, …';
comment on column weir.operation_result.body is 'Whole lines.';

-- Schedules: rows that make jobs or submit workflows at set times.
--
-- The preview, the firing, REST and SQL all ask weir.next_slot for times. A cron expression is parsed once, into masks
-- (weir.cron_fields). A time zone is the list of its clock changes (weir.time_zone), which the program carries and
-- `weir migrate up` loads. PostgreSQL's and the node's own zone data are not used, so they cannot disagree.
-- docs/decisions/0006-schedules.md has the reasons.
--
-- Lock order: weir.schedule, then what enqueueing and cancelling lock.

create table weir.time_zone (
  name text not null constraint time_zone_pkey primary key,
  changes timestamptz[] not null,
  offsets int[] not null,
  version text not null
);
-- Stored uncompressed: a compressed array is unpacked for each element that is read.
alter table weir.time_zone alter column changes set storage plain, alter column offsets set storage plain;
comment on table weir.time_zone is
  'The time zones of schedules, with every clock change from 2000 to 2100. weir migrate up loads them.';
comment on column weir.time_zone.name is 'Name in the IANA time zone database.';
comment on column weir.time_zone.changes is 'When its clocks change, in order; the first is -infinity.';
comment on column weir.time_zone.offsets is
  'Seconds that local time is ahead of UTC from the change at the same place on.';
comment on column weir.time_zone.version is 'Release of the IANA time zone database, such as 2025c.';

create type weir.cron_fields as (
  seconds bigint, minutes bigint, hours bigint, days bigint, last_days bigint, months bigint, weekdays bigint,
  nth_weekdays bigint, last_weekdays bigint, both_days boolean
);
comment on type weir.cron_fields is
  'A parsed cron expression: each field is a mask with a bit for each number that it includes. last_days: days '
  'before the end of the month, 0 being the last. nth_weekdays: bit weekday * 5 + n - 1. both_days: the day of the '
  'month and the day of the week must both match; otherwise one of them is enough.';

create table weir.schedule (
  id bigint generated by default as identity constraint schedule_pkey primary key,
  name text not null,
  tenant text,
  queues text[] not null default '{}',
  cron text,
  fields weir.cron_fields,
  every_seconds int,
  anchor timestamptz,
  at timestamptz,
  timezone text not null,
  job jsonb,
  workflow jsonb,
  jitter_seconds int not null,
  starts_at timestamptz,
  ends_at timestamptz,
  max_runs int,
  dst_gap text,
  dst_overlap text,
  misfire text not null,
  misfire_limit int not null,
  overlap text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  paused_at timestamptz,
  deleted_at timestamptz,
  runs int not null default 0,
  last_slot_at timestamptz,
  last_run_at timestamptz,
  next_slot_at timestamptz,
  due_at timestamptz,
  misfires_checked_at timestamptz,
  waiting_for bigint,
  tries int not null default 0,
  problem text
) with (fillfactor = 70);
create unique index schedule_name on weir.schedule (coalesce(tenant, ''), name) where deleted_at is null;
create index schedule_due on weir.schedule (due_at) where due_at is not null;
comment on table weir.schedule is
  'One row a schedule: its definition and its progress. The view weir.schedules is for reading.';
comment on column weir.schedule.id is 'Refers to it in weir.schedule_slot.';
comment on column weir.schedule.name is
  'Its name, which only one schedule of its tenant, or of no tenant, has; free again once it is deleted.';
comment on column weir.schedule.tenant is 'The tenant that it and all its jobs belong to; null: none.';
comment on column weir.schedule.queues is 'The queues of its job, or of all steps of its workflow.';
comment on column weir.schedule.cron is 'A cron expression of 5 or 6 fields, or null.';
comment on column weir.schedule.fields is 'The cron expression, parsed.';
comment on column weir.schedule.every_seconds is 'The interval between its slots in seconds of real time, or null.';
comment on column weir.schedule.anchor is 'With every_seconds: one of its slots, from which the others are counted.';
comment on column weir.schedule.at is 'Its only slot, or null.';
comment on column weir.schedule.timezone is 'The zone of its cron expression, weir.time_zone.name.';
comment on column weir.schedule.job is 'The job that each slot makes, as in weir.enqueue_batch, with placeholders.';
comment on column weir.schedule.workflow is 'The workflow that each slot submits, in place of a job.';
comment on column weir.schedule.jitter_seconds is
  'A slot fires up to this many seconds late; the delay of one slot never changes.';
comment on column weir.schedule.starts_at is 'No slot comes before this time.';
comment on column weir.schedule.ends_at is 'No slot comes at or after this time.';
comment on column weir.schedule.max_runs is 'It finishes after this many runs; null: no limit.';
comment on column weir.schedule.dst_gap is
  'Local times skipped by DST: run_after or skip; null: skip if it runs in every hour, otherwise run_after.';
comment on column weir.schedule.dst_overlap is
  'Local times that DST repeats: once or twice; null: twice if it runs in every hour, otherwise once.';
comment on column weir.schedule.misfire is 'Slots that no node fired within a minute: skip, latest or all.';
comment on column weir.schedule.misfire_limit is
  'With misfire all: the number of missed slots that still run, the latest ones.';
comment on column weir.schedule.overlap is
  'What a slot does while the run before is active: allow, skip, wait or cancel.';
comment on column weir.schedule.created_at is 'When it was created.';
comment on column weir.schedule.updated_at is 'When its definition last changed.';
comment on column weir.schedule.paused_at is 'When it was paused; null: it is not.';
comment on column weir.schedule.deleted_at is 'When it was deleted; the row is removed with the last of its slots.';
comment on column weir.schedule.runs is 'Slots that made a job; manual triggers do not count.';
comment on column weir.schedule.last_slot_at is 'All its slots up to this one are done.';
comment on column weir.schedule.last_run_at is 'The last slot that made a job.';
comment on column weir.schedule.next_slot_at is 'The next slot; null: it is paused or finished.';
comment on column weir.schedule.due_at is
  'When to handle it next: next_slot_at plus its jitter, or later while that slot waits or is tried again.';
comment on column weir.schedule.misfires_checked_at is
  'When the misfire policy was last applied. Slots up to then still fire, however late.';
comment on column weir.schedule.waiting_for is 'The job or workflow that must end before the next slot fires.';
comment on column weir.schedule.tries is 'How many times the next slot was refused.';
comment on column weir.schedule.problem is 'Why it was refused the last time.';

create table weir.schedule_slot (
  schedule_id bigint not null,
  slot_at timestamptz not null,
  manual boolean not null default false,
  outcome text not null constraint outcome_is_known check (outcome in ('enqueued', 'duplicate', 'skipped', 'missed',
    'refused')),
  due_at timestamptz not null,
  fired_at timestamptz not null,
  until_at timestamptz,
  job_id bigint,
  workflow_id bigint,
  detail text,
  constraint schedule_slot_pkey primary key (schedule_id, slot_at, manual)
);
create index schedule_slot_runs on weir.schedule_slot (schedule_id, slot_at desc)
  where outcome in ('enqueued', 'duplicate');
create index schedule_slot_fired_at on weir.schedule_slot (fired_at);
create index schedule_slot_not_made on weir.schedule_slot (fired_at) where outcome in ('missed', 'refused');
comment on table weir.schedule_slot is
  'What each slot did, written in the transaction of its job. The primary key lets no slot fire twice.';
comment on column weir.schedule_slot.schedule_id is 'weir.schedule.id';
comment on column weir.schedule_slot.slot_at is 'The time of the slot, or of the manual trigger.';
comment on column weir.schedule_slot.manual is 'It was triggered by hand.';
comment on column weir.schedule_slot.outcome is
  'enqueued: it made a job or a workflow. duplicate: the unique key of its job was taken. skipped: the run before was '
  'active. missed: no node fired it in time. refused: its job or workflow could not be enqueued.';
comment on column weir.schedule_slot.due_at is 'When it should fire: the slot plus its jitter.';
comment on column weir.schedule_slot.fired_at is 'When it was handled.';
comment on column weir.schedule_slot.until_at is
  'Of missed slots: the row stands for all slots from slot_at to before this time; null: to the last.';
comment on column weir.schedule_slot.job_id is 'The job that it made, or for a duplicate the job that has the key.';
comment on column weir.schedule_slot.workflow_id is 'The workflow that it submitted.';
comment on column weir.schedule_slot.detail is 'Why it made no job, or what else it did.';

create type weir.firing as (
  schedule_id bigint, name text, slot_at timestamptz, due_at timestamptz, is_workflow boolean, definition jsonb,
    detail text,
  punctual boolean, misfires_checked_at timestamptz, next_slot_at timestamptz, next_due_at timestamptz, tenant text
);
comment on type weir.firing is
  'A slot that weir.fire_due is about to fire: the job or workflow to make, and the progress of its schedule '
  'afterwards. punctual: it neither waited nor was tried before.';

-- Roll-ups: what happened in each minute, by queue and kind, and beside that by tenant, counted once from the append-only tables, so that
-- readers of throughput, latency and failures need not read a million rows. A chore calls weir.roll_up. The views add
-- what is not rolled up yet, so they are right without the chore, only slower.
--
-- Ends and attempts belong to the minute in which they ended. A minute is counted as a whole and its row replaced, so
-- counting it again gives the same result. It is counted once all of it is visible (weir.settled). If a transaction
-- stays open for long, the minute is counted without it, recorded in rollup_unsettled, and counted again when that
-- transaction has ended. A job that is run again loses its outcome; its event keeps what it was.
--
-- Enqueued jobs are counted by ranges of ids, each once (an index of weir.job by time would cost every enqueue), and
-- added to the minute in which they were enqueued. A range that is not settled is counted as it is and kept in
-- rollup_unsettled_ids; the difference is added later.
--
-- Times are counted in buckets, eight to each doubling: bucket 1 is below 1 ms, bucket n from 2^((n-2)/8) to
-- 2^((n-1)/8) ms. Buckets of minutes, kinds or queues may be added up. A percentile is the geometric middle of its
-- bucket, so it is at most 2^(1/16) - 1 = 4.5 % off.

create table weir.rollup (
  at timestamptz not null,
  seconds int not null default 60 constraint rollup_is_of_a_minute_or_an_hour check (seconds in (60, 3600)),
  queue_id int not null,
  kind text not null,
  tenant text not null default '',
  enqueued bigint not null default 0,
  completed bigint not null default 0,
  completed_later bigint not null default 0,
  dead bigint not null default 0,
  cancelled bigint not null default 0,
  failed bigint not null default 0,
  timed_out bigint not null default 0,
  lost bigint not null default 0,
  snoozed bigint not null default 0,
  released bigint not null default 0,
  rerun bigint not null default 0,
  wait_seconds float8 not null default 0,
  wait_longest float8 not null default 0,
  waits int[] not null default '{}',
  run_seconds float8 not null default 0,
  run_longest float8 not null default 0,
  runs int[] not null default '{}',
  constraint rollup_pkey primary key (at, queue_id, kind, tenant, seconds)
);
create index rollup_of_queue on weir.rollup (queue_id, at) where tenant = '';
create index rollup_of_kind on weir.rollup (queue_id, kind, at) where tenant = '';
create index rollup_of_tenant on weir.rollup (tenant, at) where tenant <> '';
create index rollup_minutes on weir.rollup (at) where seconds = 60;
comment on table weir.rollup is
  'What happened in a minute, or in an hour some days later, by queue and kind, and beside that by '
  'tenant. Add rows with the same tenant up as you like; no moment is in two of them.';
comment on column weir.rollup.at is 'Its beginning.';
comment on column weir.rollup.seconds is 'Its length: 60, or 3600 once its minutes were folded into an hour.';
comment on column weir.rollup.queue_id is 'weir.queue.id';
comment on column weir.rollup.kind is 'Kind of the jobs; (others): the kinds beyond the first 1000. See weir.rollup_name.';
comment on column weir.rollup.tenant is
  'Tenant of the jobs; empty: all jobs, those of tenants too; (others): the tenants beyond the first 10000. See '
  'weir.rollup_name.';
comment on column weir.rollup.enqueued is 'Jobs enqueued.';
comment on column weir.rollup.completed is 'Jobs completed.';
comment on column weir.rollup.completed_later is 'Those of them that were completed at an attempt after the first.';
comment on column weir.rollup.dead is 'Jobs that died.';
comment on column weir.rollup.cancelled is 'Jobs cancelled.';
comment on column weir.rollup.failed is 'Attempts that failed.';
comment on column weir.rollup.timed_out is 'Attempts that ran past their timeout.';
comment on column weir.rollup.lost is 'Attempts that lost their lease.';
comment on column weir.rollup.snoozed is 'Attempts that put their job off.';
comment on column weir.rollup.released is 'Attempts that gave their job back.';
comment on column weir.rollup.rerun is 'Jobs that were run again by hand: retried or redriven.';
comment on column weir.rollup.wait_seconds is
  'How long the jobs of the attempts that ended had been available before they began, all added up.';
comment on column weir.rollup.wait_longest is 'The longest of these waits, in seconds.';
comment on column weir.rollup.waits is 'How many of these waits there were in each bucket; see weir.time_bucket.';
comment on column weir.rollup.run_seconds is 'How long the attempts ran that completed a job, all added up.';
comment on column weir.rollup.run_longest is 'The longest of these runs, in seconds.';
comment on column weir.rollup.runs is 'How many of these runs there were in each bucket; see weir.time_bucket.';

create table weir.rollup_failure (
  at timestamptz not null,
  queue_id int not null,
  kind text not null,
  tenant text not null default '',
  event weir.event_kind not null,
  type text not null,
  message text not null,
  attempts bigint not null,
  last_at timestamptz not null,
  last_job_id bigint not null
);
create index rollup_failure_at on weir.rollup_failure (at);
comment on table weir.rollup_failure is
  'What failed in a minute and why: the fifty most frequent failures of each queue and tenant, and one row a kind and '
  'event for the others.';
comment on column weir.rollup_failure.at is 'The beginning of the minute.';
comment on column weir.rollup_failure.queue_id is 'weir.queue.id';
comment on column weir.rollup_failure.kind is 'Kind of the jobs.';
comment on column weir.rollup_failure.tenant is 'Tenant of the jobs; empty: they have none.';
comment on column weir.rollup_failure.event is 'How the attempts ended: failed, timed_out or lost.';
comment on column weir.rollup_failure.type is
  'The class of the error, its first 100 characters; empty where there is none.';
comment on column weir.rollup_failure.message is 'The error, its first 200 characters.';
comment on column weir.rollup_failure.attempts is 'How many attempts ended so.';
comment on column weir.rollup_failure.last_at is 'When the last of them did.';
comment on column weir.rollup_failure.last_job_id is 'And whose it was.';

create table weir.rollup_sum (like weir.rollup including defaults including comments,
  constraint rollup_sum_is_of_a_minute_an_hour_or_a_day check (seconds in (60, 3600, 86400)),
  constraint rollup_sum_pkey primary key (kind, queue_id, tenant, seconds, at));
create index rollup_sum_at on weir.rollup_sum (seconds, at);
create index rollup_sum_of_tenants on weir.rollup_sum (seconds, at) where tenant <> '';
comment on table weir.rollup_sum is
  'Sums of weir.rollup: over all kinds of a queue, over all queues of a kind, over all that a tenant has, and over everything; by minute and, '
  'beside that, by hour, and by day once its minutes are folded into hours. Charts of a long time read few rows here.';
comment on column weir.rollup_sum.queue_id is 'weir.queue.id; 0: all queues.';
comment on column weir.rollup_sum.kind is 'Kind of the jobs; empty: all kinds.';
comment on column weir.rollup_sum.tenant is 'Tenant of the jobs; empty: all jobs, those of tenants too.';
comment on column weir.rollup_sum.seconds is 'Its length: 60, 3600 or 86400. A moment may be in a row of each.';

create table weir.rollup_failure_hour (
  at timestamptz not null,
  queue_id int not null,
  kind text not null,
  tenant text not null default '',
  event weir.event_kind not null,
  type text not null,
  attempts bigint not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  last_job_id bigint not null,
  constraint rollup_failure_hour_pkey primary key (at, queue_id, kind, tenant, event, type)
);
comment on table weir.rollup_failure_hour is
  'What failed in an hour of more than three days ago, by class: weir.rollup_failure without its texts. Of each queue '
  'and tenant the hundred most frequent; the others are one row a kind and event.';
comment on column weir.rollup_failure_hour.at is 'The beginning of the hour.';
comment on column weir.rollup_failure_hour.queue_id is 'weir.queue.id';
comment on column weir.rollup_failure_hour.kind is 'Kind of the jobs.';
comment on column weir.rollup_failure_hour.tenant is 'Tenant of the jobs; empty: they have none.';
comment on column weir.rollup_failure_hour.event is 'How the attempts ended: failed, timed_out or lost.';
comment on column weir.rollup_failure_hour.type is
  'The class of the error; empty where there is none; (others) for the less frequent ones.';
comment on column weir.rollup_failure_hour.attempts is 'How many attempts ended so.';
comment on column weir.rollup_failure_hour.first_at is 'The minute in which the first of them did.';
comment on column weir.rollup_failure_hour.last_at is 'When the last of them did.';
comment on column weir.rollup_failure_hour.last_job_id is 'And whose it was.';

create table weir.rollup_failure_sum (
  at timestamptz not null,
  seconds int not null constraint rollup_failure_sum_is_of_an_hour_or_a_day check (seconds in (3600, 86400)),
  queue_id int not null,
  kind text not null,
  event weir.event_kind not null,
  type text not null,
  attempts bigint not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  last_job_id bigint not null,
  constraint rollup_failure_sum_pkey primary key (queue_id, seconds, at, kind, event, type)
);
create index rollup_failure_sum_at on weir.rollup_failure_sum (seconds, at);
comment on table weir.rollup_failure_sum is
  'Sums of failures over all tenants, of each queue and over all queues, by class; by hour and, beside that, by day '
  'once its minutes are folded into hours. Of each hour and queue the thousand most frequent classes; the others are '
  'one row a kind and event. Charts of a long time read few rows here.';
comment on column weir.rollup_failure_sum.at is 'Its beginning.';
comment on column weir.rollup_failure_sum.seconds is 'Its length: 3600 or 86400. A moment may be in a row of each.';
comment on column weir.rollup_failure_sum.queue_id is 'weir.queue.id; 0: all queues.';
comment on column weir.rollup_failure_sum.kind is 'Kind of the jobs.';
comment on column weir.rollup_failure_sum.event is 'How the attempts ended: failed, timed_out or lost.';
comment on column weir.rollup_failure_sum.type is
  'The class of the error; empty where there is none; (others) for the less frequent ones.';
comment on column weir.rollup_failure_sum.attempts is 'How many attempts ended so.';
comment on column weir.rollup_failure_sum.first_at is 'The minute in which the first of them did.';
comment on column weir.rollup_failure_sum.last_at is 'When the last of them did.';
comment on column weir.rollup_failure_sum.last_job_id is 'And whose it was.';

create table weir.rollup_worker (
  at timestamptz not null,
  seconds smallint not null constraint rollup_worker_is_of_a_minute_or_an_hour check (seconds in (60, 3600)),
  worker text not null,
  completed bigint not null,
  failed bigint not null,
  timed_out bigint not null,
  lost bigint not null,
  snoozed bigint not null,
  released bigint not null,
  busy_seconds float8 not null,
  run_seconds float8 not null,
  run_longest float8 not null,
  runs int[] not null,
  constraint rollup_worker_pkey primary key (seconds, at, worker)
);
create index rollup_worker_of_one on weir.rollup_worker (worker, seconds, at);
comment on table weir.rollup_worker is
  'What workers did: the attempts that ended in a minute or an hour, by worker. Minutes are kept for three days, hours '
  'beside them for 400. Of each minute the thousand busiest, and (others) for the rest.';
comment on column weir.rollup_worker.at is 'Its beginning.';
comment on column weir.rollup_worker.seconds is 'Its length: 60 or 3600. A moment is in a row of each.';
comment on column weir.rollup_worker.worker is 'The name that its claims gave.';
comment on column weir.rollup_worker.completed is 'Jobs completed.';
comment on column weir.rollup_worker.failed is 'Attempts that failed.';
comment on column weir.rollup_worker.timed_out is 'Attempts that ran past their timeout.';
comment on column weir.rollup_worker.lost is 'Attempts that lost their lease.';
comment on column weir.rollup_worker.snoozed is 'Attempts that put their job off.';
comment on column weir.rollup_worker.released is 'Attempts that gave their job back.';
comment on column weir.rollup_worker.busy_seconds is 'How long all these attempts ran, added up.';
comment on column weir.rollup_worker.run_seconds is 'How long the attempts ran that completed a job, added up.';
comment on column weir.rollup_worker.run_longest is 'The longest of these runs, in seconds.';
comment on column weir.rollup_worker.runs is 'How many of these runs there were in each bucket; see weir.time_bucket.';

create table weir.rollup_name (
  what text not null constraint rollup_name_is_of_a_kind_or_a_tenant check (what in ('kind', 'tenant')),
  name text not null,
  seen_at timestamptz not null,
  constraint rollup_name_pkey primary key (what, name)
);
comment on table weir.rollup_name is
  'The kinds and tenants that roll-ups know by name: the first 1000 kinds and 10000 tenants. A name that was not seen '
  'for a week gives its place away.';
comment on column weir.rollup_name.what is 'kind or tenant.';
comment on column weir.rollup_name.name is 'The kind or the tenant.';
comment on column weir.rollup_name.seen_at is 'When it was last rolled up, to a day.';

create table weir.rollup_cursor (
  one boolean not null default true constraint rollup_cursor_pkey primary key constraint there_is_one_cursor check (one),
  until timestamptz not null,
  seq bigint not null,
  stride int not null default 1
);
comment on table weir.rollup_cursor is 'One row: how far roll-ups have come.';
comment on column weir.rollup_cursor.one is 'True.';
comment on column weir.rollup_cursor.until is 'All minutes before this one are rolled up.';
comment on column weir.rollup_cursor.seq is 'All jobs up to this id are counted.';
comment on column weir.rollup_cursor.stride is 'How many minutes to roll up at once when behind.';
insert into weir.rollup_cursor (until, seq) values (date_bin('1 minute', now(), 'epoch'), 0);

create table weir.rollup_unsettled (
  at timestamptz not null constraint rollup_unsettled_pkey primary key
);
comment on table weir.rollup_unsettled is
  'Minutes that were rolled up while a transaction was open that may add to them.';
comment on column weir.rollup_unsettled.at is 'The beginning of the minute.';

create table weir.rollup_unsettled_ids (
  low bigint not null constraint rollup_unsettled_ids_pkey primary key,
  high bigint not null,
  counted jsonb not null
);
comment on table weir.rollup_unsettled_ids is
  'Ranges of ids that were counted while a transaction was open that may add to them.';
comment on column weir.rollup_unsettled_ids.low is 'The range begins above this id,';
comment on column weir.rollup_unsettled_ids.high is 'and ends with this one.';
comment on column weir.rollup_unsettled_ids.counted is 'What was counted: [{at, queue_id, kind, tenant, enqueued}].';

create function weir.ended_at(detail jsonb) returns timestamptz language sql immutable
  return (detail ->> 'finished_at')::timestamptz;  -- with its offset, so that no setting matters
comment on function weir.ended_at(jsonb) is
  'Internal. When a job had ended that was run again: of the detail of that event.';
create index job_event_ran_again on weir.job_event (weir.ended_at(detail)) where kind in ('retried', 'redriven');

-- Presets: filters of jobs that people save under a name. Those that come with weir are in the view weir.presets.

create table weir.preset (
  id bigint generated always as identity constraint preset_pkey primary key,
  name text not null constraint preset_name_is_short_and_plain check (weir.is_queue_name(name)),
  tenant text,
  title text not null constraint preset_title_is_short check (length(title) between 1 and 200),
  description text constraint preset_description_is_short check (length(description) between 1 and 1000),
  filter jsonb not null,
  queues text[] not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);
create unique index preset_name on weir.preset (coalesce(tenant, ''), name);
comment on table weir.preset is 'One row a filter of jobs that someone saved under a name.';
comment on column weir.preset.id is 'Its number.';
comment on column weir.preset.name is 'Its name, which only one preset of its tenant, or of no tenant, has.';
comment on column weir.preset.tenant is 'Whose it is; null: of no tenant.';
comment on column weir.preset.title is 'A short title for people.';
comment on column weir.preset.description is 'What it is for; null: nothing was said.';
comment on column weir.preset.filter is
  'The filter, as weir.count_jobs takes it; its times may be relative: see weir.preset_filter.';
comment on column weir.preset.queues is 'The queues that the filter names; empty: all.';
comment on column weir.preset.created_at is 'When it was saved first.';
comment on column weir.preset.updated_at is 'When it was saved last.';

-- Webhooks: HTTPS receivers of events, and their settings.
--
-- Nothing is written for webhooks when jobs change. Each webhook has a cursor: all events before it have deliveries.
-- Creating deliveries and moving the cursor are one transaction, so a node that dies loses none. Events that may
-- still become visible behind the cursor (weir.settled) are scanned again, and recognised by the id of the event,
-- which consists of job, event, attempt and time. The cursor of a slow receiver waits: about 10,000 deliveries may be
-- pending.

create table weir.webhook (
  id bigint generated always as identity constraint webhook_pkey primary key,
  name text not null constraint webhook_name_is_short_and_plain check (weir.is_queue_name(name)),
  tenant text,
  url text not null constraint webhook_is_told_over_https check (url ~ '^https://'),
  events text[] not null,
  queues text[] not null default '{}',
  kinds text[] not null default '{}',
  timeout_seconds int not null default 10 constraint webhook_timeout_is_1_to_30_seconds check (timeout_seconds between 1 and 30),
  disable_after_seconds int not null default 259200 constraint webhook_is_disabled_after_1_minute_to_30_days check (disable_after_seconds between 60 and 2592000),
  error_text boolean not null default false,
  old_secret_until timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  disabled_reason text,
  failing_since timestamptz,
  cursor_at timestamptz not null default clock_timestamp(),
  cursor_seq bigint not null,
  scanned_at timestamptz not null default clock_timestamp()
);
create unique index webhook_name on weir.webhook (coalesce(tenant, ''), name);
comment on table weir.webhook is
  'One row a webhook: its receiver, its events, and how far they have been turned into deliveries.';
comment on column weir.webhook.id is 'Its id in weir.webhook_delivery.';
comment on column weir.webhook.name is 'Its name, which only one webhook of its tenant, or of no tenant, has.';
comment on column weir.webhook.tenant is 'Only jobs of this tenant, which owns it; null: of all.';
comment on column weir.webhook.url is 'Where to post events, over HTTPS.';
comment on column weir.webhook.events is
  'Events that it receives: enqueued, completed, cancelled, dead, or a weir.event_kind.';
comment on column weir.webhook.queues is 'Only jobs of these queues; empty: of all.';
comment on column weir.webhook.kinds is 'Only jobs of these kinds; empty: of all.';
comment on column weir.webhook.timeout_seconds is 'How long the receiver may take to answer.';
comment on column weir.webhook.disable_after_seconds is 'It is disabled when every attempt has failed for this time.';
comment on column weir.webhook.error_text is
  'It gets the beginning of an error''s message, not only its type.';
comment on column weir.webhook.old_secret_until is
  'Until when the old secret (weir_auth.webhook_secret) signs too.';
comment on column weir.webhook.created_at is 'When it was made.';
comment on column weir.webhook.disabled_at is 'Since when it has been disabled; null: it is enabled.';
comment on column weir.webhook.disabled_reason is 'Why it is disabled.';
comment on column weir.webhook.failing_since is
  'When the first attempt after the last successful one failed; null: the last attempt succeeded.';
comment on column weir.webhook.cursor_at is 'All events before then have deliveries,';
comment on column weir.webhook.cursor_seq is 'and so have all jobs enqueued up to this id.';
comment on column weir.webhook.scanned_at is 'When it was last scanned for events.';

create table weir.webhook_delivery (
  id bigint generated always as identity constraint webhook_delivery_pkey primary key,
  webhook_id bigint not null,
  event_id text not null,
  event text not null,
  job_id bigint,
  body jsonb not null,
  state text not null default 'pending' constraint webhook_delivery_state_is_known check (state in ('pending',
    'delivered', 'failed')),
  attempts int not null default 0,
  status int,
  error text,
  duration_seconds float8,
  created_at timestamptz not null default clock_timestamp(),
  next_at timestamptz not null default clock_timestamp(),
  takes int not null default 0,
  tried_at timestamptz,
  constraint webhook_delivery_is_of_one_event unique (webhook_id, event_id)
);
create index webhook_delivery_due on weir.webhook_delivery (next_at, id) where state = 'pending';
create index webhook_delivery_pending on weir.webhook_delivery (webhook_id) where state = 'pending';
create index webhook_delivery_newest on weir.webhook_delivery (webhook_id, id);
create index webhook_delivery_created_at on weir.webhook_delivery (created_at);
comment on table weir.webhook_delivery is
  'Events that a webhook is sent, or was sent in the last week, and the result.';
comment on column weir.webhook_delivery.id is 'Rises in the order in which deliveries are created.';
comment on column weir.webhook_delivery.webhook_id is 'weir.webhook.id';
comment on column weir.webhook_delivery.event_id is
  'Id of the event; the same in each attempt and for each webhook that receives it.';
comment on column weir.webhook_delivery.event is 'What happened.';
comment on column weir.webhook_delivery.job_id is 'The job; null: it is a test.';
comment on column weir.webhook_delivery.body is 'The body of the request.';
comment on column weir.webhook_delivery.state is
  'pending, delivered (the receiver answered with a status of 200 to 299), or failed (it did not, and there are no '
  'more attempts).';
comment on column weir.webhook_delivery.attempts is 'Attempts made.';
comment on column weir.webhook_delivery.status is 'Status of the last answer; null: there was none.';
comment on column weir.webhook_delivery.error is 'Why the last attempt failed.';
comment on column weir.webhook_delivery.duration_seconds is 'How long the last attempt took.';
comment on column weir.webhook_delivery.created_at is 'When the delivery was created.';
comment on column weir.webhook_delivery.next_at is 'While it is pending: when it is next given to River.';
comment on column weir.webhook_delivery.takes is 'How often it was given to River. Only the last time counts.';
comment on column weir.webhook_delivery.tried_at is 'When the last attempt ended.';

-- Alerts: rules over the numbers and the state, and what each rule has found.
--
--   condition holds ─▶ alert_pending ─▶ alert (open ─▶ acknowledged) ─▶ resolved
--                       for_seconds                      clear_seconds
--
-- A node evaluates each rule every 15 seconds, in a transaction of its own that locks the rule. It makes and ends the
-- alerts of the rule and, in the same transaction, the deliveries that tell of them: weir.alert_delivery is an outbox.
-- Locks: the rule, then its alerts, then deliveries.

create table weir.alert_rule (
  id int generated always as identity constraint alert_rule_pkey primary key,
  name text not null constraint alert_rule_name_is_short_and_plain check (weir.is_queue_name(name)),
  tenant text,
  condition text not null,
  threshold float8 not null,
  resolve_threshold float8 constraint resolve_threshold_is_not_above_threshold check (resolve_threshold <= threshold),
  window_seconds int,
  min_calls int,
  queue text,
  kind text,
  for_seconds int not null default 0,
  clear_seconds int not null default 0,
  cooldown_seconds int not null default 0,
  severity text not null default 'warning'
    constraint alert_severity_is_known check (severity in ('info', 'warning', 'critical')),
  quiet jsonb,
  notify text[] not null default '{}',
  description text,
  enabled boolean not null default true,
  muted_until timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  evaluated_at timestamptz,
  unlisted int not null default 0,
  problem text
);
create unique index alert_rule_name on weir.alert_rule (coalesce(tenant, ''), name);
comment on table weir.alert_rule is
  'One row a rule: what is watched, from when on it is an alert, and who is told. The view weir.alert_rules is for '
  'reading.';
comment on column weir.alert_rule.id is 'Its id in weir.alert.';
comment on column weir.alert_rule.name is 'Its name, which only one rule of its tenant, or of no tenant, has.';
comment on column weir.alert_rule.tenant is 'The tenant that it belongs to, and whose things alone it watches; null: all.';
comment on column weir.alert_rule.condition is 'What is measured; weir.alert_conditions lists all.';
comment on column weir.alert_rule.threshold is 'The condition holds while the value is above this.';
comment on column weir.alert_rule.resolve_threshold is
  'An alert resolves once the value is not above this; null: the threshold.';
comment on column weir.alert_rule.window_seconds is 'Of which time before now things are counted; null: it counts none.';
comment on column weir.alert_rule.min_calls is 'With failure_ratio: fewer attempts in the window are no ratio.';
comment on column weir.alert_rule.queue is 'Only queues of this name, in which * stands for any characters; null: all.';
comment on column weir.alert_rule.kind is 'Only jobs of this kind; null: all.';
comment on column weir.alert_rule.for_seconds is 'How long the condition must hold before an alert opens.';
comment on column weir.alert_rule.clear_seconds is 'How long it must not hold before the alert resolves.';
comment on column weir.alert_rule.cooldown_seconds is
  'The shortest time from the opening of one alert to that of the next of the same subject.';
comment on column weir.alert_rule.severity is 'info, warning or critical.';
comment on column weir.alert_rule.quiet is
  'Quiet hours, in which nothing is sent: {timezone, days, from, to}; null: none.';
comment on column weir.alert_rule.notify is 'Names of the targets that are told; empty: none.';
comment on column weir.alert_rule.description is 'Words for those who are told: what it means, what to do.';
comment on column weir.alert_rule.enabled is 'It is evaluated.';
comment on column weir.alert_rule.muted_until is 'Nothing is sent until then; null or past: it is not muted.';
comment on column weir.alert_rule.created_at is 'When it was made.';
comment on column weir.alert_rule.updated_at is 'When its settings last changed.';
comment on column weir.alert_rule.evaluated_at is 'When it was last evaluated, at most a minute late; null: never.';
comment on column weir.alert_rule.unlisted is
  'Subjects for which the condition held too, but which have no alert because the rule had too many.';
comment on column weir.alert_rule.problem is 'Why its last evaluation failed; null: it did not.';

create type weir.alert_value as (subject text, value float8);
comment on type weir.alert_value is 'What a condition measured of one subject.';

create table weir.alert_pending (
  rule_id int not null,
  subject text not null,
  since timestamptz not null,
  constraint alert_pending_pkey primary key (rule_id, subject)
);
comment on table weir.alert_pending is
  'For whom the condition of a rule holds that have no alert: not for long enough yet, or in the cooldown.';
comment on column weir.alert_pending.rule_id is 'weir.alert_rule.id';
comment on column weir.alert_pending.subject is 'As of weir.alert.subject.';
comment on column weir.alert_pending.since is 'The evaluation since which it has held without a break.';

create table weir.alert (
  id bigint generated always as identity constraint alert_pkey primary key,
  rule_id int not null,
  rule text not null,
  tenant text,
  queues text[] not null,
  condition text not null,
  severity text not null,
  subject_kind text not null,
  subject text not null,
  state text not null default 'open'
    constraint alert_state_is_known check (state in ('open', 'acknowledged', 'resolved')),
  summary text not null,
  value float8 not null,
  highest float8 not null,
  threshold float8 not null,
  facts jsonb not null default '{}',
  since timestamptz not null,
  opened_at timestamptz not null,
  clear_since timestamptz,
  acknowledged_at timestamptz,
  acknowledged_by text,
  note text,
  resolved_at timestamptz,
  resolved_because text,
  constraint alert_is_resolved_or_not check ((resolved_at is not null) = (state = 'resolved'))
);
create unique index alert_of_subject on weir.alert (rule_id, subject) where state <> 'resolved';
create index alert_history on weir.alert (rule_id, subject, opened_at);
create index alert_active on weir.alert (id) where state <> 'resolved';
create index alert_opened_at on weir.alert (opened_at);
create index alert_resolved_at on weir.alert (resolved_at) where state = 'resolved';
comment on table weir.alert is
  'One row an alert: a rule and a subject for which its condition held. Resolved ones are kept for 90 days, and at most '
  '100,000 of them. The view weir.alerts is for reading.';
comment on column weir.alert.id is 'Names it; grows with time.';
comment on column weir.alert.rule_id is 'weir.alert_rule.id';
comment on column weir.alert.rule is 'The name of the rule when it opened.';
comment on column weir.alert.tenant is 'The tenant of the rule; null: none.';
comment on column weir.alert.queues is 'The queue of the rule, as its pattern; empty: it was for all.';
comment on column weir.alert.condition is 'What was measured.';
comment on column weir.alert.severity is 'The severity of the rule when it opened.';
comment on column weir.alert.subject_kind is
  'What the subject is: queue, worker, schedule, breaker, workflow, node, transaction or database.';
comment on column weir.alert.subject is 'The name of the subject; of a tenant''s, `tenant/name`.';
comment on column weir.alert.state is 'open, acknowledged (someone has seen it), resolved (it is over).';
comment on column weir.alert.summary is 'What is wrong, in words.';
comment on column weir.alert.value is 'The last value that was not clear.';
comment on column weir.alert.highest is 'The highest value so far.';
comment on column weir.alert.threshold is 'The threshold of the rule when it opened.';
comment on column weir.alert.facts is 'More about the subject when it opened.';
comment on column weir.alert.since is 'Since when the condition held.';
comment on column weir.alert.opened_at is 'When it opened.';
comment on column weir.alert.clear_since is 'Since when the value has been clear; null: it is not.';
comment on column weir.alert.acknowledged_at is 'When it was acknowledged.';
comment on column weir.alert.acknowledged_by is 'By whom: the name of a key or a login.';
comment on column weir.alert.note is 'What that said, at most 2,000 characters.';
comment on column weir.alert.resolved_at is 'When it resolved.';
comment on column weir.alert.resolved_because is 'Why: cleared, rule_disabled or rule_deleted.';

-- Targets: who is told. Their secrets are in weir_auth.alert_secret.
create table weir.alert_target (
  id int generated always as identity constraint alert_target_pkey primary key,
  name text not null constraint alert_target_name_is_short_and_plain check (weir.is_queue_name(name)),
  tenant text,
  kind text not null
    constraint alert_target_kind_is_known check (kind in ('webhook', 'email', 'slack', 'pagerduty')),
  settings jsonb not null,
  events text[] not null,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp()
);
create unique index alert_target_name on weir.alert_target (coalesce(tenant, ''), name);
comment on table weir.alert_target is 'One row a target of alerts: where messages go, without the secrets.';
comment on column weir.alert_target.id is 'Its id in weir.alert_delivery.';
comment on column weir.alert_target.name is 'Its name, which only one target of its tenant, or of no tenant, has.';
comment on column weir.alert_target.tenant is 'The tenant whose rules may name it; null: rules of no tenant.';
comment on column weir.alert_target.kind is 'webhook, email, slack or pagerduty.';
comment on column weir.alert_target.settings is
  'What may be shown of it: the host of its URL; of e-mail host, port, tls, username, from and to; timeout_seconds.';
comment on column weir.alert_target.events is 'Of what it is told: opened, acknowledged, resolved.';
comment on column weir.alert_target.created_at is 'When it was made.';
comment on column weir.alert_target.updated_at is 'When its settings or its secrets last changed.';

create table weir.alert_delivery (
  id bigint generated always as identity constraint alert_delivery_pkey primary key,
  alert_id bigint,
  target_id int not null,
  target text not null,
  event text not null
    constraint alert_event_is_known check (event in ('opened', 'acknowledged', 'resolved', 'test')),
  body jsonb not null,
  state text not null default 'pending' constraint alert_delivery_state_is_known check (state in ('pending',
    'delivered', 'failed', 'dropped')),
  attempts int not null default 0,
  error text,
  created_at timestamptz not null default clock_timestamp(),
  next_at timestamptz not null default clock_timestamp(),
  takes int not null default 0,
  tried_at timestamptz,
  constraint alert_delivery_is_of_one_event unique (alert_id, target_id, event)
);
create index alert_delivery_due on weir.alert_delivery (next_at, id) where state = 'pending';
create index alert_delivery_of_target on weir.alert_delivery (target_id, id);
create index alert_delivery_created_at on weir.alert_delivery (created_at);
comment on table weir.alert_delivery is
  'What targets are sent, or were sent: an outbox, written in the transaction that changes the alert. Goes with its '
  'alert; tests are kept for a week.';
comment on column weir.alert_delivery.id is 'Rises in the order in which deliveries are created.';
comment on column weir.alert_delivery.alert_id is 'weir.alert.id; null: it is a test.';
comment on column weir.alert_delivery.target_id is 'weir.alert_target.id';
comment on column weir.alert_delivery.target is 'The name of the target when it was created.';
comment on column weir.alert_delivery.event is 'What it tells: opened, acknowledged or resolved; test: nothing.';
comment on column weir.alert_delivery.body is 'The alert as it was then.';
comment on column weir.alert_delivery.state is
  'pending, delivered, failed (there are no more attempts), or dropped (there was nothing left to tell).';
comment on column weir.alert_delivery.attempts is 'Attempts made.';
comment on column weir.alert_delivery.error is 'Why the last attempt failed.';
comment on column weir.alert_delivery.created_at is 'When the delivery was created.';
comment on column weir.alert_delivery.next_at is
  'While it is pending: when it is next given to River. In quiet hours and while the rule is muted: their end.';
comment on column weir.alert_delivery.takes is 'How often it was given to River. Only the last time counts.';
comment on column weir.alert_delivery.tried_at is 'When the last attempt ended.';

-- The rules of a new database. They may be changed and deleted; a deleted one does not come back.
insert into weir.alert_rule (name, condition, threshold, window_seconds, min_calls, for_seconds, clear_seconds,
  cooldown_seconds, severity, description)
values
  ('no-active-worker', 'no_worker', 0, null, null, 60, 0, 120, 'critical',
    'Jobs wait in a queue and no worker takes them. Start a worker, or look why none claims.'),
  ('queue-depth', 'queue_depth', 1000, null, null, 0, 60, 600, 'warning',
    'More than 1,000 jobs wait in a queue. Add workers, or look what is slow.'),
  ('failure-ratio', 'failure_ratio', 0.5, 3600, 10, 0, 60, 900, 'critical',
    'More than half of the attempts of the last hour failed.'),
  ('worker-silent', 'worker_silent', 300, null, null, 0, 0, 300, 'warning',
    'A worker that registered has not been seen for 300 seconds. Remove it if it is not to come back.'),
  ('slow-heartbeats', 'slow_heartbeats', 30, null, null, 0, 120, 1200, 'warning',
    'A worker lets more than 30 seconds pass between its claims and heartbeats. Its leases may run out.');

-- Workflows: jobs that wait for other jobs. Each step of a workflow is a job from the start. Steps without
-- dependencies are available, the others are held (job_held, reason dependency) until their condition holds.
--
--   submit_workflow ─▶ job_ready ─▶ job_lease ─▶ job_outcome ──▶ weir.on_steps_ended: which steps can run now? has the workflow ended?
--                  └─▶ job_held ──▲ ◀──────────────────────────────┘
--
-- Locks, in this order: leases (job_lease), dead letters, outcomes, each in the order of the job ids; then the rows
-- of the workflow and its ancestors (the workflows around it), in the order of their ids; then the places where steps
-- wait (job_held, job_scheduled, job_ready). The holder of a workflow takes leases, letters and outcomes only with
-- SKIP LOCKED: a session that has locked one of those waits for the workflow, and then settles that step itself. Only
-- the holder of the workflow takes a step out of job_held. So all changes of the steps of one workflow happen one
-- after another and exactly once, and nothing deadlocks. When a step completes in the middle of a workflow, the row
-- is only locked, not written: no row is updated by every job.

create table weir.workflow (
  id bigint not null,
  created_at timestamptz not null default clock_timestamp(),
  state text not null default 'running'
    constraint workflow_state_is_known
    check (state in ('running', 'stopping', 'compensating', 'completed', 'failed', 'cancelled')),
  on_failure text not null default 'fail_fast'
    constraint workflow_on_failure_is_known check (on_failure in ('fail_fast', 'continue', 'compensate')),
  name text not null,
  steps int not null,
  last_id bigint not null,
  waits_for int not null,
  counts_all boolean not null default false,
  compensable boolean not null default false,
  compensates boolean not null default false,
  stop_as text,
  stopped_at timestamptz,
  deadline_seconds float8,
  deadline_at timestamptz,
  finished_at timestamptz,
  completed int,
  dead int,
  cancelled int,
  failure jsonb,
  metadata jsonb,
  parent_job_id bigint,
  ancestors bigint[],
  forked_from bigint,
  tenant text,
  principal int,
  constraint workflow_pkey primary key (id),
  constraint workflow_is_over_or_not check ((finished_at is not null) = (state in ('completed', 'failed', 'cancelled')))
) partition by range (id);
create index workflow_under_way on weir.workflow (id) where finished_at is null;
create index workflow_stopping on weir.workflow (stopped_at) where state in ('stopping', 'compensating');
create index workflow_deadline_at on weir.workflow (deadline_at) where deadline_at is not null and finished_at is null;
create index workflow_finished_at on weir.workflow (finished_at) where finished_at is not null;
create index workflow_missed_deadline on weir.workflow (stopped_at) where failure ->> 'type' = 'deadline';
create index workflow_parent on weir.workflow (parent_job_id) where parent_job_id is not null;
create index workflow_forked_from on weir.workflow (forked_from) where forked_from is not null;
comment on table weir.workflow is
  'One row a workflow, in partitions by id; weir.workflows is for reading. All changes of its steps take turns by '
  'its lock.';
comment on column weir.workflow.id is 'Names it; drawn from job_id_seq before the ids of its steps.';
comment on column weir.workflow.created_at is 'When it was submitted.';
comment on column weir.workflow.state is
  'running; stopping: waiting steps are cancelled and workers are told to stop; compensating; then completed, failed '
  'or cancelled.';
comment on column weir.workflow.on_failure is
  'What happens when a step dies: fail_fast, continue or compensate. A step may have its own.';
comment on column weir.workflow.tenant is
  'The tenant of all its steps, those that are added later too; null: they may have several, or none.';
comment on column weir.workflow.principal is
  'Who submitted it, weir.principal.id; null: the owner of the schema, or a node without authentication.';
comment on column weir.workflow.name is 'What people call it, 1 to 200 characters.';
comment on column weir.workflow.steps is 'How many steps it has, compensations not counted.';
comment on column weir.workflow.last_id is 'No step has a higher id.';
comment on column weir.workflow.waits_for is
  'How many of its last steps (workflow_step.is_last) have not ended; with counts_all, how many steps. At 0 it ends.';
comment on column weir.workflow.counts_all is 'Some step did not complete, so waits_for counts all steps.';
comment on column weir.workflow.compensable is 'Some step has a compensation.';
comment on column weir.workflow.compensates is
  'When all steps have ended, the compensations of the completed ones run.';
comment on column weir.workflow.stop_as is
  'Its state when all steps have ended: failed or cancelled; null: it follows from the steps.';
comment on column weir.workflow.stopped_at is 'When it was cancelled, or failed and had to stop.';
comment on column weir.workflow.deadline_seconds is 'How long it may take in all.';
comment on column weir.workflow.deadline_at is 'It fails if it has not ended by then, by the database''s clock.';
comment on column weir.workflow.finished_at is 'When it ended.';
comment on column weir.workflow.completed is 'After its end: how many steps completed.';
comment on column weir.workflow.dead is 'After its end: how many steps died.';
comment on column weir.workflow.cancelled is 'After its end: how many steps were cancelled or skipped.';
comment on column weir.workflow.failure is 'Why it had to stop: {type: step, deadline or cancelled; step; message}.';
comment on column weir.workflow.metadata is 'Anything its submitter wants to keep with it, never read by weir.';
comment on column weir.workflow.parent_job_id is
  'The step of another workflow, or the job, that started it and waits for it.';
comment on column weir.workflow.ancestors is 'The workflows that it is nested in, the outermost first; null: none.';
comment on column weir.workflow.forked_from is 'The workflow that it was forked from.';

create table weir.workflow_step (
  job_id bigint not null,
  workflow_id bigint not null,
  number int not null,
  dependencies int not null,
  is_last boolean not null,
  plain boolean not null,
  needs text not null constraint needs_is_known check (needs in ('completed', 'ended', 'any')),
  name text not null,
  depends_on bigint[] not null default '{}',
  children bigint[] not null default '{}',
  on_failure text constraint step_on_failure_is_known check (on_failure in ('fail_fast', 'continue', 'compensate')),
  compensated_by bigint,
  compensates bigint,
  delay_seconds float8,
  run_at timestamptz,
  wait_for jsonb,
  workflow jsonb,
  added_by bigint,
  copied_from bigint,
  constraint workflow_step_pkey primary key (job_id)
) partition by range (job_id);
create index workflow_step_of_workflow on weir.workflow_step (workflow_id, name);
comment on table weir.workflow_step is
  'One row a step, in partitions by job id; weir.workflow_steps is for reading. Written once, except that children '
  'and is_last change when steps are added below it. A step''s id is above those of the steps it depends on.';
comment on column weir.workflow_step.job_id is 'weir.job.id';
comment on column weir.workflow_step.workflow_id is 'weir.workflow.id';
comment on column weir.workflow_step.number is 'Its place in the definition, from 0; steps that were added come after.';
comment on column weir.workflow_step.dependencies is
  'How many steps it depends on. With more than one it has a row in workflow_join while it waits for them.';
comment on column weir.workflow_step.is_last is
  'No other step waits for its end: none depends on it, or only steps that need any of several.';
comment on column weir.workflow_step.plain is
  'A worker may have it as soon as its condition holds: it waits for no time, signal or workflow. Else it is '
  'deferred.';
comment on column weir.workflow_step.needs is
  'completed: it runs when all it depends on completed. ended: when all ended in any way. any: when one of them '
  'completed.';
comment on column weir.workflow_step.name is 'Its name, unique in the workflow.';
comment on column weir.workflow_step.depends_on is
  'The ids of the steps it depends on, in the order of the definition.';
comment on column weir.workflow_step.children is 'The ids of the steps that depend on it.';
comment on column weir.workflow_step.on_failure is 'What happens when it dies; null: the on_failure of the workflow.';
comment on column weir.workflow_step.compensated_by is 'The step that undoes it.';
comment on column weir.workflow_step.compensates is
  'It is a compensation and undoes this step. It runs only when the workflow compensates.';
comment on column weir.workflow_step.delay_seconds is
  'It is scheduled for this many seconds after its condition holds.';
comment on column weir.workflow_step.run_at is 'It is scheduled for this time, once its condition holds.';
comment on column weir.workflow_step.wait_for is
  'It needs no worker, and ends with a signal or at a time: {signal, timeout_seconds, on_timeout} or {seconds} or '
  '{until}.';
comment on column weir.workflow_step.workflow is
  'It needs no worker. It submits this child workflow and ends when that ends.';
comment on column weir.workflow_step.added_by is 'The step that added it while it ran.';
comment on column weir.workflow_step.copied_from is 'In a fork: the job of the same step whose result it has.';

create type weir.step_graph as (
  names text[], parents int[], children int[], places int[], old_parents bigint[], compensations int[],
  compensated int[], ranks int[], special boolean
);
comment on type weir.step_graph is
  'Internal. Steps that are submitted or added, by their number from 1. names: of each step. Dependency i: step '
  'children[i] depends on parents[i], or if that is null on the old step old_parents[i]; places: its index in '
  'depends_on. Step compensations[i] undoes compensated[i]. ranks: the place of each step in the order of '
  'dependencies. special: a step is deferred or has a compensation.';

create table weir.workflow_join (
  job_id bigint not null constraint workflow_join_pkey primary key,
  waits_for int not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
comment on table weir.workflow_join is
  'One row a held step with several dependencies. One with a single dependency needs none: the end of that one '
  'decides.';
comment on column weir.workflow_join.job_id is 'weir.workflow_step.job_id';
comment on column weir.workflow_join.waits_for is
  'How many of its dependencies have not ended yet; the call that brings it to 0 decides. Where one decides earlier '
  '(any, or completed), that call deletes the row.';

create table weir.workflow_wait (
  job_id bigint not null constraint workflow_wait_pkey primary key,
  workflow_id bigint not null,
  signal text,
  until timestamptz
);
create index workflow_wait_for_signal on weir.workflow_wait (workflow_id, signal) where signal is not null;
create index workflow_wait_until on weir.workflow_wait (until) where until is not null;
comment on table weir.workflow_wait is 'Steps whose dependencies are done and that wait for a signal or a time now.';
comment on column weir.workflow_wait.job_id is 'weir.workflow_step.job_id';
comment on column weir.workflow_wait.workflow_id is 'weir.workflow.id';
comment on column weir.workflow_wait.signal is 'The name of the signal; null: it waits only for the time.';
comment on column weir.workflow_wait.until is
  'When the wait is over, by the database''s clock; null: there is no limit.';

create table weir.workflow_event (
  workflow_id bigint not null,
  at timestamptz not null default clock_timestamp(),
  event text not null constraint workflow_event_is_known check (event in
    ('signal', 'steps_added', 'stopping', 'compensating', 'cancel_requested', 'deadline', 'retried', 'forked',
      'step_retried', 'child_started', 'child_ended')),
  name text,
  detail jsonb
) partition by range (workflow_id);
create index workflow_event_of_workflow on weir.workflow_event (workflow_id, event, name);
create index workflow_event_at on weir.workflow_event using brin (at) with (pages_per_range = 16, autosummarize = on);
comment on table weir.workflow_event is
  'The exceptional moments of a workflow, in partitions by its id. Signals are kept here for the steps that wait for '
  'them later.';
comment on column weir.workflow_event.workflow_id is 'weir.workflow.id';
comment on column weir.workflow_event.at is 'When it happened.';
comment on column weir.workflow_event.event is 'What happened.';
comment on column weir.workflow_event.name is 'The name of the signal, or of the step that the event is about.';
comment on column weir.workflow_event.detail is 'The payload of a signal, the state before a retry, or other details.';

-- Limits: how many jobs of a queue, of each key or of one tenant may be in flight, how fast they start, and how tenants
-- share the queue. sql/functions/line.sql and admission.sql say how.

create table weir.limit_override (
  queue_id int not null,
  what text not null constraint override_is_of_a_key_or_a_tenant check (what in ('key', 'tenant')),
  name text not null,
  concurrency int constraint concurrency_is_1_to_a_million check (concurrency between 1 and 1000000),
  per_second float8 constraint rate_is_above_0 check (per_second > 0),
  burst float8 constraint burst_is_1_or_more check (burst >= 1),
  weight float8 constraint weight_is_above_0 check (weight > 0),
  constraint limit_override_pkey primary key (queue_id, what, name)
);
comment on table weir.limit_override is
  'Limits of single keys and tenants, which replace those in weir.queue.limits. weir.limits shows both.';
comment on column weir.limit_override.queue_id is 'weir.queue.id';
comment on column weir.limit_override.what is 'key or tenant.';
comment on column weir.limit_override.name is 'The key or tenant.';
comment on column weir.limit_override.concurrency is
  'How many of its jobs may be in flight; null: as the queue says for each.';
comment on column weir.limit_override.per_second is
  'How many of its jobs are admitted per second in the long run; null: as the queue says for each key.';
comment on column weir.limit_override.burst is 'How many are admitted at once after a pause.';
comment on column weir.limit_override.weight is
  'The tenant''s share, relative to the other tenants with waiting jobs; null: as the queue says.';

-- Quotas of tenants: sql/functions/tenant_quota.sql says how they are kept.

create table weir.tenant_quota (
  tenant text not null constraint tenant_quota_pkey primary key
    constraint tenant_of_a_quota_is_short check (length(tenant) between 1 and 200),
  id int generated always as identity constraint tenant_quota_id_is_unique unique,
  max_waiting int constraint most_waiting_is_0_to_10_million check (max_waiting between 0 and 10000000),
  enqueues_per_second float8 constraint enqueue_rate_is_above_0_and_at_most_a_million
    check (enqueues_per_second > 0 and enqueues_per_second <= 1000000),
  enqueue_burst int constraint enqueue_burst_is_1_to_a_million check (enqueue_burst between 1 and 1000000),
  max_bytes bigint constraint most_bytes_is_0_to_a_quadrillion check (max_bytes between 0 and 1000000000000000),
  created_at timestamptz not null default now()
);
comment on table weir.tenant_quota is 'What a tenant may use. A tenant without a row has no quota.';
comment on column weir.tenant_quota.tenant is 'The tenant: weir.job.tenant.';
comment on column weir.tenant_quota.id is 'The short name that the tables of its use have. A new quota has a new one.';
comment on column weir.tenant_quota.max_waiting is
  'How many of its jobs may wait (available, scheduled, retryable, held); null: any number.';
comment on column weir.tenant_quota.enqueues_per_second is
  'How many jobs it may enqueue a second in the long run; null: any number.';
comment on column weir.tenant_quota.enqueue_burst is
  'How many it may enqueue at once after a pause; null: enqueues_per_second, rounded up.';
comment on column weir.tenant_quota.max_bytes is
  'How many bytes of jobs weir keeps for it, those that have ended too; null: any number.';
comment on column weir.tenant_quota.created_at is 'When it first had this quota.';

create table weir.tenant_usage (
  quota_id int not null constraint tenant_usage_pkey primary key,
  waiting int not null default 0,
  tokens float8 not null default 'infinity',
  filled_at timestamptz not null default '-infinity',
  swept_to bigint not null default 0,
  swept_at timestamptz not null default '-infinity',
  scanned_to bigint,
  scan_after timestamptz,
  scan_until bigint
) with (fillfactor = 50);
comment on table weir.tenant_usage is
  'What each tenant with a quota uses. Who enqueues for the tenant locks the row, and so passes its quota one after the '
  'other. A row whose quota is gone is removed soon.';
comment on column weir.tenant_usage.quota_id is 'weir.tenant_quota.id';
comment on column weir.tenant_usage.waiting is 'How many rows of weir.tenant_job are counted for it.';
comment on column weir.tenant_usage.tokens is 'How many jobs it could enqueue at filled_at, by its rate.';
comment on column weir.tenant_usage.filled_at is 'When the tokens were counted.';
comment on column weir.tenant_usage.swept_to is 'How far the last look at its jobs came (weir.tenant_job.job_id).';
comment on column weir.tenant_usage.swept_at is 'When that was.';
comment on column weir.tenant_usage.scanned_to is
  'How far the search for its jobs from before the quota has come (weir.job.id); null: it is over.';
comment on column weir.tenant_usage.scan_after is
  'That search begins when all transactions that were writing at this time have ended; null: not known yet.';
comment on column weir.tenant_usage.scan_until is 'Where that search ends; null: not known yet.';

create table weir.tenant_job (
  quota_id int not null,
  job_id bigint not null,
  counted boolean not null,
  constraint tenant_job_pkey primary key (quota_id, job_id)
);
comment on table weir.tenant_job is
  'Jobs of tenants with a quota of waiting jobs, from the enqueue until they are found to have ended.';
comment on column weir.tenant_job.quota_id is 'weir.tenant_quota.id';
comment on column weir.tenant_job.job_id is 'weir.job.id';
comment on column weir.tenant_job.counted is
  'It is counted in weir.tenant_usage.waiting. Not, while a worker has it, and until it is found where it was not '
  'enqueued by its tenant.';

create table weir.tenant_bytes (
  quota_id int not null,
  partition int not null,
  bytes bigint not null,
  measured text,
  constraint tenant_bytes_pkey primary key (quota_id, partition)
);
comment on table weir.tenant_bytes is 'The bytes of the jobs of tenants with a quota of bytes.';
comment on column weir.tenant_bytes.quota_id is 'weir.tenant_quota.id';
comment on column weir.tenant_bytes.partition is 'weir.job_partition.number';
comment on column weir.tenant_bytes.bytes is
  'The bytes of its jobs in the partition: as they were enqueued, and once the partition takes no more jobs as they '
  'are stored.';
comment on column weir.tenant_bytes.measured is
  'The state of the partition when it was measured; null: the enqueues have counted.';

create sequence weir.line_tick as bigint;
comment on sequence weir.line_tick is 'Draws the versions of lines, and their turns.';
-- Written only by passes of weir.admit, one session at a time. A change is a new row in place of the old one, read
-- newest first, which costs one index probe however many dead rows lie behind it. A line where no job waits or is in
-- flight has no row.
create table weir.line (
  queue_id int not null,
  name text collate "C" not null,
  tick bigint not null,
  tenant text collate "C" not null,
  in_flight int not null,
  waiting int not null,
  priorities smallint[] not null,
  floors bigint[] not null,
  turn bigint,
  priority smallint,
  tokens float8,
  tokens_at timestamptz,
  rest_until timestamptz,
  constraint line_pkey primary key (queue_id, name, tick)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
create index line_open on weir.line (queue_id, tenant, priority, turn) where turn is not null;
create index line_resting on weir.line (queue_id, rest_until) where rest_until is not null;
comment on table weir.line is
  'One row for each line where jobs wait or are in flight, as the last pass of the admitter left it. weir.lines shows '
  'them as they are now.';
comment on column weir.line.queue_id is 'weir.queue.id';
comment on column weir.line.name is 'weir.line_name of its jobs; job_held.key of those that wait in it.';
comment on column weir.line.tick is 'Drawn from line_tick at each change.';
comment on column weir.line.tenant is 'The tenant whose share it uses; empty: none.';
comment on column weir.line.in_flight is
  'How many of its jobs are in flight: in job_ready under the queue''s admitted_id, in job_lease, or in '
  'line_reservation. Jobs whose end is still in admission_inbox are included.';
comment on column weir.line.waiting is 'About how many jobs wait in it: cancelled jobs are noticed late.';
comment on column weir.line.priorities is
  'The priorities of the jobs that wait in it, the highest first; empty: no job waits.';
comment on column weir.line.floors is
  'For each of these priorities: the waiting jobs have an id (job_held.seq) above this.';
comment on column weir.line.turn is
  'Its place among the open lines of its tenant and priority, drawn from line_tick; null: no job waits, or a limit of '
  'its own keeps it closed.';
comment on column weir.line.priority is 'The first of priorities, while the line is open.';
comment on column weir.line.tokens is 'How many jobs its rate allowed at tokens_at; null: it has no rate.';
comment on column weir.line.tokens_at is 'When tokens was computed.';
comment on column weir.line.rest_until is
  'When its rate allows a job again, or its bucket is full: a pass then checks it. Null: it has no rate, or is open.';

create table weir.tenant_share (
  queue_id int not null,
  tenant text collate "C" not null,
  tick bigint not null,
  open_lines int not null,
  in_flight int not null,
  start float8 not null,
  eligible boolean not null,
  served_turns bigint[] not null,
  constraint tenant_share_pkey primary key (queue_id, tenant, tick)
);
create index tenant_share_start on weir.tenant_share (queue_id, start) where eligible;
comment on table weir.tenant_share is
  'One row for each tenant with lines, where tenants are told apart, as the last pass left it.';
comment on column weir.tenant_share.queue_id is 'weir.queue.id';
comment on column weir.tenant_share.tenant is 'The tenant; empty: jobs without a tenant.';
comment on column weir.tenant_share.tick is 'Drawn from line_tick at each change.';
comment on column weir.tenant_share.open_lines is 'How many of its lines are open.';
comment on column weir.tenant_share.in_flight is 'How many of its jobs are in flight.';
comment on column weir.tenant_share.start is
  'Its place in virtual time, which each of its jobs moves on by 1/weight: start-time fair queueing. The lowest is '
  'served next.';
comment on column weir.tenant_share.eligible is 'It has open lines, and its own concurrency has room.';
comment on column weir.tenant_share.served_turns is 'For priority 1 to 10: its open lines have a turn above this.';

create table weir.admission (
  queue_id int not null,
  tick bigint not null,
  version bigint not null,
  line_by smallint,
  phase text not null constraint phase_is_known check (phase in ('adopting', 'sorting', 'open', 'closing')),
  since timestamptz not null,
  holders text[] not null default '{}',
  inbox_xmax bigint not null,
  inbox_xip bigint[] not null default '{}',
  in_flight int not null default 0,
  lines_waiting int not null default 0,
  virtual_time float8 not null default 0,
  served_turns bigint[] not null,
  tokens float8,
  tokens_at timestamptz,
  ready_after bigint[] not null,
  last_seq bigint not null default 0,
  demanded_at timestamptz not null default '-infinity',
  prefetch int not null,
  rested_until timestamptz not null default '-infinity',
  inbox_read_at timestamptz not null default '-infinity',
  rate_until timestamptz,
  admitted bigint not null default 0,
  constraint admission_pkey primary key (queue_id, tick)
);
comment on table weir.admission is
  'One row for each governed queue: the state of its admitter. Written only by weir.admit; read newest first.';
comment on column weir.admission.queue_id is 'weir.queue.id';
comment on column weir.admission.tick is 'Drawn from line_tick at each change.';
comment on column weir.admission.version is 'The weir.queue.limits_version that it applies.';
comment on column weir.admission.line_by is 'The weir.queue.line_by of its lines.';
comment on column weir.admission.phase is
  'adopting: the queue has just become governed, and running jobs get a line; sorting: waiting jobs move to other '
  'lines; open: it admits; closing: waiting jobs go back to job_ready. See limit_change.sql.';
comment on column weir.admission.since is 'When the phase began.';
comment on column weir.admission.holders is
  'While adopting: the transactions (pid:virtual transaction id) that may still claim as from a queue without limits.';
comment on column weir.admission.inbox_xmax is
  'It has read the inbox rows of all transactions below this id, except those in inbox_xip.';
comment on column weir.admission.inbox_xip is
  'The transactions below inbox_xmax that had not ended when it last read the inbox.';
comment on column weir.admission.in_flight is 'Jobs in flight: admitted, and neither ended nor back in a line.';
comment on column weir.admission.lines_waiting is 'Lines where jobs wait.';
comment on column weir.admission.served_turns is
  'As weir.tenant_share.served_turns, where the limits do not tell tenants apart.';
comment on column weir.admission.virtual_time is 'No eligible tenant''s start is below this.';
comment on column weir.admission.tokens is
  'How many jobs the queue''s rate allowed at tokens_at. Claims take tokens, not admissions; a pass reserves one for '
  'each job that is admitted and unclaimed.';
comment on column weir.admission.tokens_at is 'When tokens was computed.';
comment on column weir.admission.ready_after is
  'For priority 1 to 10: admitted jobs that are unclaimed have a seq above this.';
comment on column weir.admission.last_seq is 'The highest seq of a job that it admitted.';
comment on column weir.admission.demanded_at is
  'When a claim last asked for a pass and got jobs. For a second after that, the loop admits nothing ahead of claims.';
comment on column weir.admission.prefetch is 'How many jobs the loop keeps admitted ahead of claims.';
comment on column weir.admission.rested_until is 'Lines that rested until then have been checked.';
comment on column weir.admission.inbox_read_at is 'When it last read the inbox to its end.';
comment on column weir.admission.rate_until is
  'The queue''s rate allows no job before this; null: the rate holds nothing.';
comment on column weir.admission.admitted is 'Jobs admitted so far.';

create table weir.line_reservation (
  job_id bigint not null constraint line_reservation_pkey primary key,
  queue_id int not null,
  name text collate "C" not null
);
comment on table weir.line_reservation is
  'Jobs that wait for another attempt and keep their line, because it allows one job in flight: no other job of the '
  'line runs until they have ended. They wait in job_scheduled, or in job_ready under the queue''s id.';
comment on column weir.line_reservation.job_id is 'weir.job.id';
comment on column weir.line_reservation.queue_id is 'weir.queue.id';
comment on column weir.line_reservation.name is 'The line.';
-- What other transactions tell the admitter. Enqueues and acks insert a row in their own transaction, so they never
-- wait for the admitter. A pass finds the rows by the id of their transaction, and deletes what it has read.
create table weir.admission_inbox (
  queue_id int not null,
  xid bigint not null default pg_current_xact_id()::text::bigint,
  arrived text[],
  priorities smallint[],
  floors bigint[],
  counts int[],
  departed text[],
  departed_jobs bigint[],
  claimed int,
  claimed_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0, toast_tuple_target = 8160);
-- Rows are read once, and soon, so compressing them would cost more than it saves.
alter table weir.admission_inbox
  alter arrived set storage external, alter priorities set storage external, alter floors set storage external,
  alter counts set storage external, alter departed set storage external, alter departed_jobs set storage external;
create index admission_inbox_xid on weir.admission_inbox (queue_id, xid);
comment on table weir.admission_inbox is
  'Changes that the admitter has not read yet: one row for each statement that put jobs into lines, ended jobs in '
  'flight, or claimed at a rate.';
comment on column weir.admission_inbox.queue_id is 'weir.queue.id';
comment on column weir.admission_inbox.xid is 'The transaction that wrote the row.';
comment on column weir.admission_inbox.arrived is 'Lines that jobs entered.';
comment on column weir.admission_inbox.priorities is
  'The priorities of those jobs: one entry for each line and priority.';
comment on column weir.admission_inbox.floors is 'One less than the lowest id among them.';
comment on column weir.admission_inbox.counts is 'How many jobs entered.';
comment on column weir.admission_inbox.departed is
  'Lines of jobs that are no longer in flight: one entry for each job.';
comment on column weir.admission_inbox.departed_jobs is 'Those jobs.';
comment on column weir.admission_inbox.claimed is 'In a queue with a rate: how many jobs were claimed.';
comment on column weir.admission_inbox.claimed_at is 'When they were claimed.';

create type weir.line_changes as (names text[], priorities smallint[], floors bigint[], counts int[], departed text[],
  departed_counts int[]);
comment on type weir.line_changes is
  'Internal, for the admitter. counts[i] jobs of priorities[i] with ids above floors[i] entered the line names[i] '
  '(null and 0: only check the line); departed_counts[i] jobs of the line departed[i] are no longer in '
  'flight.';

create type weir.line_exit as (queue_id int, job_id bigint, name text, waits boolean);
comment on type weir.line_exit is
  'Internal. A job that is no longer leased or admitted: its queue, its line, and whether it waits for another '
  'attempt.';
create index job_held_line on weir.job_held (queue_id, key, priority, seq) where reason = 'line';

create type weir.event_position as (at timestamptz, id bigint, next_at timestamptz, next_id bigint, key text);
comment on type weir.event_position is 'Internal. A place among the events: see weir.events_after.';

create type weir.facet_count as (facet text, value text, jobs bigint);
comment on type weir.facet_count is 'Internal. How many jobs have a value of a facet; value null: any other value.';

-- Circuit breakers: they watch the failures of the things that jobs depend on, and hold the jobs while a dependency
-- fails. sql/functions/breaker.sql shows the states, breaker_policy.sql and breaker_flow.sql what happens to the jobs.

create table weir.breaker (
  id int generated always as identity constraint breaker_pkey primary key,
  name text not null constraint breaker_name_is_unique unique
    constraint breaker_name_is_short_and_plain check (weir.is_breaker_reference(name)),
  failure_threshold int constraint failure_threshold_is_1_to_1_million check (failure_threshold between 1 and 1000000),
  failure_ratio float8 constraint failure_ratio_is_above_0_to_1 check (failure_ratio > 0 and failure_ratio <= 1),
  min_calls int not null default 10 constraint min_calls_is_1_to_1_million check (min_calls between 1 and 1000000),
  window_seconds int not null default 60
    constraint window_is_1_second_to_1_hour check (window_seconds between 1 and 3600),
  open_seconds float8 not null default 60
    constraint open_is_a_tenth_of_a_second_to_1_day check (open_seconds between 0.1 and 86400),
  max_open_seconds float8 not null default 900
    constraint max_open_is_open_to_1_day check (max_open_seconds between open_seconds and 86400),
  half_open_probes int not null default 1
    constraint half_open_probes_is_1_to_1000 check (half_open_probes between 1 and 1000),
  close_after int not null default 1 constraint close_after_is_1_to_1000 check (close_after between 1 and 1000),
  counts jsonb not null default '{}',
  while_open jsonb not null default '{"policy": "hold"}',
  ramp_per_second float8 not null default 10
    constraint ramp_is_a_tenth_to_100_thousand_a_second check (ramp_per_second between 0.1 and 100000),
  ramp_factor float8 not null default 2 constraint ramp_factor_is_1_to_10 check (ramp_factor between 1 and 10),
  state text not null default 'closed'
    constraint breaker_state_is_known check (state in ('closed', 'open', 'half_open')),
  gated boolean not null default false,
  version bigint not null default 0,
  changed_at timestamptz not null default clock_timestamp(),
  opened_at timestamptz,
  openings int not null default 0,
  next_probe_at timestamptz,
  wants_probes boolean not null default false,
  times_opened bigint not null default 0,
  changes bigint not null default 0,
  declared boolean not null default false,
  pinned text constraint pinned_open_or_closed check (pinned in ('open', 'closed')),
  pinned_until timestamptz,
  release_from timestamptz not null default clock_timestamp(),
  released float8 not null default 0,
  release_after bigint[] not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  deleted_at timestamptz,
  constraint a_threshold_or_a_ratio check ((failure_threshold is null) <> (failure_ratio is null))
);
-- While every breaker is closed, a claim probes this empty index and does no more.
create index breaker_implicit on weir.breaker (id) where not declared;
create index breaker_gated on weir.breaker (id) where gated;
create index breaker_pinned_until on weir.breaker (pinned_until) where pinned_until is not null;
comment on table weir.breaker is
  'One row for each circuit breaker: its settings and its state. The view weir.breakers shows both.';
comment on column weir.breaker.id is 'The short name that leases and samples use.';
comment on column weir.breaker.name is
  'Its reference: the dependency (letters, digits, and _ . : - ; at most 128 characters), after the tenant and a '
  'slash if it is a tenant''s.';
comment on column weir.breaker.failure_threshold is
  'It opens at this many failures in the window; null: failure_ratio decides.';
comment on column weir.breaker.failure_ratio is
  'It opens when this part of the calls in the window failed, if there were min_calls; null: failure_threshold '
  'decides.';
comment on column weir.breaker.min_calls is 'With failure_ratio: it does not open at fewer calls in the window.';
comment on column weir.breaker.window_seconds is
  'The sliding window. Samples are kept for an hour, so it is at most that.';
comment on column weir.breaker.open_seconds is
  'How long it stays open before its first probe. The wait doubles each time that it opens again, less up to a fifth '
  'at random.';
comment on column weir.breaker.max_open_seconds is 'The longest wait before a probe.';
comment on column weir.breaker.declared is 'An operator set it, as of weir.queue.declared.';
comment on column weir.breaker.half_open_probes is 'How many probes it lets through at once while half-open.';
comment on column weir.breaker.close_after is 'It closes when this many probes have succeeded.';
comment on column weir.breaker.counts is
  'Which errors count as failures: {types, pattern, except_types}; see weir.set_breaker.';
comment on column weir.breaker.while_open is
  'What happens to its jobs while it is open: {policy, …}; see weir.set_breaker.';
comment on column weir.breaker.ramp_per_second is 'After it closed, held jobs come back at this rate at first.';
comment on column weir.breaker.ramp_factor is 'The rate is multiplied by this every second.';
comment on column weir.breaker.state is 'closed, open or half_open.';
comment on column weir.breaker.gated is
  'Claims check its jobs: it is not closed, or jobs that it held are still coming back.';
comment on column weir.breaker.version is
  'Drawn from job_id_seq at each change of state. Jobs that are let through carry it (weir.job_ready.let_through), '
  'and have places above it.';
comment on column weir.breaker.changed_at is 'When it entered its state.';
comment on column weir.breaker.opened_at is 'When it last opened after it had been closed.';
comment on column weir.breaker.openings is
  'How many times in a row it has opened; the wait grows with it. The row ends when it stays closed for a window.';
comment on column weir.breaker.next_probe_at is 'While it is open: when it becomes half_open; null while it is pinned.';
comment on column weir.breaker.wants_probes is
  'It is half_open and lacks jobs for probes, so new jobs are held for a moment whatever the policy.';
comment on column weir.breaker.times_opened is 'How many times it has opened.';
comment on column weir.breaker.changes is 'How many times it has changed its state.';
comment on column weir.breaker.pinned is 'The state that it is pinned to: open or closed, whatever the samples say.';
comment on column weir.breaker.pinned_until is 'When the pin ends; null: when it is unpinned.';
comment on column weir.breaker.release_from is 'Since when it releases jobs at a rate.';
comment on column weir.breaker.released is 'How many of the jobs due since then it has released.';
comment on column weir.breaker.release_after is 'For priority 1 to 10: the seq of the last held job that it released.';
comment on column weir.breaker.created_at is 'When the first job or setting named it.';
comment on column weir.breaker.deleted_at is
  'Set by delete_breaker: hidden, settings at their defaults. The next job that names it brings it back.';

create table weir.breaker_sample (
  breaker_id int not null,
  at timestamptz not null default clock_timestamp(),
  ok int not null,
  failed int not null,
  version bigint,
  summed boolean
) with (autovacuum_vacuum_scale_factor = 0.05);
create index breaker_sample_at on weir.breaker_sample (breaker_id, at);
create index breaker_sample_failed on weir.breaker_sample (at) where failed > 0;  -- breakers with something to evaluate
comment on table weir.breaker_sample is
  'Outcomes of calls of a dependency: one row for each breaker and batch. sweep_breakers sums those of a second, and '
  'removes them after an hour.';
comment on column weir.breaker_sample.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_sample.at is 'When it was written; of a sum, the last of its rows.';
comment on column weir.breaker_sample.ok is 'Calls that succeeded.';
comment on column weir.breaker_sample.failed is 'Calls that failed with an error that counts.';
comment on column weir.breaker_sample.version is
  'Of probes and reports: the half-open state (weir.breaker.version) that they belong to.';
comment on column weir.breaker_sample.summed is 'True: the sum of the rows of a second. Null: a single row.';

create table weir.breaker_probe (
  breaker_id int not null,
  job_id bigint not null,
  version bigint not null,
  sent_at timestamptz not null default clock_timestamp(),
  constraint breaker_probe_pkey primary key (job_id, breaker_id)
);
create index breaker_probe_of_breaker on weir.breaker_probe (breaker_id, version);
comment on table weir.breaker_probe is 'Jobs that were let through to test the dependency, until they have ended.';
comment on column weir.breaker_probe.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_probe.job_id is 'weir.job.id';
comment on column weir.breaker_probe.version is 'The half-open state (weir.breaker.version) that it is a probe of.';
comment on column weir.breaker_probe.sent_at is 'When it was let through.';

create table weir.breaker_event (
  id bigint generated always as identity constraint breaker_event_pkey primary key,
  at timestamptz not null default clock_timestamp(),
  breaker_id int not null,
  breaker text not null,
  event text not null constraint breaker_event_is_known check (
    event in ('opened', 'half_opened', 'closed', 'recovered', 'pinned', 'unpinned', 'set', 'deleted')),
  from_state text not null,
  state text not null,
  by text,
  reason text,
  detail jsonb
);
create index breaker_event_of_breaker on weir.breaker_event (breaker, id);
create index breaker_event_at on weir.breaker_event (at);
comment on table weir.breaker_event is
  'The history of the breakers: each change, who made it and why. Kept for 90 days.';
comment on column weir.breaker_event.id is 'Grows with time.';
comment on column weir.breaker_event.at is 'When it happened.';
comment on column weir.breaker_event.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_event.breaker is 'The breaker''s reference: `name` or `tenant/name`.';
comment on column weir.breaker_event.event is
  'opened, half_opened, closed, recovered (all held jobs are back), pinned, unpinned, set (its settings), deleted.';
comment on column weir.breaker_event.from_state is 'Its state before.';
comment on column weir.breaker_event.state is 'Its state since.';
comment on column weir.breaker_event.by is 'Who made it, if given.';
comment on column weir.breaker_event.reason is 'Why, in words.';
comment on column weir.breaker_event.detail is 'More: ok and failed calls of the window, wait_seconds, settings.';

create index job_held_breaker on weir.job_held (key, priority, seq) where reason = 'breaker';
create index job_ready_let_through on weir.job_ready (queue_id, priority, seq) where let_through is not null;

create table weir.breaker_result (
  breaker_id int not null,
  fingerprint uuid not null,
  job_id bigint not null,
  constraint breaker_result_pkey primary key (breaker_id, fingerprint, job_id)
);
comment on table weir.breaker_result is
  'Which jobs completed with a result, for breakers with policy complete_last_result. The newest of a fingerprint '
  'counts, older ones are swept.';
comment on column weir.breaker_result.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_result.fingerprint is 'The MD5 of the job''s tenant, kind and args.';
comment on column weir.breaker_result.job_id is 'weir.job.id; its outcome has the result.';

-- Health: whether the parts of the service work, by their last hundred checks. See sql/functions/health.sql.

create table weir.health_check (
  component text not null,
  node text not null default '',
  at timestamptz not null default clock_timestamp(),
  ok boolean not null,
  seconds float8,
  message text,
  constraint health_check_pkey primary key (component, node, at)
);
comment on table weir.health_check is 'The last hundred checks of each component. The view weir.health sums them up.';
comment on column weir.health_check.component is
  'What was checked: database, listener, loops (of a node); frontier, promotion, leases, partitions, horizon, chores, '
  'breaker:NAME.';
comment on column weir.health_check.node is 'The node that the check is about; empty: the whole service.';
comment on column weir.health_check.at is 'When it was checked.';
comment on column weir.health_check.ok is 'The check passed.';
comment on column weir.health_check.seconds is 'How long the component took to answer, where that is measured.';
comment on column weir.health_check.message is 'What was wrong, if the check failed.';

-- The outlook: what the loops of a node have to do, in one statement five times a second, in place of one of each loop
-- as often. A node with nothing to do, as most are most of the time, then costs the database next to nothing. While the
-- snapshot is the one of the look before, no transaction that wrote anything has ended, in any database, and there is
-- nothing new to see.

create index queue_breaker on weir.queue (breaker_id) where breaker_id is not null;
create index queue_implicit on weir.queue (id) where not declared;
create index queue_governed on weir.queue (id) where governed;
create index queue_resume_at on weir.queue (resume_at) where resume_at is not null;

-- The trigger's body is in sql/functions/breaker_state.sql, which is applied after the tables. The trigger fires at
-- commit, so that the breaker's lock is short and the evaluation sees all that was committed before.
-- +goose StatementBegin
create function weir.evaluate_breaker_sample() returns trigger language plpgsql as $$ begin return null; end $$;
-- +goose StatementEnd
create constraint trigger evaluate_at_commit after insert on weir.breaker_sample deferrable initially deferred
  for each row when (new.summed is null and (new.failed > 0
    or new.version is not null)) execute function weir.evaluate_breaker_sample();

-- Roles that do not own weir: see sql/functions/access.sql.

create schema if not exists weir_auth;
comment on schema weir_auth is 'Who may use weir, its secrets, and whose turn it is. Only its owner reads, writes or locks here.';
create table weir_auth.sql_access (
  role oid not null,
  name name not null,
  access text not null constraint access_is_known check (access in ('producer', 'worker', 'reader', 'operator')),
  queues text[] not null,
  patterns text[] not null,
  tenant text,
  granted_at timestamptz not null default clock_timestamp(),
  constraint sql_access_pkey primary key (role, access)
);
comment on table weir_auth.sql_access is 'What weir.grant_access gave to roles: a row for each role and kind of access.';
comment on column weir_auth.sql_access.role is 'The role (pg_roles.oid) that logs in.';
comment on column weir_auth.sql_access.name is
  'Its name. Both must be those of the session: after a restore in another cluster the oid may be another role''s, and '
  'access must be granted again.';
comment on column weir_auth.sql_access.access is 'producer, worker, reader or operator.';
comment on column weir_auth.sql_access.queues is 'The names of its queues, in which * stands for any characters.';
comment on column weir_auth.sql_access.patterns is 'The same for `like`.';
comment on column weir_auth.sql_access.tenant is 'The only tenant that it acts for; null: all.';
comment on column weir_auth.sql_access.granted_at is 'When it was last granted.';

create table weir_auth.data_key (
  id int generated always as identity constraint data_key_pkey primary key,
  wrapped bytea not null constraint data_key_is_short check (octet_length(wrapped) <= 1000),
  wrapped_by bigint not null,
  created_at timestamptz not null default clock_timestamp()
);
comment on table weir_auth.data_key is
  'The keys that args, results and errors of encrypted queues are encrypted with, each encrypted itself with a key that '
  'only nodes have, in a file. Without its row what it encrypted is lost.';
comment on column weir_auth.data_key.id is 'What it encrypted begins with this id.';
comment on column weir_auth.data_key.wrapped is 'The data key, encrypted.';
comment on column weir_auth.data_key.wrapped_by is 'The id of the key in the file that encrypted it.';
comment on column weir_auth.data_key.created_at is 'When a node made it.';

create table weir_auth.webhook_secret (
  webhook_id bigint not null constraint webhook_secret_pkey primary key,
  secret text not null,
  old_secret text
);
comment on table weir_auth.webhook_secret is 'The keys of the signatures of webhooks. Any role that can read them can sign.';
comment on column weir_auth.webhook_secret.webhook_id is 'weir.webhook.id';
comment on column weir_auth.webhook_secret.secret is
  'whsec_ and 32 random bytes in base64; encrypted if the node that made it has an encryption key.';
comment on column weir_auth.webhook_secret.old_secret is
  'The secret before it was rotated, which signs too until weir.webhook.old_secret_until.';

create table weir_auth.alert_secret (
  target_id int not null,
  field text not null
    constraint alert_secret_field_is_known check (field in ('url', 'password', 'routing_key', 'secret')),
  secret text not null,
  constraint alert_secret_pkey primary key (target_id, field)
);
comment on table weir_auth.alert_secret is 'What is secret of the targets of alerts. Any role that can read them can use them.';
comment on column weir_auth.alert_secret.target_id is 'weir.alert_target.id';
comment on column weir_auth.alert_secret.field is
  'url: where to post. password: of the SMTP server. routing_key: of PagerDuty. secret: the key of signatures.';
comment on column weir_auth.alert_secret.secret is 'It; encrypted if the node that stored it has an encryption key.';

-- A DO block hides it from sqlc, which knows no pg_has_role.
-- +goose StatementBegin
do $do$ begin
  create view weir_auth.reads as
  select a.patterns, a.tenant from weir_auth.sql_access a
  where a.role = to_regrole(quote_ident(session_user))::oid and a.name = session_user and a.access <> 'worker'
  union all select '{%}', null where pg_has_role(session_user, (select c.relowner from pg_class c
    where c.oid = 'weir_auth.sql_access'::regclass), 'member');
  comment on view weir_auth.reads is 'Which queues and tenants the session may read: a row for each access that it has.';
end $do$;
-- +goose StatementEnd
-- Tables whose locks are turns: see sql/functions/turn.sql.
-- +goose StatementBegin
do $do$ begin
  for n in 0..31 loop
    continue when n between 8 and 15;  -- for turns to come
    execute format('create table weir_auth.turn_%s ()', n);
    execute format('alter table weir_auth.turn_%s replica identity full', n);
    execute format('comment on table weir_auth.turn_%s is %L', n, 'Empty. Its lock is a turn: see weir.turn_table.');
  end loop;
end $do$;
-- +goose StatementEnd

create schema if not exists weir_read;
comment on schema weir_read is
  'The views of weir for roles that do not own it: they show what the session''s login has access to.';

create table weir.schema_source (
  name text primary key,
  checksum text not null,
  applied_at timestamptz not null default now()
);
comment on table weir.schema_source is
  'The files of functions and views (sql/functions, sql/views) as this database has them. weir migrate up applies a '
  'file again when its checksum differs.';
comment on column weir.schema_source.name is 'Path of the file, such as functions/claim.sql.';
comment on column weir.schema_source.checksum is 'SHA-256 of its text, in hexadecimal.';
comment on column weir.schema_source.applied_at is 'When it was last applied.';

-- Who may call weir: the keys of REST, the subjects of access tokens, and the logins of SQL. The engine's hot statements
-- never read this table: nodes keep what they need of it in memory.
create table weir.principal (
  id int generated always as identity constraint principal_pkey primary key,
  kind text not null constraint principal_kind_is_known check (kind in ('key', 'cert', 'oidc', 'sql')),
  name text not null constraint principal_name_has_1_to_200_characters check (length(name) between 1 and 200),
  roles text[] not null constraint principal_has_known_roles
    check (cardinality(roles) > 0 and roles <@ '{producer,worker,reader,operator,admin}'),
  queues text[],
  tenant text constraint principal_tenant_has_1_to_200_characters check (length(tenant) between 1 and 200),
  redact boolean not null default false,
  rate_per_second double precision constraint principal_rate_is_positive check (rate_per_second > 0),
  key_id text constraint principal_key_id_is_unique unique,
  key_hash bytea,
  old_key_hash bytea,
  old_key_until timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  created_by text not null,
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  constraint principal_of_kind_key_has_a_key check ((kind = 'key') = (key_hash is not null)),
  constraint principal_of_rest_has_a_key_id check ((kind = 'sql') = (key_id is null))
);
create unique index principal_name_in_force_is_unique on weir.principal (kind, name) where revoked_at is null;
-- A subject that was revoked is not recorded again.
create unique index principal_subject_is_unique on weir.principal (name) where kind = 'oidc';
comment on table weir.principal is
  'Who may call weir: one row for each API key, subject of access tokens, and SQL login. Rows stay when they are revoked, '
  'as jobs and the audit trail name them.';
comment on column weir.principal.id is 'Its id in weir.job, weir.job_lease and the audit trail.';
comment on column weir.principal.kind is
  'key: an API key. cert: the holder of a client certificate. oidc: a subject of access tokens, recorded when it first '
  'calls. sql: a login (weir.grant_access).';
comment on column weir.principal.name is
  'Name of the key or the login; a name in the certificate; of a subject its issuer and sub, with | between them.';
comment on column weir.principal.roles is 'What it may do: producer, worker, reader, operator, admin.';
comment on column weir.principal.queues is 'Patterns of the queues that it may use, with * for any characters; null: all.';
comment on column weir.principal.tenant is 'The tenant that it is bound to; null: none, it sees all tenants.';
comment on column weir.principal.redact is 'It sees jobs without their args, results, metadata and errors'' texts.';
comment on column weir.principal.rate_per_second is 'Most calls a second on each node; null: no limit.';
comment on column weir.principal.key_id is 'The public part of an API key; names the others of REST as well.';
comment on column weir.principal.key_hash is 'SHA-256 of the API key. The key itself is not kept.';
comment on column weir.principal.old_key_hash is 'SHA-256 of the key before it was rotated.';
comment on column weir.principal.old_key_until is 'Until when the old key is accepted too.';
comment on column weir.principal.created_at is 'When it was made.';
comment on column weir.principal.created_by is 'Who made it.';
comment on column weir.principal.expires_at is 'Not accepted from then on; null: it does not expire.';
comment on column weir.principal.revoked_at is 'When it was revoked; null: it is in force.';
comment on column weir.principal.last_used_at is 'When it was last used; at most a minute late.';

create table weir.token_secret (
  id int not null constraint token_secret_pkey primary key constraint token_secret_is_one_row check (id = 1),
  secret bytea not null
);
comment on table weir.token_secret is
  'One row: the secret with which nodes bind the tokens of leases to the principals that claimed them.';
comment on column weir.token_secret.id is 'Always 1.';
comment on column weir.token_secret.secret is '32 random bytes. Who can read them can forge tokens.';
insert into weir.token_secret values (1, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
  || uuid_send(gen_random_uuid())));

-- The audit trail: who changed what, when and from where. A row is written in the transaction of the change, by
-- weir.record_change, and never changed: a trigger refuses that. weir.keep_audit makes the partitions, one a month (UTC),
-- and drops them when the retention is over.
create table weir.audit_entry (
  id bigint generated always as identity,
  at timestamptz not null,
  principal text not null,
  principal_kind text not null
    constraint audit_principal_kind_is_known check (principal_kind in ('key', 'cert', 'oidc', 'sql', 'anonymous')),
  principal_id int,
  key_id text,
  remote text,
  request_id text,
  operation text not null,
  object text not null,
  before jsonb,
  after jsonb,
  constraint audit_entry_pkey primary key (id, at)
) partition by range (at);
create index audit_entry_object on weir.audit_entry (object, id);
create index audit_entry_principal on weir.audit_entry (principal, id);
create index audit_entry_operation on weir.audit_entry (operation, id);
comment on table weir.audit_entry is
  'The audit trail, in partitions by month; weir.audit is for reading. A row for each change by a person or a program '
  'other than the work on jobs itself. Never changed; whole months are dropped by weir.keep_audit.';
comment on column weir.audit_entry.id is 'Grows with time.';
comment on column weir.audit_entry.at is 'When it was changed, by the database''s clock.';
comment on column weir.audit_entry.principal is
  'Who changed it: the name of an API key or of a subject; over SQL, the role that began the session.';
comment on column weir.audit_entry.principal_kind is
  'key: an API key. cert: the holder of a client certificate. oidc: a subject of access tokens. sql: a session of the '
  'database. anonymous: a caller of a node without authentication.';
comment on column weir.audit_entry.principal_id is 'weir.principal.id; null over SQL and without authentication.';
comment on column weir.audit_entry.key_id is 'The public part of the API key; null: there was none.';
comment on column weir.audit_entry.remote is 'The address from which the call came; null: a local socket.';
comment on column weir.audit_entry.request_id is 'Id of the request (X-Request-Id); null over SQL.';
comment on column weir.audit_entry.operation is
  'The operation of REST that did it, such as pauseQueue; over SQL the one that does the same.';
comment on column weir.audit_entry.object is 'What was changed, as its path in REST: queues/mail, jobs/17, keys/3f9a….';
comment on column weir.audit_entry.before is
  'What it was before: of settings those that changed, without payloads and secrets; null: it was not there.';
comment on column weir.audit_entry.after is 'What it is since, in the same way; null: it is gone.';

-- goose makes this table before it applies the first file. A DO block hides it from sqlc, which reads the file
-- without goose.
-- +goose StatementBegin
do $do$ begin
  comment on table weir.migration is 'The numbered migrations that this database has. goose writes it.';
  comment on column weir.migration.id is 'Order of the rows.';
  comment on column weir.migration.version_id is 'Number of the migration; 0 marks the beginning of the record.';
  comment on column weir.migration.is_applied is 'Always true: a migration is not taken back.';
  comment on column weir.migration.tstamp is 'When it was applied, in UTC.';
end $do$;
-- +goose StatementEnd

-- A publication for all tables (replication to another server, change data capture) refuses updates and deletes of a
-- table without a replica identity. Most have a primary key. The identity costs nothing unless wal_level is logical.
-- weir.make_partition gives partitions theirs.
alter table weir.job_ready replica identity using index job_ready_place_is_unique;
alter table weir.job_event replica identity full;
alter table weir.workflow_event replica identity full;
alter table weir.admission_inbox replica identity full;
alter table weir.breaker_sample replica identity full;
alter table weir.rollup_failure replica identity full;
