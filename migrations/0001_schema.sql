-- The schema, the one sequence, and the words that every table uses.
--
-- +goose Up
create schema weir;
comment on schema weir is
  'weir: a job queue. Functions act (weir.enqueue, weir.claim, weir.complete, …), views look (weir.jobs, weir.queue_depth, …). '
  'A job is in exactly one place, and the place is its state: job_scheduled, job_held, job_ready, job_lease or job_outcome.';

-- Ids of jobs and places in the queues are drawn from one sequence, so a job that is available for the first time takes its
-- own id as its place (job_ready.seq), and needs no second index to be found. The upper bits of an id name its partition
-- (id >> 32) and, above that, its shard (id >> 48).
create sequence weir.job_id_seq as bigint;
comment on sequence weir.job_id_seq is 'Draws job ids and the places (seq) of available jobs, which are also the fencing tokens of leases.';

create type weir.job_state as enum ('held', 'scheduled', 'retryable', 'available', 'running', 'completed', 'cancelled', 'dead');
comment on type weir.job_state is
  'What people see of a job. Waiting: held, scheduled, retryable (scheduled after a failure), available. Then running. Ended: completed, cancelled, dead.';

create type weir.event_kind as enum ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'cancel_requested', 'retried', 'edited', 'redriven', 'purged',
  'routed', 'let_through', 'rerouted', 'postponed', 'substituted');
comment on type weir.event_kind is
  'The exceptional moments of a job: an attempt failed, ran past its timeout, or lost its lease; the job was snoozed, released, '
  'asked to stop while it ran, run again by hand, or changed; as a dead letter it was run again, purged, or routed to another queue; '
  'its circuit breaker held it and let it through, sent it to another queue, put it off, or had it completed with another result.';

-- The errors of the SQL contract. A code keeps its meaning for ever; docs/sql.md lists them.
--   WR001 stale_token        WR005 job_not_retryable
--   WR002 job_not_found      WR006 idempotency_mismatch
--                            WR010 invalid_argument
--   WR003 job_ended          WR011 queue_not_found
--   WR004 job_not_editable   WR012 queue_not_empty
--                            WR013 queue_full
--   WR050 workflow_not_found   WR051 workflow_ended   WR052 workflow_not_failed   WR054 not_a_step
--   WR040 webhook_not_found  WR041 webhook_exists
--   WR014 dead_letter_not_found   WR015 worker_not_found   WR020 operation_not_found   WR021 operation_ended
--   WR065 breaker_not_found       WR066 breaker_in_use     WR067 breaker_pinned
--   WR030 schedule_not_found      WR031 schedule_exists

-- +goose StatementBegin
create function weir.refuse_argument(field text, problem text, hint text default null) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR010', message = format('%s %s', field, problem), column = field,
    hint = coalesce(hint, 'Nothing was changed. docs/sql.md lists what each function takes.');
end $$;
-- +goose StatementEnd
comment on function weir.refuse_argument(text, text, text) is
  'Internal. Raises WR010 invalid_argument; the error''s column field carries the path of the argument.';

-- +goose StatementBegin
create function weir.number_problem(value jsonb, lowest float8, highest float8) returns text language sql immutable as $$
  select case
    when value is null or jsonb_typeof(value) = 'null' then null
    when jsonb_typeof(value) <> 'number' then 'must be a number from ' || lowest::text || ' to ' || highest::text
    when (value #>> '{}')::numeric not between lowest::numeric and highest::numeric then 'must be a number from ' || lowest::text || ' to ' || highest::text
  end
$$;

create function weir.integer_problem(value jsonb, lowest int, highest int) returns text language sql immutable as $$
  select case
    when weir.number_problem(value, lowest, highest) is not null or case when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric % 1 <> 0 else false end
      then 'must be a whole number from ' || lowest::text || ' to ' || highest::text
  end
$$;
-- +goose StatementEnd
comment on function weir.number_problem(jsonb, float8, float8) is 'Internal. What is wrong with a JSON value that should be absent or a number in a range, or null.';
comment on function weir.integer_problem(jsonb, int, int) is 'Internal. What is wrong with a JSON value that should be absent or a whole number in a range, or null.';

-- +goose Down
drop function weir.integer_problem(jsonb, int, int), weir.number_problem(jsonb, float8, float8);
drop function weir.refuse_argument(text, text, text);
drop type weir.event_kind;
drop type weir.job_state;
drop sequence weir.job_id_seq;
drop schema weir;
