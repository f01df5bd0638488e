-- Inspecting workflows: why a step waits, the timeline of a workflow, and the check of all invariants.

create or replace function weir.why_held(job_id bigint) returns text language sql stable set jit = off as $$
  select case when s.compensates is not null then 'it is a compensation, and runs when its workflow compensates'
    else format('it waits for %s of the %s steps that it depends on', count(*), s.dependencies)
      || case s.needs when 'any' then ', for one to complete' when 'ended' then ', to end' else ', to complete' end
      || ': ' || string_agg(p.name, ', ' order by d.n) filter (where d.n <= 10)
      || case when max(d.n) > 10 then ', …' else '' end end
  from weir.workflow_step s
  left join lateral (
    select x.id, row_number() over (order by x.n) as n from unnest(s.depends_on) with ordinality x(id, n)
    where not exists (select from weir.job_outcome o where o.job_id = x.id)) d on true
  left join weir.workflow_step p on p.job_id = d.id
  where s.job_id = why_held.job_id group by s.job_id, s.compensates, s.dependencies, s.needs
$$;
comment on function weir.why_held(bigint) is
  'Internal. Says in words what a step waits for that is held for a dependency.';

-- Reads the events of every step, so it is meant for inspecting one workflow, not for monitoring many.
create or replace function weir.workflow_timeline(workflow_id bigint)
returns table (at timestamptz, event text, step text, job_id bigint, attempt smallint, worker text, cause text,
  run_at timestamptz, detail jsonb)
language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  w weir.workflow;
begin
  select * into w from weir.workflow x where x.id = workflow_timeline.workflow_id;
  if not found then
    perform weir.refuse_unknown_workflow(workflow_timeline.workflow_id);
  end if;
  return query
  select m.at, m.event, m.step, m.job_id, m.attempt, m.worker, m.cause, m.run_at, m.detail
  from (
    select w.created_at as at, 'workflow_submitted' as event, null::text as step, null::bigint as job_id,
      null::smallint as attempt, null::text as worker, null::text as cause, w.deadline_at as run_at,
      jsonb_strip_nulls(jsonb_build_object('name', w.name, 'steps', w.steps, 'forked_from', w.forked_from::text,
        'parent_job_id', w.parent_job_id::text)) as detail, 0::bigint as n
    union all
    select e.at, 'workflow_' || e.event, e.name, null, null, null, null, null, e.detail, 0
    from weir.workflow_event e where e.workflow_id = w.id
    union all
    select w.finished_at, 'workflow_' || w.state, null, null, null, null, null, null, w.failure, 0
    where w.finished_at is not null
    union all
    select t.at, t.event, s.name, s.job_id, t.attempt, t.worker, t.cause, t.run_at, t.detail, t.n
    from weir.workflow_step s
      cross join lateral weir.timeline(s.job_id) with ordinality
        t(at, event, attempt, worker, cause, run_at, detail, n)
    where s.workflow_id = w.id
  ) m
  order by m.at, case m.event when 'workflow_submitted' then 0 when 'workflow_' || w.state then 2 else 1 end,
    m.job_id, m.n;
end $$;
comment on function weir.workflow_timeline(bigint) is
  'What happened to a workflow and its jobs, in order: workflow_submitted, workflow_completed, workflow_failed, '
  'workflow_cancelled, workflow_ and the event of each row of weir.workflow_event (step: its step, or the name of '
  'the signal), and the rows of weir.timeline of each step. Errors: WR050.';

-- Planned at each call, because with and without an id it is a different statement.
create or replace function weir.check_workflows(workflow_id bigint default null)
returns table (id bigint, step text, problem text) language plpgsql stable
set jit = off set plan_cache_mode = force_custom_plan set enable_seqscan = on set enable_hashjoin = on
set enable_mergejoin = on as $$
#variable_conflict use_column
begin
  -- One workflow is read through its steps, whatever the planner estimates. These settings end with the function.
  if check_workflows.workflow_id is not null then
    perform set_config(x, 'off', true) from unnest(array['enable_seqscan', 'enable_hashjoin', 'enable_mergejoin']) x;
  end if;
  return query
  with w as materialized (
    select x.* from weir.workflow x where check_workflows.workflow_id is null or x.id = check_workflows.workflow_id
  ), s as materialized (  -- steps, with how they ended
    select x.*, o.state as ended_as, o.job_id is not null as ended, o.error ->> 'type' as error_type, h.reason, h.key
    from weir.workflow_step x
      left join weir.job_outcome o on o.job_id = x.job_id
      left join weir.job_held h on h.job_id = x.job_id
    where x.workflow_id in (select w.id from w)
      and (check_workflows.workflow_id is null or x.workflow_id = check_workflows.workflow_id)
  ), d as materialized (  -- how the dependencies of each step ended; unlinked: those that do not list it as a child
    select s.job_id, count(*) filter (where p.ended_as = 'completed') as completed,
      count(*) filter (where p.ended and p.ended_as <> 'completed') as failed,
      count(*) filter (where not p.ended) as open,
      count(*) filter (where not s.job_id = any (p.children)) as unlinked
    from s cross join unnest(s.depends_on) x(id) join s p on p.job_id = x.id group by s.job_id
  ), c as materialized (  -- counts of each workflow
    select s.workflow_id, count(*) filter (where s.compensates is null and not s.ended) as open,
      count(*) filter (where s.is_last and not s.ended) as open_last, count(*) filter (where not s.ended) as all_open,
      count(*) filter (where s.compensates is null and s.ended_as = 'dead') as dead,
      count(*) filter (where s.compensates is null) as steps
    from s group by s.workflow_id
  )
  select s.workflow_id, s.name, 'is held although its condition holds, or can no longer hold'
  from s left join d on d.job_id = s.job_id
  where s.reason = 'dependency' and s.compensates is null and (coalesce(d.open, 0) = 0
    or s.needs = 'completed' and d.failed > 0 or s.needs = 'any' and d.completed > 0)
  union all
  select s.workflow_id, s.name, 'was released before its condition held'
  from s join d on d.job_id = s.job_id
  where s.reason is distinct from 'dependency' and s.ended_as is distinct from 'cancelled'
    and case s.needs when 'completed' then d.failed + d.open > 0 when 'ended' then d.open > 0 else d.completed = 0 end
    -- unless it, or a step that it depends on, was retried alone
    and not exists (select from weir.job_event e
      where e.job_id = any (s.depends_on || s.job_id) and e.kind in ('retried', 'redriven'))
  union all
  select s.workflow_id, s.name, format('waits for %s steps, but weir.workflow_join says %s', d.open,
    coalesce(j.waits_for::text, 'none'))
  from s join d on d.job_id = s.job_id left join weir.workflow_join j on j.job_id = s.job_id
  where s.reason = 'dependency' and s.dependencies > 1 and j.waits_for is distinct from d.open
  union all
  select s.workflow_id, s.name, 'has a row in weir.workflow_join, but is not held for a dependency'
  from weir.workflow_join j join s on s.job_id = j.job_id where s.reason is distinct from 'dependency'
  union all
  select s.workflow_id, s.name, 'is held for a signal or a time, but has no row in weir.workflow_wait'
  from s where s.reason in ('signal', 'timer') and not exists (select from weir.workflow_wait x
    where x.job_id = s.job_id and x.workflow_id = s.workflow_id and (s.reason = 'signal') = (x.signal is not null))
  union all
  select s.workflow_id, s.name, 'waits for a signal that has come'
  from s where s.reason = 'signal' and exists (select from weir.workflow_event e
    where e.workflow_id = s.workflow_id and e.event = 'signal' and e.name = s.key)
  union all
  select s.workflow_id, s.name, 'has a row in weir.workflow_wait, but is not held for a signal or a time'
  from weir.workflow_wait x join s on s.job_id = x.job_id
  where s.reason is distinct from 'signal' and s.reason is distinct from 'timer'
  union all
  select s.workflow_id, s.name, 'waits for a child workflow that has ended or does not exist'
  from s where s.reason = 'workflow' and not exists (select from weir.workflow x
    where x.id = s.key::bigint and x.finished_at is null and x.parent_job_id = s.job_id)
  union all
  select s.workflow_id, s.name, 'depends on a step that does not list it as a child'
  from s join d on d.job_id = s.job_id where d.unlinked > 0
  union all
  select s.workflow_id, s.name, format('has %s dependencies, but says %s', cardinality(s.depends_on), s.dependencies)
  from s where s.dependencies <> cardinality(s.depends_on)
  union all
  select s.workflow_id, s.name, 'has no job, or one with another workflow or step name'
  from s left join weir.job j on j.id = s.job_id
  where j.workflow_id is distinct from s.workflow_id or j.step is distinct from s.name
  union all
  select w.id, null, format('is %s, but all its steps have ended', w.state)
  from w join c on c.workflow_id = w.id
  where w.finished_at is null and c.open = 0 and (w.state <> 'compensating' or c.all_open = 0)
  union all
  select w.id, null, format('is over (%s), but %s of its steps have not ended', w.state, c.all_open)
  from w join c on c.workflow_id = w.id where w.finished_at is not null and c.all_open > 0
  union all
  select w.id, null, format('is completed, but %s of its steps are dead', c.dead)
  from w join c on c.workflow_id = w.id where w.state = 'completed' and c.dead > 0
  union all
  select w.id, null, 'failed without a reason' from w where w.state = 'failed' and w.failure is null
  union all
  select w.id, null, format('waits for %s steps, but says %s',
    case when w.counts_all then c.open else c.open_last end, w.waits_for)
  from w join c on c.workflow_id = w.id
  where w.finished_at is null and w.waits_for <> case when w.counts_all then c.open else c.open_last end
  union all
  select w.id, null, format('has %s steps, but says %s', c.steps, w.steps)
  from w join c on c.workflow_id = w.id where w.steps <> c.steps;
end $$;
comment on function weir.check_workflows(bigint) is
  'A row for each broken invariant of one workflow, or of all (null): each step is released exactly when its '
  'condition holds, the counts are right, and the state of a workflow follows from its steps. No row: all is in '
  'order. Reads every step that is kept.';
