-- workflow_lock

-- Locks: the workflows and those that they belong to, in the order of their ids.
create or replace function weir.lock_workflows(ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(ids) i);
  highest bigint := (select max(i) from unnest(ids) i);
  above bigint[] := array(select distinct a from weir.workflow w cross join unnest(w.ancestors) a where w.id = any (ids) and w.id between lowest and highest and w.ancestors is not null);
begin
  if above <> '{}' then
    ids := ids || above;
    lowest := least(lowest, (select min(i) from unnest(above) i));
  end if;
  perform from weir.workflow w where w.id = any (ids) and w.id between lowest and highest order by w.id for no key update;
end $$;

create or replace function weir.lock_workflows_of(job_ids bigint[]) returns void language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  ids bigint[] := array(select distinct x.workflow_id from (select s.workflow_id from weir.workflow_step s where s.job_id = any (job_ids)
    and s.job_id between (select min(i) from unnest(job_ids) i) and (select max(i) from unnest(job_ids) i) offset 0) x);
begin
  if ids <> '{}' then
    perform weir.lock_workflows(ids);
  end if;
end $$;

create or replace function weir.lock_workflow(workflow_id bigint) returns weir.workflow language plpgsql set jit = off set enable_seqscan = off as $$
declare
  w weir.workflow;
begin
  perform weir.lock_workflows(array[lock_workflow.workflow_id]);
  select * into w from weir.workflow x where x.id = lock_workflow.workflow_id;
  if not found then
    perform weir.refuse_no_workflow(lock_workflow.workflow_id);
  end if;
  return w;
end $$;

create or replace function weir.refuse_no_workflow(workflow_id bigint) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR050', message = format('there is no workflow %s', refuse_no_workflow.workflow_id),
    hint = 'Ids come from weir.submit_workflow. Workflows go when their retention is over.';
end $$;

create or replace function weir.refuse_over(w weir.workflow) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR051', message = format('workflow %s %s', w.id, case when w.finished_at is null then 'is being stopped' else 'is over: it is ' || w.state end),
    hint = 'Nothing was changed. weir.retry_workflow runs one again that failed or was cancelled.';
end $$;
comment on function weir.lock_workflows(bigint[]) is 'Internal. Locks workflows, and those that they belong to, in the order of their ids.';
comment on function weir.lock_workflows_of(bigint[]) is 'Internal. The same for the workflows of jobs.';
comment on function weir.lock_workflow(bigint) is 'Internal. The same for one, which it returns. Raises WR050.';
comment on function weir.refuse_no_workflow(bigint) is 'Internal. Raises WR050 workflow_not_found.';
comment on function weir.refuse_over(weir.workflow) is 'Internal. Raises WR051 workflow_ended.';
