-- Purging: cancelling the waiting jobs of a queue, and counting them first. A job may move while its places are read,
-- so each function below reads them in the order in which jobs move, and several times.

create or replace function weir.check_waiting(state text) returns void language plpgsql immutable as $$
begin
  if state is null or state not in ('available', 'scheduled', 'retryable', 'held', 'waiting') then
    perform weir.refuse_argument('state', 'must be available, scheduled, retryable, held or waiting (all of these)');
  end if;
end $$;
comment on function weir.check_waiting(text) is
  'Internal. Raises WR010 unless it is a state in which jobs wait, or waiting.';

create or replace function weir.count_waiting(name text, state text default 'waiting') returns bigint
language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(count_waiting.name);
  admitted_id int := (select x.admitted_id from weir.queue x where x.id = q);
  -- of such a queue, what lies under its own id is on its way into lines
  governed boolean := (select x.governed from weir.queue x where x.id = q);
begin
  perform weir.require_queues('operator', array[count_waiting.name]);
  perform weir.check_waiting(state);
  return case when state in ('available', 'waiting') or state = 'held' and governed
    then (select count(*) from weir.job_ready r
      where r.queue_id = q and (state = 'waiting' or governed = (state = 'held')) or r.queue_id = admitted_id
        and state <> 'held') else 0 end
    + case when state in ('scheduled', 'retryable', 'waiting')
      then (select count(*) from weir.job_scheduled s where s.queue_id = q
        and (state = 'waiting' or s.retryable = (state = 'retryable'))) else 0 end
    + case when state in ('held', 'waiting') then (select count(*) from weir.job_held h where h.queue_id = q)
      else 0 end;
end $$;
comment on function weir.count_waiting(text, text) is
  'How many jobs of a queue wait in a state: available, scheduled, retryable, held, or waiting (all of these). About '
  'a second for ten million. Errors: WR010, WR011.';

-- Locks: the workflows of those that are steps; the rows of the jobs in their places, skip locked.
create or replace function weir.purge_queue(name text, max_jobs int default 10000, state text default 'available')
returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(purge_queue.name);
  admitted_id int := (select x.admitted_id from weir.queue x where x.id = q);
  governed boolean := (select x.governed from weir.queue x where x.id = q);
  places int[] := array[]::int[] || case when state = 'waiting' or governed = (state = 'held') then q end || case
    when state <> 'held' then admitted_id end;
  tids tid[];
  ids bigint[] := '{}';
  admitted bigint[];
  steps bigint[] := '{}';
begin
  perform weir.require_queues('operator', array[purge_queue.name]);
  perform weir.check_waiting(state);
  -- A step is only taken if its workflow is locked before its place.
  steps := array(select w.job_id from weir.workflow_step w where w.job_id = any (array(
    (select coalesce(r.job_id, r.seq) from weir.job_ready r where r.queue_id = any (places)
      and (purge_queue.state in ('available', 'waiting') or purge_queue.state = 'held' and governed) limit max_jobs)
    union all (select s.job_id from weir.job_scheduled s where s.queue_id = q
      and purge_queue.state in ('scheduled', 'retryable', 'waiting') limit max_jobs)
    union all (select h.job_id from weir.job_held h where h.queue_id = q and purge_queue.state in ('held', 'waiting')
      limit max_jobs))));
  perform weir.lock_workflows_of(steps);
  if state in ('available', 'waiting') or state = 'held' and governed then
    tids := array(select r.ctid from weir.job_ready r where r.queue_id = any (places)
      and (coalesce(r.job_id, r.seq) = any (steps) or not exists (select from weir.workflow_step w
        where w.job_id = coalesce(r.job_id, r.seq))) limit max_jobs for update skip locked);
    with gone as (delete from weir.job_ready r where r.ctid = any (tids)
      returning coalesce(r.job_id, r.seq) as job_id, r.queue_id, r.attempt), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt) select g.job_id, q, 'cancelled', g.attempt
        from gone g
    )
    select ids || coalesce(array_agg(g.job_id), '{}'),
      array_agg(g.job_id) filter (where g.queue_id = admitted_id) into ids, admitted from gone g;
    if admitted is not null then
      perform weir.on_admitted_jobs_removed(admitted, q);
    end if;
  end if;
  if state in ('scheduled', 'retryable', 'waiting') then
    tids := array(select s.ctid from weir.job_scheduled s where s.queue_id = q
      and (state = 'waiting' or s.retryable = (state = 'retryable'))
      and (s.job_id = any (steps) or not exists (select from weir.workflow_step w where w.job_id = s.job_id))
        limit max_jobs - cardinality(ids) for update skip locked);
    with gone as (delete from weir.job_scheduled s where s.ctid = any (tids) returning s.*), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt) select g.job_id, g.queue_id, 'cancelled',
        g.attempt from gone g
    )
    select ids || coalesce(array_agg(g.job_id), '{}') into ids from gone g;
  end if;
  if state in ('held', 'waiting') then
    tids := array(select h.ctid from weir.job_held h where h.queue_id = q
      and (h.job_id = any (steps) or not exists (select from weir.workflow_step w where w.job_id = h.job_id))
        limit max_jobs - cardinality(ids) for update skip locked);
    with gone as (delete from weir.job_held h where h.ctid = any (tids) returning h.*), ended as (
      insert into weir.job_outcome (job_id, queue_id, state, attempt) select g.job_id, g.queue_id, 'cancelled',
        g.attempt from gone g
    )
    select ids || coalesce(array_agg(g.job_id), '{}') into ids from gone g;
  end if;
  perform weir.on_jobs_ended(weir.jobs_with_followers(ids));
  if ids <> '{}' then
    perform weir.record_change('purgeQueue', 'queues/' || purge_queue.name, null,
      jsonb_build_object('state', state, 'purged', cardinality(ids)));
  end if;
  return cardinality(ids);
end $$;
comment on function weir.purge_queue(text, int, text) is
  'Cancels up to max_jobs waiting jobs of a queue: available, scheduled, retryable, held, or waiting (all of these). '
  'Returns how many. Call it until it returns 0. Errors: WR010, WR011.';
