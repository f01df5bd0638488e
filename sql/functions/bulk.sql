-- Bulk changes: what weir.cancel, weir.retry and weir.edit do to one job, done to the jobs of a batch, with one
-- statement for each place. Only weir.run_job_batch calls them. tests/bulk compares them with the single functions.
--
-- They wait for no job that another session has locked, so they cannot deadlock with it. They try again for a quarter
-- of a second and then leave the job as it is.

-- Takes waiting jobs out of their places. other_than: leaves jobs of this priority. Locks: the rows it deletes, skip
-- locked.
create or replace function weir.take_waiting_jobs(job_ids bigint[], other_than int default null)
returns table (id bigint, was weir.job_state, attempt smallint, run_at timestamptz, held_at timestamptz,
  held_reason text, held_key text)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  back tid[] := array(select r.ctid from weir.job_ready r
    where r.job_id = any (job_ids) and r.priority is distinct from other_than for update skip locked);
  fresh tid[] := array(select r.ctid from weir.job j
    join weir.job_ready r on r.queue_id = j.queue_id and r.priority = j.priority and r.seq = j.id and r.job_id is null
    where j.id = any (job_ids) and j.id between lowest and highest and j.priority is distinct from other_than
    for update of r skip locked);
  admitted bigint[];
begin
  return query
  delete from weir.job_scheduled s where s.job_id = any (array(select x.job_id from weir.job_scheduled x
    where x.job_id = any (job_ids) and x.priority is distinct from other_than for update skip locked))
  returning s.job_id, case when s.retryable then 'retryable' else 'scheduled' end::weir.job_state, s.attempt, s.run_at,
    null::timestamptz, null::text, null::text;
  return query
  delete from weir.job_held h where h.job_id = any (array(select x.job_id from weir.job_held x
    where x.job_id = any (job_ids) and x.priority is distinct from other_than for update skip locked))
  returning h.job_id, 'held'::weir.job_state, h.attempt, null::timestamptz, h.held_at, h.reason, h.key;
  admitted := array(select r.job_id from weir.job_ready r join weir.queue q on q.admitted_id = r.queue_id
    where r.ctid = any (back));
  return query
  delete from weir.job_ready r where r.ctid = any (back || fresh)
  returning coalesce(r.job_id, r.seq), 'available'::weir.job_state, r.attempt, null::timestamptz, null::timestamptz,
    null::text, null::text;
  if admitted <> '{}' then
    perform weir.on_admitted_jobs_removed(admitted);
  end if;
end $$;
comment on function weir.take_waiting_jobs(bigint[], int) is
  'Internal. Takes waiting jobs out of their places and says which those were, except of jobs that another session has '
  'locked.';

create or replace function weir.jobs_in_states(job_ids bigint[], states text[]) returns bigint[] language plpgsql
stable set jit = off set enable_seqscan = off as $$
begin
  return array(select j.id from weir.jobs j where j.id = any (job_ids) and j.state::text = any (states)
    order by j.id);
end $$;
comment on function weir.jobs_in_states(bigint[], text[]) is
  'Internal. Those of these jobs that are in one of these states, by their ids.';

-- Locks: what take_waiting_jobs locks, leases (skip locked), then what weir.on_jobs_ended locks.
create or replace function weir.cancel_jobs(job_ids bigint[]) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  remaining bigint[] := job_ids;
  taken bigint[];
  asked bigint[];
  did int := 0;
begin
  for round in 1..25 loop
    with took as materialized (
      select t.id, t.attempt from weir.take_waiting_jobs(remaining) t
    ), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt)
      select j.id, j.queue_id, 'cancelled', t.attempt from took t join weir.job j on j.id = t.id
      where j.id = any (remaining)
    )
    select coalesce(array_agg(t.id), '{}') into taken from took t;
    perform weir.on_jobs_ended(weir.jobs_with_followers(taken));
    with asked as (
      update weir.job_lease l set cancel_requested_at = coalesce(l.cancel_requested_at, clock_timestamp())
      where l.job_id = any (array(select x.job_id from weir.job_lease x where x.job_id = any (remaining)
        for update skip locked))
      returning l.*
    ), told as (
      insert into weir.job_event (job_id, kind, attempt, state, worker)
      select a.job_id, 'cancel_requested', a.attempt, 'running', a.worker from asked a
    )
    select coalesce(array_agg(a.job_id), '{}') into asked from asked a;
    did := did + cardinality(taken) + cardinality(asked);
    exit when cardinality(taken) + cardinality(asked) = cardinality(remaining);
    remaining := weir.jobs_in_states(array(select i from unnest(remaining) i where i <> all (taken || asked)),
      weir.bulk_states('bulk_cancel'));
    exit when remaining = '{}';
    perform pg_sleep(0.01);
  end loop;
  return did;
end $$;
comment on function weir.cancel_jobs(bigint[]) is
  'Internal. As weir.cancel, for jobs that are no steps of workflows. Returns how many it cancelled or asked to stop.';

-- Locks: the rows in job_scheduled (skip locked), then what weir.charge_again and weir.run_again lock.
create or replace function weir.retry_jobs(job_ids bigint[], reset_attempts boolean) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  early record;
  ended bigint[];
begin
  with took as (
    delete from weir.job_scheduled s where s.job_id = any (array(select x.job_id from weir.job_scheduled x
      where x.job_id = any (job_ids) for update skip locked)) returning s.*
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select t.job_id, 'retried', t.attempt, 'available', jsonb_build_object('state', case when t.retryable
      then 'retryable' else 'scheduled' end, 'run_at', t.run_at)
      || case when reset_attempts then '{"reset_attempts": true}' else '{}' end::jsonb from took t
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select t.queue_id, t.priority, case when reset_attempts then 0 else t.attempt end, nextval('weir.job_id_seq'),
      t.job_id from took t order by t.job_id
  )
  select coalesce(array_agg(t.job_id), '{}') as ids, array_agg(distinct t.queue_id) as queues into early from took t;
  if early.ids <> '{}' then
    perform weir.wake(array(select q.name from weir.queue q where q.id = any (early.queues)));
  end if;
  ended := array(select i from unnest(job_ids) i where i <> all (early.ids) order by i);
  if ended <> '{}' then
    ended := array(select a from weir.run_again(weir.charge_again(weir.fitting_jobs(ended, true), true), 'retried',
      reset_attempts) a);
  end if;
  return cardinality(early.ids) + cardinality(ended);
end $$;
comment on function weir.retry_jobs(bigint[], boolean) is
  'Internal. As weir.retry, for jobs that are no steps of workflows. Returns how many it made available.';

-- Locks: weir.job_ready against advance_frontier, then what take_waiting_jobs locks. The caller has locked the
-- workflows of steps.
create or replace function weir.reprioritise_jobs(job_ids bigint[], priority int) returns int language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  waiting constant text[] := weir.bulk_states('bulk_reprioritise');
  remaining bigint[] := job_ids;
  took record;
  did int := 0;
begin
  lock table weir.job_ready in row exclusive mode;  -- before a seq is drawn: see frontier.sql
  for round in 1..25 loop
    select array_agg(t.id order by t.id) as ids, array_agg(t.was order by t.id) as was,
      array_agg(t.attempt order by t.id) as attempts, array_agg(t.run_at order by t.id) as run_at,
      array_agg(t.held_at order by t.id) as held_at, array_agg(t.held_reason order by t.id) as reasons,
      array_agg(t.held_key order by t.id) as keys, count(*)::int as n
      into took from weir.take_waiting_jobs(remaining, priority) t;
    if took.n > 0 then
      perform weir.place_again(took.ids, took.was, took.attempts, took.run_at, took.held_at, took.reasons, took.keys,
        priority);
      did := did + took.n;
    end if;
    exit when took.n = cardinality(remaining);
    remaining := weir.jobs_in_states(array(select i from unnest(remaining) i
      where i <> all (coalesce(took.ids, '{}'))), waiting);
    -- those that have the priority keep their place
    did := did + (select count(*)::int from weir.jobs j where j.id = any (remaining) and j.priority = priority);
    remaining := array(select j.id from weir.jobs j where j.id = any (remaining) and j.priority <> priority);
    exit when remaining = '{}';
    perform pg_sleep(0.01);
  end loop;
  return did;
end $$;
comment on function weir.reprioritise_jobs(bigint[], int) is
  'Internal. As weir.edit with a priority, but jobs that have it already keep their place. Returns how many have it '
  'now.';

-- Parallel arrays: what take_waiting_jobs said of job ids[i] is at place i of the others.
create or replace function weir.place_again(ids bigint[], was weir.job_state[], attempts smallint[],
  run_at timestamptz[], held_at timestamptz[], reasons text[], keys text[], priority int) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  lowest bigint := ids[1];
  highest bigint := ids[cardinality(ids)];
  woken int[];
begin
  with fact as (
    update weir.job j set priority = place_again.priority where j.id = any (ids) and j.id between lowest and highest
    returning j.id, j.queue_id
  ), placed as materialized (
    select f.id, f.queue_id, u.attempt, u.run_at, u.held_at, u.reason, u.key,
      case when u.was = 'held' and u.reason <> 'line' then 'held'
        when u.run_at > clock_timestamp() then case when u.was = 'retryable' then 'retryable' else 'scheduled' end
        else 'available' end::weir.job_state as state
    from unnest(ids, was, attempts, run_at, held_at, reasons, keys) u(id, was, attempt, run_at, held_at, reason, key)
    join fact f on f.id = u.id
  ), held as (
    insert into weir.job_held (job_id, held_at, queue_id, priority, attempt, reason, key)
    select p.id, p.held_at, p.queue_id, place_again.priority, p.attempt, p.reason, p.key from placed p
    where p.state = 'held'
  ), scheduled as (
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt, retryable)
    select p.id, p.run_at, p.queue_id, place_again.priority, p.attempt, p.state = 'retryable' from placed p
    where p.state in ('scheduled', 'retryable')
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select p.queue_id, place_again.priority, p.attempt, nextval('weir.job_id_seq'), p.id from placed p
    where p.state = 'available' order by p.id
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, run_at, detail)
    select p.id, 'edited', p.attempt, case when p.state = 'available' and q.governed then 'held' else p.state end,
      case when p.state in ('scheduled', 'retryable') then p.run_at end,
      jsonb_build_object('priority', place_again.priority)
    from placed p join weir.queue q on q.id = p.queue_id
  )
  select array_agg(distinct p.queue_id) into woken from placed p where p.state = 'available';
  perform weir.wake(array(select q.name from weir.queue q where q.id = any (woken)));
end $$;
comment on function weir.place_again(bigint[], weir.job_state[], smallint[], timestamptz[], timestamptz[], text[],
  text[], int) is
  'Internal. Gives jobs that take_waiting_jobs took a place again, with another priority.';
