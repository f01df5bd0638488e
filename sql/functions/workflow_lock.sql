-- The lock of a workflow: its row, after those of its ancestors. The order of all locks is in
-- migrations/0001_schema.sql.

-- Locks: the workflows and their ancestors, in the order of their ids.
create or replace function weir.lock_workflows(ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(ids) i);
  highest bigint := (select max(i) from unnest(ids) i);
  ancestors bigint[] := array(select distinct a from weir.workflow w cross join unnest(w.ancestors) a
    where w.id = any (ids) and w.id between lowest and highest and w.ancestors is not null);
begin
  if ancestors <> '{}' then
    ids := ids || ancestors;
    lowest := least(lowest, (select min(i) from unnest(ancestors) i));
  end if;
  perform from weir.workflow w where w.id = any (ids) and w.id between lowest and highest
  order by w.id for no key update;
end $$;
comment on function weir.lock_workflows(bigint[]) is
  'Internal. Locks workflows and their ancestors, in the order of their ids.';

create or replace function weir.lock_workflows_of(job_ids bigint[]) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  ids bigint[] := array(select distinct x.workflow_id from (select s.workflow_id from weir.workflow_step s
    where s.job_id = any (job_ids) and s.job_id between (select min(i) from unnest(job_ids) i)
      and (select max(i) from unnest(job_ids) i) offset 0) x);
begin
  if ids <> '{}' then
    perform weir.lock_workflows(ids);
  end if;
end $$;
comment on function weir.lock_workflows_of(bigint[]) is
  'Internal. Locks the workflows that these jobs are steps of, and their ancestors.';

create or replace function weir.lock_workflow(workflow_id bigint) returns weir.workflow language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
begin
  perform weir.lock_workflows(array[lock_workflow.workflow_id]);
  select * into w from weir.workflow x where x.id = lock_workflow.workflow_id;
  if not found then
    perform weir.refuse_unknown_workflow(lock_workflow.workflow_id);
  end if;
  return w;
end $$;
comment on function weir.lock_workflow(bigint) is
  'Internal. Locks a workflow and its ancestors, and returns it. Raises WR050.';

create or replace function weir.refuse_unknown_workflow(workflow_id bigint) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR050',
    message = format('there is no workflow %s', refuse_unknown_workflow.workflow_id),
    hint = 'Ids come from weir.submit_workflow. A workflow is deleted when its retention is over.';
end $$;
comment on function weir.refuse_unknown_workflow(bigint) is 'Internal. Raises WR050 workflow_not_found.';

create or replace function weir.refuse_ended_workflow(w weir.workflow) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR051',
    message = format('workflow %s %s', w.id,
      case when w.finished_at is null then 'is stopping' else 'is over: it is ' || w.state end),
    hint = 'Nothing was changed. weir.retry_workflow runs a workflow again that failed or was cancelled.';
end $$;
comment on function weir.refuse_ended_workflow(weir.workflow) is 'Internal. Raises WR051 workflow_ended.';
