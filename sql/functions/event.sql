-- Recent events, read from facts, leases, outcomes and events, which all carry their times. Nothing is written for
-- readers.

-- A row's time is from before its commit, so "everything later than what I have seen" misses rows. A reader that
-- polls reads weir.settled first, then what came after the settled_at of the time before, and leaves out what it
-- knows.
--
-- A page ends where `most` or `most_bytes` cuts it. The next one starts at the time of its last row, with the key of
-- that row: the id of the job or workflow, the event, the attempt and the step, if there is one, with spaces between.
create or replace function weir.events_since(after_at timestamptz, after_id bigint, most int default null,
  until_at timestamptz default 'infinity', after_key text default null,
  filter jsonb default '{}', most_bytes int default null)
returns table (at timestamptz, event text, job_id bigint, queue text, kind text, attempt smallint, worker text,
  run_at timestamptz, error jsonb, workflow_id bigint, step text, tenant text)
language plpgsql stable set jit = off set enable_seqscan = off set enable_hashjoin = off
  set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  low timestamptz := case when after_key is null then after_at else after_at - interval '1 us' end;
  of_job bigint := (filter ->> 'job_id')::bigint;
  of_workflow bigint := (filter ->> 'workflow_id')::bigint;
  of_queue text := filter ->> 'queue';
  of_kind text := filter ->> 'kind';
  bounds jsonb := filter -> 'bounds';
  among text[] := array(select jsonb_array_elements_text(filter -> 'events'));
  -- otherwise no event of a workflow matches
  of_jobs boolean := of_job is null and of_queue is null and of_kind is null and bounds -> 'queues' is null;
begin
  if cardinality(among) = 0 then
    among := null;
  end if;
  return query
  with moments as materialized (
    select j.created_at as at, 'enqueued' as event, j.id as job_id, 0::smallint as attempt, null::text as worker,
      j.run_at, null::jsonb as error
    from weir.job j where j.id > after_id and j.created_at > low and j.created_at <= until_at
      and (of_job is null or j.id = of_job)
    union all
    select l.leased_at, 'started', l.job_id, l.attempt, l.worker, null, null
    from weir.job_lease l where l.expires_at > low and l.leased_at > low and l.leased_at <= until_at
      and (of_job is null or l.job_id = of_job)
    union all
    select e.at, e.kind::text, e.job_id, e.attempt, e.worker, e.run_at, case
      when e.kind in ('failed', 'timed_out', 'lost') then e.detail end
    from weir.job_event e where e.at > low and e.at <= until_at and (of_job is null or e.job_id = of_job)
    union all
    select o.finished_at, o.state::text, o.job_id, o.attempt, o.worker, null, o.error
    from weir.job_outcome o where o.finished_at > low and o.finished_at <= until_at
      and (of_job is null or o.job_id = of_job)
  ), of_workflows as materialized (
    select w.created_at as at, 'workflow_submitted' as event, null::jsonb as error, w.id as workflow_id,
      null::text as step, w.tenant
    from weir.workflow w where w.id > after_id and w.created_at > low and w.created_at <= until_at
    union all
    select e.at, 'workflow_' || e.event, null, e.workflow_id, e.name,
      (select w.tenant from weir.workflow w where w.id = e.workflow_id)
    from weir.workflow_event e where e.at > low and e.at <= until_at
    union all
    select w.finished_at, 'workflow_' || w.state, w.failure, w.id, null, w.tenant from weir.workflow w
      where w.finished_at > low
      and w.finished_at <= until_at
  ), passing as (
    select m.at, m.event, m.job_id, q.name as queue, j.kind, m.attempt, m.worker, m.run_at, m.error, j.workflow_id,
      j.step, j.tenant
    from moments m
    join weir.job j on j.id = m.job_id
    join weir.queue q on q.id = j.queue_id
    where (among is null or m.event = any (among)) and (of_queue is null or q.name = of_queue)
      and (of_kind is null or j.kind = of_kind)
      and (of_workflow is null or j.workflow_id = of_workflow)
      and (bounds is null or weir.is_within(bounds, j.tenant, q.name, j.principal))
    union all
    select w.at, w.event, null, null, null, null, null, null, w.error, w.workflow_id, w.step, w.tenant
    from of_workflows w
    where of_jobs and (bounds is null or w.tenant = bounds ->> 'tenant') and (among is null or w.event = any (among))
      and (of_workflow is null or w.workflow_id = of_workflow)
  ), page as (
    select p.*, concat_ws(' ', coalesce(p.job_id, p.workflow_id), p.event, coalesce(p.attempt, 0),
      p.step) collate "C" as key from passing p
    where after_key is null or p.at > after_at or concat_ws(' ', coalesce(p.job_id, p.workflow_id), p.event,
      coalesce(p.attempt, 0), p.step) collate "C" > after_key
    order by p.at, key limit most
  ), measured as (
    select p.*, row_number() over (order by p.at, p.key) as n,
      sum(octet_length(p.error::text)) over (order by p.at, p.key rows unbounded preceding) as bytes from page p
  )
  select m.at, m.event, m.job_id, m.queue, m.kind, m.attempt, m.worker, m.run_at, m.error, m.workflow_id, m.step,
    m.tenant from measured m
  where most_bytes is null or m.n = 1 or coalesce(m.bytes, 0) <= most_bytes order by m.at, m.key;
end $$;
comment on function weir.events_since(timestamptz, bigint, int, timestamptz, text, jsonb, int) is
  'What happened to jobs after a time and up to until_at, oldest first: enqueued (only ids above after_id), started '
  '(while it still runs), completed, cancelled, dead, or a weir.event_kind; and to workflows (then there is no job): '
  'workflow_submitted, workflow_completed, workflow_failed, workflow_cancelled, or one of weir.workflow_event. '
  'Of a caller of a node who is bound to queues, no events of workflows. '
  'filter: {queue, kind, job_id, workflow_id, events, bounds (of such a caller)}, all optional. It returns at most '
  '`most` rows, and ends early '
  'after most_bytes of errors; null: no bound. To go on from a row, pass its time and, as after_key, its job (or '
  'else workflow), event, attempt (or else 0) and step (if it has one) with spaces between.';
