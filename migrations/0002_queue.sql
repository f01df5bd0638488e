-- Queues: the unit of routing, and the home of defaults. A queue comes into being at its first job.
--
-- +goose Up
create table weir.queue (
  id int generated always as identity primary key,
  name text not null constraint queue_name_is_unique unique
    constraint queue_name_is_short_and_plain check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$'),
  priority smallint not null default 5 constraint priority_is_1_to_10 check (priority between 1 and 10),
  max_attempts smallint not null default 5 constraint max_attempts_is_1_to_100 check (max_attempts between 1 and 100),
  timeout_seconds int not null default 300 constraint timeout_is_1_second_to_7_days check (timeout_seconds between 1 and 604800),
  lease_seconds int not null default 30 constraint lease_is_1_second_to_1_hour check (lease_seconds between 1 and 3600),
  retry jsonb not null default '{"strategy": "exponential", "base_seconds": 2, "max_seconds": 3600, "jitter": true}',
  retention_seconds int not null default 604800 constraint retention_is_1_minute_to_10_years check (retention_seconds between 60 and 315360000),
  dead_retention_seconds int not null default 2592000 constraint dead_retention_is_1_minute_to_10_years check (dead_retention_seconds between 60 and 315360000),
  dead_letter_queue_id int constraint a_queue_is_not_its_own_dead_letter_queue check (dead_letter_queue_id <> id),
  max_depth int constraint max_depth_is_1_to_10_million check (max_depth between 1 and 10000000),
  governed boolean not null default false,
  breaker_id int,
  limits jsonb,
  line_by smallint,
  limits_version bigint not null default 0,
  paused_at timestamptz,
  pause_reason text constraint pause_reason_is_short check (length(pause_reason) between 1 and 500),
  resume_at timestamptz,
  created_at timestamptz not null default now(),
  deleted_at timestamptz
);
comment on table weir.queue is 'One row a queue: its name, its defaults for jobs that do not say otherwise, and whether it is paused.';
comment on column weir.queue.id is 'The short name that the hot tables use.';
comment on column weir.queue.name is 'What people and programs call it: letters, digits, and _ . : - ; at most 128 characters.';
comment on column weir.queue.priority is 'Priority of a job that names none, 1 to 10, 10 first. Read when the job is enqueued.';
comment on column weir.queue.max_attempts is 'Attempts of a job that names no number. Read when the job is enqueued.';
comment on column weir.queue.timeout_seconds is 'How long one attempt may run, for a job that does not say. Read when the job is enqueued.';
comment on column weir.queue.lease_seconds is 'Length of a lease where the claim does not say.';
comment on column weir.queue.retry is 'Retry policy of jobs without one of their own, read when an attempt fails: {strategy, base_seconds, max_seconds, jitter}; see weir.retry_delay.';
comment on column weir.queue.retention_seconds is 'How long a job is kept after it ended; it goes with its partition, so at most some hours later.';
comment on column weir.queue.dead_retention_seconds is 'How long a dead letter is kept after it died; its job then goes as any ended one.';
comment on column weir.queue.dead_letter_queue_id is 'The queue (weir.queue.id) that gets a copy of each job that dies here, in place of a dead letter; null: none.';
comment on column weir.queue.max_depth is 'Enqueueing is refused while so many jobs are available; null: no limit. Each enqueue counts up to it, so a large one costs time.';
comment on column weir.queue.limits is 'Limits of the queue and of each of its keys and tenants: {concurrency, per_key, rate, key_rate, tenants}; null: none. weir.limit_override has those of single ones.';
comment on column weir.queue.line_by is 'What its limits tell apart: 0 nothing, 1 keys, 2 tenants, 3 both; null: it has none. Worked out by weir.govern.';
comment on column weir.queue.limits_version is 'Counts the changes of its limits.';
comment on column weir.queue.governed is 'It has limits: its jobs wait in lines and are admitted as those allow.';
comment on column weir.queue.breaker_id is 'The circuit breaker (weir.breaker.id) of jobs that name none, which while it is open holds the whole queue, or does with its jobs what its policy says; null: none.';
comment on column weir.queue.paused_at is 'While set, until resume_at, claims take nothing from this queue. Enqueueing goes on.';
comment on column weir.queue.pause_reason is 'Why it is paused, at most 500 characters.';
comment on column weir.queue.resume_at is 'The pause ends by itself then, by the database''s clock; null: it does not.';
comment on column weir.queue.created_at is 'When its first job, or its settings, came.';
comment on column weir.queue.deleted_at is 'Set by delete_queue: hidden, settings back to the defaults; the next job brings it back. Kept so that ended jobs still have a queue.';

-- +goose StatementBegin
create function weir.retry_delay(policy jsonb, attempt int) returns interval language sql volatile as $$
  select make_interval(secs => least(
      coalesce((policy ->> 'max_seconds')::float8, 3600),
      coalesce((policy ->> 'base_seconds')::float8, 2) * case policy ->> 'strategy'
        when 'fixed' then 1
        when 'linear' then attempt
        else 2.0 ^ least(attempt - 1, 60)
      end)
    * case when coalesce((policy ->> 'jitter')::boolean, true) then random() else 1 end)
$$;
-- +goose StatementEnd
comment on function weir.retry_delay(jsonb, int) is
  'How long to wait after failed attempt number `attempt` (1, 2, …). base_seconds (default 2) times 1 (fixed), attempt (linear) or '
  '2^(attempt-1) (exponential, the default), at most max_seconds (default 3600); with jitter (the default) a uniformly random part '
  'of that: "full jitter", M. Brooker, Exponential Backoff And Jitter, 2015.';

-- +goose StatementBegin
create function weir.retry_problem(policy jsonb) returns text language sql immutable as $$
  select case
    when jsonb_typeof(policy) <> 'object' then 'must be an object {strategy, base_seconds, max_seconds, jitter}'
    when policy - '{strategy,base_seconds,max_seconds,jitter}'::text[] <> '{}' then 'knows only strategy, base_seconds, max_seconds and jitter'
    when coalesce(policy ->> 'strategy', 'exponential') not in ('fixed', 'linear', 'exponential') then 'needs a strategy of fixed, linear or exponential'
    when weir.number_problem(policy -> 'base_seconds', 0, 604800) is not null then 'needs base_seconds from 0 to 604800'
    when weir.number_problem(policy -> 'max_seconds', 0, 604800) is not null then 'needs max_seconds from 0 to 604800'
    when policy ? 'jitter' and jsonb_typeof(policy -> 'jitter') <> 'boolean' then 'needs jitter true or false'
  end
$$;
-- +goose StatementEnd
comment on function weir.retry_problem(jsonb) is 'Internal. What is wrong with a retry policy, or null.';

-- Called by every enqueue. Takes no lock on a queue that exists. The first job of a new queue inserts its row, so a second
-- transaction that enqueues to the same new queue waits for the first to end; names go in sorted order, so none deadlock.
-- +goose StatementBegin
create function weir.ensure_queues(names text[]) returns void language plpgsql as $$
begin
  if (select count(*) from weir.queue q where q.name = any (names) and q.deleted_at is null) < cardinality(names) then
    insert into weir.queue as q (name)
    select n from unnest(names) n where not exists (select from weir.queue x where x.name = n and x.deleted_at is null) order by n
    on conflict (name) do update set deleted_at = null, created_at = now() where q.deleted_at is not null;
  end if;
end $$;
-- +goose StatementEnd
comment on function weir.ensure_queues(text[]) is 'Internal. Makes the queues of these distinct names that do not exist yet.';

-- Those who set dead letter queues take turns, so that two of them cannot close a circle together.
-- +goose StatementBegin
create function weir.refuse_circle(name text, target text) returns void language plpgsql as $$
declare
  way text;
begin
  perform pg_advisory_xact_lock(hashtext('weir'), hashtext('dead_letter_queue'));
  with recursive onward (id, name, next_id, way) as (
    select q.id, q.name, q.dead_letter_queue_id, q.name from weir.queue q where q.name = refuse_circle.target
    union all select q.id, q.name, q.dead_letter_queue_id, o.way || ' -> ' || q.name from onward o join weir.queue q on q.id = o.next_id where o.name <> refuse_circle.name
  )
  select refuse_circle.name || ' -> ' || o.way into way from onward o where o.name = refuse_circle.name;
  if way is not null then
    perform weir.refuse_argument('dead_letter_queue', 'leads back to this queue: ' || way, 'A job that dies would go round for ever.');
  end if;
end $$;
-- +goose StatementEnd
comment on function weir.refuse_circle(text, text) is 'Internal. Raises WR010 where dead letters of the queue `name`, if they went to `target`, would come back to it.';

-- +goose StatementBegin
create function weir.set_queue(name text, settings jsonb default '{}', replace boolean default false) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  problem text := weir.retry_problem(settings -> 'retry');
  unknown text;
  dead_letter_queue text := nullif(settings ->> 'dead_letter_queue', '');
  breaker text := nullif(settings ->> 'breaker', '');
begin
  if set_queue.name is null or set_queue.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$' then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  end if;
  if jsonb_typeof(settings) is distinct from 'object' then
    perform weir.refuse_argument('settings', 'must be a JSON object');
  end if;
  select k into unknown from jsonb_object_keys(settings) k
  where k not in ('priority', 'max_attempts', 'timeout_seconds', 'lease_seconds', 'retry', 'retention_seconds', 'dead_retention_seconds', 'dead_letter_queue', 'max_depth', 'breaker', 'limits') limit 1;
  if unknown is not null then
    perform weir.refuse_argument(unknown, 'is no setting of a queue', 'Settings: priority, max_attempts, timeout_seconds, lease_seconds, retry, retention_seconds, dead_retention_seconds, dead_letter_queue, max_depth, breaker, limits.');
  end if;
  if problem is not null then
    perform weir.refuse_argument('retry', problem);
  end if;
  select r.field, r.problem into unknown, problem from (values
      ('priority', weir.integer_problem(settings -> 'priority', 1, 10)),
      ('max_attempts', weir.integer_problem(settings -> 'max_attempts', 1, 100)),
      ('timeout_seconds', weir.integer_problem(settings -> 'timeout_seconds', 1, 604800)),
      ('lease_seconds', weir.integer_problem(settings -> 'lease_seconds', 1, 3600)),
      ('retention_seconds', weir.integer_problem(settings -> 'retention_seconds', 60, 315360000)),
      ('dead_retention_seconds', weir.integer_problem(settings -> 'dead_retention_seconds', 60, 315360000)),
      ('dead_letter_queue', case when jsonb_typeof(settings -> 'dead_letter_queue') not in ('string', 'null') or dead_letter_queue !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$'
        then 'must be the name of a queue, or empty' end),
      ('breaker', case when jsonb_typeof(settings -> 'breaker') not in ('string', 'null') or breaker !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$'
        then 'must be the name of a circuit breaker, or empty' end),
      ('max_depth', weir.integer_problem(settings -> 'max_depth', 0, 10000000))) r(field, problem) where r.problem is not null limit 1;
  if problem is not null then
    perform weir.refuse_argument(unknown, problem);
  end if;
  if weir.limits_problem(settings -> 'limits') is not null then
    perform weir.refuse_argument((weir.limits_problem(settings -> 'limits'))[1], (weir.limits_problem(settings -> 'limits'))[2]);
  end if;
  perform weir.ensure_queues(array(select distinct n from unnest(array[set_queue.name, dead_letter_queue]) n where n is not null));
  if dead_letter_queue is not null then
    perform weir.refuse_circle(set_queue.name, dead_letter_queue);
  end if;
  if breaker is not null then
    perform pg_advisory_xact_lock(hashtext('weir'), hashtext('reroute'));
    perform weir.ensure_breakers(array[breaker]);
  end if;
  update weir.queue q set
    priority = coalesce((settings ->> 'priority')::numeric::smallint, case when replace then 5 else q.priority end),
    max_attempts = coalesce((settings ->> 'max_attempts')::numeric::smallint, case when replace then 5 else q.max_attempts end),
    timeout_seconds = coalesce((settings ->> 'timeout_seconds')::numeric::int, case when replace then 300 else q.timeout_seconds end),
    lease_seconds = coalesce((settings ->> 'lease_seconds')::numeric::int, case when replace then 30 else q.lease_seconds end),
    retention_seconds = coalesce((settings ->> 'retention_seconds')::numeric::int, case when replace then 604800 else q.retention_seconds end),
    dead_retention_seconds = coalesce((settings ->> 'dead_retention_seconds')::numeric::int, case when replace then 2592000 else q.dead_retention_seconds end),
    dead_letter_queue_id = case when settings ? 'dead_letter_queue' or replace then (select d.id from weir.queue d where d.name = dead_letter_queue) else q.dead_letter_queue_id end,
    breaker_id = case when settings ? 'breaker' or replace then (select b.id from weir.breaker b where b.name = breaker) else q.breaker_id end,
    max_depth = case when settings ? 'max_depth' or replace then nullif((settings ->> 'max_depth')::numeric::int, 0) else q.max_depth end,
    retry = case when jsonb_typeof(settings -> 'retry') = 'object' then (case when replace then weir.default_retry() else q.retry end) || (settings -> 'retry')
                 when replace then weir.default_retry() else q.retry end,
    limits = case when settings ? 'limits' or replace then nullif(jsonb_strip_nulls(nullif(settings -> 'limits', 'null')), '{}') else q.limits end
  where q.name = set_queue.name;
  if breaker is not null then
    perform weir.refuse_reroute_circle('breaker');
  end if;
  if settings ? 'limits' or replace then
    perform weir.govern(q.id) from weir.queue q where q.name = set_queue.name;
  end if;
end $$;

create function weir.default_retry() returns jsonb language sql immutable as $$
  select '{"strategy": "exponential", "base_seconds": 2, "max_seconds": 3600, "jitter": true}'::jsonb
$$;

create function weir.queue_id(name text) returns int language plpgsql stable as $$
declare found_id int := (select q.id from weir.queue q where q.name = queue_id.name and q.deleted_at is null);
begin
  if found_id is null then
    raise exception using errcode = 'WR011', message = format('there is no queue %L', queue_id.name),
      hint = 'A queue comes into being at its first job, or with weir.set_queue.';
  end if;
  return found_id;
end $$;

create function weir.pause_queue(name text, reason text default null, resume_at timestamptz default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  now_at timestamptz := clock_timestamp();
begin
  if reason is not null and length(reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  elsif resume_at <= now_at or resume_at > now_at + interval '10 years' then
    perform weir.refuse_argument('resume_at', 'must lie ahead, by at most 10 years');
  end if;
  update weir.queue q set paused_at = case when q.resume_at <= now_at then now_at else coalesce(q.paused_at, now_at) end,
    pause_reason = reason, resume_at = pause_queue.resume_at
  where q.id = weir.queue_id(pause_queue.name);
end $$;
-- +goose StatementEnd
comment on function weir.set_queue(text, jsonb, boolean) is
  'Makes a queue or changes its settings: {priority, max_attempts, timeout_seconds, lease_seconds, retry, retention_seconds, dead_retention_seconds, dead_letter_queue, max_depth, breaker, limits}. What is not named keeps its value, '
  'or with replace => true goes back to the default; max_depth 0 is no limit, an empty dead_letter_queue or breaker and empty limits none. Errors: WR010.';
comment on function weir.default_retry() is 'The retry policy where neither the job nor its queue has one.';
comment on function weir.queue_id(text) is 'The id of a queue. Errors: WR011 where there is none of that name.';
comment on function weir.pause_queue(text, text, timestamptz) is
  'From now on, until resume_at (null: until weir.resume_queue), claims take nothing from this queue; running jobs go on. Of a queue that is paused '
  'already the reason and the end are replaced. Errors: WR010, WR011.';

-- +goose Down
drop function weir.pause_queue(text, text, timestamptz), weir.queue_id(text), weir.default_retry(),
  weir.set_queue(text, jsonb, boolean), weir.refuse_circle(text, text), weir.ensure_queues(text[]), weir.retry_problem(jsonb), weir.retry_delay(jsonb, int);
drop table weir.queue;
