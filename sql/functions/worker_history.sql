-- What workers did: the attempts that they ended, read from outcomes and events.

-- What ended in a span of time is found by the BRIN indexes on finished_at and at, so a call reads what all workers
-- ended in that span.
create or replace function weir.worker_history(worker text, since timestamptz default now() - interval '1 hour',
  before timestamptz default 'infinity', before_job bigint default null, max_rows int default 100)
returns table (job_id bigint, kind text, queue text, attempt smallint, outcome text, started_at timestamptz,
  ended_at timestamptz, error text)
language plpgsql stable set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
begin
  return query
  select h.job_id, (select j.kind from weir.job j where j.id = h.job_id),
    (select q.name from weir.queue q where q.id = (select j.queue_id from weir.job j where j.id = h.job_id)),
      h.attempt, h.outcome, h.started_at, h.ended_at, h.error
  from (
    (select o.job_id, o.attempt, 'completed' as outcome, o.started_at, o.finished_at as ended_at, null::text as error
      from weir.job_outcome o
     where o.finished_at >= since and o.finished_at <= before and o.worker = worker_history.worker
       and o.state = 'completed'
       and (before_job is null or (o.finished_at, o.job_id) < (before, before_job))
     order by o.finished_at desc, o.job_id desc limit max_rows)
    union all
    (select e.job_id, e.attempt, e.kind::text, e.started_at, e.at, left(e.detail ->> 'message', 200)
      from weir.job_event e
     where e.at >= since and e.at <= before and e.worker = worker_history.worker and e.started_at is not null
       and (before_job is null or (e.at, e.job_id) < (before, before_job))
     order by e.at desc, e.job_id desc limit max_rows)) h
  order by h.ended_at desc, h.job_id desc limit max_rows;
end $$;
comment on function weir.worker_history(text, timestamptz, timestamptz, bigint, int) is
  'Attempts of this worker that ended from since to before (with before_job: before that job of that moment), newest '
  'first: completed, failed, timed_out, lost, snoozed or released. Reads everything that ended in that time and what '
  'has not been vacuumed since: about a second for five million attempts.';

create or replace function weir.worker_stats(span interval default '1 hour', only_worker text default null)
returns table (worker text, completed bigint, failed bigint, busy interval) language plpgsql stable set jit = off
  set enable_seqscan = off as $$
#variable_conflict use_column
declare
  now_at timestamptz := clock_timestamp();
  since timestamptz := now_at - span;
begin
  return query
  select a.worker, sum(a.completed)::bigint, sum(a.failed)::bigint, sum(a.until - greatest(a.started_at, since)) from (
    select o.worker, 1 as completed, 0 as failed, o.started_at, o.finished_at as until from weir.job_outcome o
      where o.finished_at > since and o.state = 'completed'
      and (only_worker is null or o.worker = only_worker)
    union all
    select e.worker, 0, case when e.kind in ('failed', 'timed_out', 'lost') then 1 else 0 end, e.started_at, e.at
      from weir.job_event e
      where e.at > since and e.started_at is not null and (only_worker is null or e.worker = only_worker)
    union all
    select l.worker, 0, 0, l.leased_at, greatest(now_at, l.leased_at) from weir.job_lease l where only_worker is null
      or l.worker = only_worker) a
  where a.worker is not null group by a.worker;
end $$;
comment on function weir.worker_stats(interval, text) is
  'For each worker, or one: attempts completed and failed (timed out and lost ones included) in the last span, and '
  'the sum of the time that its attempts ran in it. Reads everything that ended in that time and what has not been '
  'vacuumed since: about a second for a million attempts.';
