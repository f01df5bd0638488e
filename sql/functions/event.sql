-- What happened lately, for those who watch. Nothing is written for them: the facts, leases, outcomes and events say when they came about.
--

-- A row has a time from before its commit, so "what is later than what I have seen" misses rows. Who looks again and again reads weir.settled first,
-- then what came after the settled_at of the time before, and leaves out what it knows.
create or replace function weir.events_since(after_at timestamptz, after_id bigint, most int default null)
returns table (at timestamptz, event text, job_id bigint, queue text, kind text, attempt smallint, worker text, run_at timestamptz, error jsonb, workflow_id bigint, step text)
language plpgsql stable set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
begin
  return query
  with moments as materialized (
    select j.created_at as at, 'enqueued' as event, j.id as job_id, 0::smallint as attempt, null::text as worker, j.run_at, null::jsonb as error
    from weir.job j where j.id > after_id and j.created_at > after_at
    union all
    select l.leased_at, 'started', l.job_id, l.attempt, l.worker, null, null
    from weir.job_lease l where l.expires_at > after_at and l.leased_at > after_at
    union all
    select e.at, e.kind::text, e.job_id, e.attempt, e.worker, e.run_at, case when e.kind in ('failed', 'timed_out', 'lost') then e.detail end
    from weir.job_event e where e.at > after_at
    union all
    select o.finished_at, o.state::text, o.job_id, o.attempt, o.worker, null, o.error
    from weir.job_outcome o where o.finished_at > after_at
  )
  select * from (
    select m.at, m.event, m.job_id, q.name as queue, j.kind, m.attempt, m.worker, m.run_at, m.error, j.workflow_id, j.step
    from moments m
    join weir.job j on j.id = m.job_id
    join weir.queue q on q.id = j.queue_id
    union all
    select w.created_at, 'workflow_submitted', null, null, null, null, null, null, null, w.id, null from weir.workflow w where w.id > after_id and w.created_at > after_at
    union all
    select e.at, 'workflow_' || e.event, null, null, null, null, null, null, null, e.workflow_id, e.name from weir.workflow_event e where e.at > after_at
    union all
    select w.finished_at, 'workflow_' || w.state, null, null, null, null, null, null, w.failure, w.id, null from weir.workflow w where w.finished_at > after_at
  ) x order by x.at limit most;
end $$;
comment on function weir.events_since(timestamptz, bigint, int) is
  'What happened to jobs after a time, oldest first: enqueued (only ids above after_id), started (while it still runs), completed, cancelled, dead, or a weir.event_kind; and to workflows (then there is no job): workflow_submitted, workflow_completed, workflow_failed, workflow_cancelled, or one of weir.workflow_event. '
  'most: return no more than so many; null: all.';
