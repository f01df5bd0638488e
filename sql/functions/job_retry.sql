-- Retrying by hand: running jobs again that have ended, or that wait for a time.

-- Runs jobs again that have ended. Takes the dead letter first, then the outcome, so that a second session finds
-- neither. Locks: the job_dead rows, then the job_outcome rows, each in the order of their ids.
create or replace function weir.run_again(job_ids bigint[], how weir.event_kind, reset_attempts boolean,
  by text default null) returns setof bigint
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  letters bigint[];
  lowest bigint;
  highest bigint;
  done record;
begin
  with gone as (delete from weir.job_dead d where d.job_id = any (run_again.job_ids) returning d.job_id)
  select coalesce(array_agg(g.job_id), '{}') into letters from gone g;
  if how = 'redriven' then
    job_ids := letters;
  end if;
  select min(i), max(i) into lowest, highest from unnest(job_ids) i;
  with facts as materialized (
    select j.id, j.priority from weir.job j where j.id = any (run_again.job_ids) and j.id between lowest and highest
  ), took as (
    delete from weir.job_outcome o where o.job_id = any (run_again.job_ids) and o.job_id between lowest and highest
      returning o.*
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select t.job_id, how, t.attempt, 'available', jsonb_strip_nulls(jsonb_build_object('state', t.state, 'started_at',
      t.started_at, 'finished_at', t.finished_at,
      'worker', t.worker, 'error', t.error, 'by', run_again.by, 'reset_attempts', case when reset_attempts
        then true end)) from took t
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    select t.queue_id, f.priority, case when reset_attempts then 0 else t.attempt end, nextval('weir.job_id_seq'),
      t.job_id
    from took t join facts f on f.id = t.job_id order by t.job_id
  )
  select array_agg(t.job_id order by t.job_id) as ids, array_agg(distinct t.queue_id) as queues into done from took t;
  update weir.queue q set deleted_at = null where q.deleted_at is not null and q.id = any (done.queues);
  perform weir.on_jobs_reopened(weir.jobs_with_followers(done.ids));
  perform weir.wake(array(select q.name from weir.queue q where q.id = any (done.queues)));
  return query select unnest(done.ids);
end $$;
comment on function weir.run_again(bigint[], weir.event_kind, boolean, text) is
  'Internal. Runs jobs again that have ended, or with redriven those that are dead letters. Returns the ids of those '
  'that it found so.';

create or replace function weir.retry(job_id bigint, reset_attempts boolean default false) returns text
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  changed jsonb := jsonb_build_object('state', 'available', 'reset_attempts', reset_attempts);
begin
  perform weir.require_job(retry.job_id, '{operator}');
  if not exists (select from weir.job j where j.id = retry.job_id) then
    perform weir.refuse_stale(retry.job_id);
  end if;
  with took as (
    delete from weir.job_scheduled s where s.job_id = retry.job_id returning s.*
  ), told as (
    insert into weir.job_event (job_id, kind, attempt, state, detail)
    select t.job_id, 'retried', t.attempt, 'available', jsonb_build_object('state', case when t.retryable
      then 'retryable' else 'scheduled' end, 'run_at', t.run_at)
      || case when reset_attempts then '{"reset_attempts": true}' else '{}' end::jsonb from took t
  )
  insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
  select t.queue_id, t.priority, case when reset_attempts then 0 else t.attempt end, nextval('weir.job_id_seq'),
    t.job_id from took t;
  if found then
    perform weir.wake(array(select q.name from weir.job j join weir.queue q on q.id = j.queue_id
      where j.id = retry.job_id));
    perform weir.record_change('retryJob', 'jobs/' || retry.job_id, null, changed);
    return 'available';
  end if;
  perform weir.run_again(weir.charge_again(weir.fitting_jobs(array[retry.job_id], false), false), 'retried',
    reset_attempts);
  if not found then
    raise exception using errcode = 'WR005', message = format('job %s neither ended nor waits for a time',
      retry.job_id),
      hint = 'A job that is available or running needs no retry; a held one waits for something else.';
  end if;
  perform weir.record_change('retryJob', 'jobs/' || retry.job_id, null, changed);
  return 'available';
end $$;
comment on function weir.retry(bigint, boolean) is
  'Runs a job again now that ended or waits for a time; same id; its attempts so far are kept unless reset_attempts. '
  'Returns available. Errors: WR002, WR005, WR018, WR019.';
