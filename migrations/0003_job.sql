-- The places a job can be in, and its facts. Facts are written once. Moving a job deletes one narrow row and inserts another, in one
-- statement, so that no table is a history of updates and no index follows a state column.
--
--   enqueue ──▶ job_scheduled ──▶ job_ready ──▶ job_lease ──▶ job_outcome (completed, cancelled, dead)
--                    ▲   job_held ──▲   ▲             │              │
--                    └── retry, snooze ─┴─ release ───┘              └─▶ job_dead, while it is dead and not redriven
--
-- Locks: each function takes rows of one place at a time, deletes before it inserts, and takes many rows in the order of their ids or
-- skips locked ones; so they do not deadlock. No foreign keys: they would lock facts at every move.
--
-- +goose Up
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
  constraint job_pkey primary key (id)
) partition by range (id);
create index job_parent_id on weir.job (parent_id, id) where parent_id is not null;
comment on table weir.job is 'The facts of every job, in partitions by id. Inserted by enqueue; changed only by weir.edit, and by weir.make_run before anybody can see it.';
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
comment on column weir.job.metadata is 'Anything its producer wants to keep with it; handed to the worker, never read by weir.';
comment on column weir.job.unique_key is 'The key that made a second enqueue answer with this job; see job_unique.';
comment on column weir.job.tenant is 'On whose behalf it runs.';
comment on column weir.job.parent_id is 'The job that it belongs to, which was there when it was enqueued.';
comment on column weir.job.run_at is 'What it was scheduled for when it was enqueued; null: it was available at once.';
comment on column weir.job.workflow_id is 'The workflow that it is a step of.';
comment on column weir.job.step is 'Its name in that workflow.';
comment on column weir.job.concurrency_key is 'Its line in a queue with limits: those of one key share the key''s limits.';
comment on column weir.job.breaker is 'The circuit breaker of the dependency that it needs.';
comment on column weir.job.schedule is 'The name of the schedule that made it, as it was then.';
comment on column weir.job.slot is 'The slot of the schedule that it was made for; of a trigger by hand, when that was.';
comment on column weir.job.result_ttl_seconds is 'How long its result is kept after it completed; null: as long as the job.';

create table weir.job_scheduled (
  job_id bigint not null constraint job_scheduled_pkey primary key,
  run_at timestamptz not null,
  queue_id int not null,
  priority smallint not null,
  attempt smallint not null,
  retryable boolean not null default false
);
create index job_scheduled_run_at on weir.job_scheduled (run_at);
comment on table weir.job_scheduled is 'Jobs that become available at run_at: delayed, snoozed, or waiting to be retried.';
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
  reason text not null constraint reason_is_known check (reason in ('dependency', 'line', 'breaker', 'signal', 'timer', 'workflow')),
  key text collate "C",
  seq bigint,
  let_through bigint
);
comment on table weir.job_held is 'Jobs that wait for something with a name: a dependency, their turn in a line, a breaker, a signal, a time, another workflow.';
comment on column weir.job_held.job_id is 'weir.job.id';
comment on column weir.job_held.held_at is 'Since when it waits.';
comment on column weir.job_held.queue_id is 'weir.queue.id';
comment on column weir.job_held.priority is '1 to 10, 10 first.';
comment on column weir.job_held.attempt is 'Attempts made so far.';
comment on column weir.job_held.reason is 'What kind of thing it waits for: dependency, line, breaker, signal, timer, workflow.';
comment on column weir.job_held.key is 'Which one it waits for.';
comment on column weir.job_held.let_through is 'As in weir.job_ready, for a job that a circuit breaker let go and that waits in a line.';
comment on column weir.job_held.seq is 'Its place among those that wait for the same, drawn from job_id_seq; null where they have no order.';

create table weir.job_ready (
  queue_id int not null,
  priority smallint not null,
  attempt smallint not null default 0,
  seq bigint not null,
  job_id bigint,
  let_through bigint,
  constraint job_ready_place_is_unique unique (queue_id, priority, seq)
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
-- A job that is available for the first time has its id as its seq and is found by its facts; only the others are in here.
create index job_ready_came_back on weir.job_ready (job_id) where job_id is not null;
comment on table weir.job_ready is 'Jobs that may be claimed, in the order of each queue: priority from 10 to 1, then seq.';
comment on column weir.job_ready.queue_id is 'weir.queue.id; minus that for jobs of a governed queue that are admitted, so that those under the id itself are left to the admitter.';
comment on column weir.job_ready.priority is '1 to 10, 10 first.';
comment on column weir.job_ready.attempt is 'Attempts made so far.';
comment on column weir.job_ready.seq is 'Its place in the queue, drawn from job_id_seq each time it becomes available; the fencing token of its next lease.';
comment on column weir.job_ready.job_id is 'weir.job.id of a job that has come back; null: it is available for the first time, and its id is seq (never under a negative queue_id).';
comment on column weir.job_ready.let_through is 'The version of the gated circuit breaker that has let it through; null: none has.';

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
  result_ttl_seconds int
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
create index job_lease_expires_at on weir.job_lease (expires_at);
comment on table weir.job_lease is 'Jobs that a worker has.';
comment on column weir.job_lease.job_id is 'weir.job.id';
comment on column weir.job_lease.token is 'The fencing token: every write about a running job names it. It is the seq the job was claimed at.';
comment on column weir.job_lease.leased_at is 'When this attempt began.';
comment on column weir.job_lease.expires_at is 'From then on the job is taken back. A heartbeat moves it, but never past leased_at plus the job''s timeout.';
comment on column weir.job_lease.queue_id is 'weir.queue.id';
comment on column weir.job_lease.lease_seconds is 'Length of the lease, which a heartbeat that names none renews.';
comment on column weir.job_lease.priority is '1 to 10, 10 first.';
comment on column weir.job_lease.attempt is 'Number of this attempt: 1, 2, …';
comment on column weir.job_lease.counted is 'It counts towards its worker''s capacity; null where that has none.';
comment on column weir.job_lease.followed is 'It is a step of a workflow, so something follows when it ends or goes back (weir.jobs_left); null: it is none.';
comment on column weir.job_lease.line is 'The line that it is in flight for, where its queue has limits: see 0028_limit.sql; null: its queue had none when it was claimed.';
comment on column weir.job_lease.breaker_id is 'The circuit breaker (weir.breaker.id) that is to hear how this attempt ends; null: none.';
comment on column weir.job_lease.cancel_requested_at is 'When somebody cancelled it; its worker learns so at its next heartbeat.';
comment on column weir.job_lease.worker is 'Name of the worker that has it.';
comment on column weir.job_lease.progress is 'What the worker last said of its progress: {percent, message}.';
comment on column weir.job_lease.result_ttl_seconds is 'As in weir.job, so that completing need not read the facts.';

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
create index job_outcome_finished_at on weir.job_outcome using brin (finished_at) with (pages_per_range = 16, autosummarize = on);
create index job_outcome_result_until on weir.job_outcome (result_until) where result_until is not null;
comment on table weir.job_outcome is 'How each ended job ended, in partitions by job id. Its primary key lets no job end twice.';
comment on column weir.job_outcome.job_id is 'weir.job.id';
comment on column weir.job_outcome.finished_at is 'When it ended.';
comment on column weir.job_outcome.started_at is 'When its last attempt began, or null if it never ran.';
comment on column weir.job_outcome.queue_id is 'weir.queue.id';
comment on column weir.job_outcome.state is 'completed, cancelled or dead.';
comment on column weir.job_outcome.attempt is 'Attempts made.';
comment on column weir.job_outcome.worker is 'Name of the worker that had it last.';
comment on column weir.job_outcome.result is 'What the worker gave as its result.';
comment on column weir.job_outcome.error is 'Why it is dead: {message, type, stack}.';
comment on column weir.job_outcome.result_until is 'The result is shown until then, and wiped soon after; null: as long as the job is kept.';

create table weir.job_dead (
  job_id bigint not null constraint job_dead_pkey primary key,
  died_at timestamptz not null default clock_timestamp(),
  queue_id int not null
);
create index job_dead_died_at on weir.job_dead (died_at, job_id);
create index job_dead_of_queue on weir.job_dead (queue_id, died_at, job_id);
comment on table weir.job_dead is 'The dead letters: dead, and neither run again nor purged nor routed to another queue.';
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
comment on table weir.job_event is 'The exceptional moments of a job''s life, in partitions by job id. An uneventful life has none.';
comment on column weir.job_event.job_id is 'weir.job.id';
comment on column weir.job_event.at is 'When it happened.';
comment on column weir.job_event.kind is 'What happened.';
comment on column weir.job_event.attempt is 'Attempts made by then.';
comment on column weir.job_event.state is 'What the job became by it.';
comment on column weir.job_event.started_at is 'When the attempt began that ended with it.';
comment on column weir.job_event.run_at is 'When the job becomes available again, if it then waited for a time.';
comment on column weir.job_event.worker is 'Name of the worker that had it.';
comment on column weir.job_event.detail is 'The error of a failed attempt ({message, type, stack}), what was changed, how a job had ended that was run again, or by whom.';

-- Read only by enqueue. Nothing is written when the job ends: a key whose job has ended is simply taken over by the next.
create table weir.job_unique (
  key text not null constraint job_unique_pkey primary key,
  job_id bigint not null,
  until timestamptz
);
comment on table weir.job_unique is 'Unique keys and the job that has each: while the job has not ended, or until a time.';
comment on column weir.job_unique.key is 'The key, at most 500 characters, one space of keys for all queues.';
comment on column weir.job_unique.job_id is 'weir.job.id';
comment on column weir.job_unique.until is 'The key is taken until then (scope ttl); null: until the job ends (scope active).';

create table weir.job_idempotency (
  key text not null constraint job_idempotency_pkey primary key,
  job_id bigint not null,
  fingerprint text not null,
  until timestamptz not null
);
comment on table weir.job_idempotency is 'Idempotency keys of the last day and the job that each made.';
comment on column weir.job_idempotency.key is 'The key, at most 255 characters, one space of keys for all queues.';
comment on column weir.job_idempotency.job_id is 'weir.job.id';
comment on column weir.job_idempotency.fingerprint is 'MD5 of what was asked for, to tell a repeated request from another one with the same key.';
comment on column weir.job_idempotency.until is 'The key is known until then: 24 hours.';

-- +goose Down
drop table weir.job_idempotency, weir.job_unique, weir.job_event, weir.job_dead, weir.job_outcome, weir.job_lease, weir.job_ready, weir.job_held, weir.job_scheduled, weir.job;
