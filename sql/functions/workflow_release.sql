-- What follows from the end of a step: which steps may go now, which never will, and whether the workflow is over.
--

-- Called by on_jobs_ended, when what became of the jobs is written. Locks: the workflows of those that are steps.
create or replace function weir.on_steps_ended(job_ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  ids bigint[];
  ended bigint[];
  good boolean[];
  back bigint[];
begin
  -- Fenced (here and below, by OFFSET 0): else an index may be read as a whole for the sake of its order.
  select array_agg(distinct x.workflow_id) into ids from (select s.workflow_id from weir.workflow_step s where s.job_id = any (job_ids) and s.job_id between lowest and highest offset 0) x;
  if ids is null then
    return;
  end if;
  lock table weir.job_ready in row exclusive mode;  -- before a number is drawn: see 0005_frontier.sql
  perform weir.lock_workflows(ids);
  select array_agg(o.job_id), array_agg(o.state = 'completed') into ended, good from weir.job_outcome o where o.job_id = any (job_ids) and o.job_id between lowest and highest;
  if coalesce(cardinality(ended), 0) < cardinality(job_ids) then
    -- Of those that go back to waiting, none stays that belongs to a workflow which is to stop.
    back := array(select s.job_id from weir.workflow_step s where s.job_id = any (job_ids) and s.job_id <> all (coalesce(ended, '{}')) and s.compensates is null
      and s.workflow_id in (select w.id from weir.workflow w where w.id = any (ids) and w.state in ('stopping', 'compensating')));
    if back <> '{}' then
      back := weir.take_steps(back, '{"type": "stopped", "message": "its workflow was stopped"}');
      ended := ended || back;
      good := good || array_fill(false, array[cardinality(back)]);
    end if;
  end if;
  if ended is not null then
    perform weir.follow_steps(ended, good);
  end if;
end $$;

-- The one place where steps are let go and skipped, and workflows end. The workflows are locked. ended: steps that ended, and whether well;
-- go and go_special: held steps whose condition holds, the plain ones and the others; skip: held ones whose condition cannot hold any more, and why.
create or replace function weir.follow_steps(ended bigint[], good boolean[], go bigint[] default '{}', go_special bigint[] default '{}', skip bigint[] default '{}', blame text[] default '{}')
returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  everything bigint[] := '{}';
  fine boolean := true;
  died bigint[] := '{}';
  kids record;
  verdict record;
  joins record;
  woken int[] := '{}';
  freed record;
  lowest bigint;
  highest bigint;
  one bigint;
  stop record;
  over record;
begin
  loop
    if ended <> '{}' then
      everything := everything || ended;
      fine := fine and true = all (good);
      select min(i), max(i) into lowest, highest from unnest(ended) i;
      -- Whom it concerns, and how many of the ones it waits for ended well and otherwise.
      with e as materialized (
        select s.job_id, s.name, s.children from weir.workflow_step s where s.job_id = any (ended) and s.job_id between lowest and highest
      ), k as materialized (
        select c.id, count(*) filter (where g.good)::int as well, count(*) filter (where not g.good)::int as ill, min(e.name) filter (where not g.good) as blame
        from e join unnest(ended, good) g(id, good) on g.id = e.job_id cross join lateral unnest(e.children) c(id) group by c.id
      )
      select array_agg(k.id) as ids, array_agg(k.well) as well, array_agg(k.ill) as ill, array_agg(k.blame) as blame, min(k.id) as lowest, max(k.id) as highest into kids from k;
      if kids.ids is not null then
        with s as materialized (
          select s.job_id, s.needs, s.dependencies, s.plain from weir.workflow_step s where s.job_id = any (kids.ids) and s.job_id between kids.lowest and kids.highest
        ), v as materialized (
          select s.*, k.well + k.ill as n, k.blame,
            case when s.needs = 'completed' and k.ill > 0 or s.needs = 'any' and s.dependencies = 1 and k.well = 0 then 'skip'
              when s.needs = 'any' and k.well > 0 or s.dependencies = 1 then 'go' else 'count' end as what
          from s join unnest(kids.ids, kids.well, kids.ill, kids.blame) k(id, well, ill, blame) on k.id = s.job_id
        )
        select array_agg(v.job_id) filter (where v.what = 'go' and v.dependencies = 1 and v.plain) as go, array_agg(v.job_id) filter (where v.what = 'go' and v.dependencies = 1 and not v.plain) as go_special,
          array_agg(v.job_id) filter (where v.what = 'skip' and v.dependencies = 1) as skip, array_agg(v.blame) filter (where v.what = 'skip' and v.dependencies = 1) as blame,
          array_agg(v.job_id) filter (where v.dependencies > 1) as joins, array_agg(v.n) filter (where v.dependencies > 1) as n, array_agg(v.what) filter (where v.dependencies > 1) as what,
          array_agg(v.plain) filter (where v.dependencies > 1) as plain, array_agg(v.needs) filter (where v.dependencies > 1) as needs, array_agg(v.blame) filter (where v.dependencies > 1) as blames
          into verdict from v;
        go := go || coalesce(verdict.go, '{}');
        go_special := go_special || coalesce(verdict.go_special, '{}');
        skip := skip || coalesce(verdict.skip, '{}');
        blame := blame || coalesce(verdict.blame, '{}');
        if verdict.joins is not null then
          -- One update for each that goes on waiting, however many of those it waits for ended in this call. What is decided has no row any more.
          with given as materialized (
            select * from unnest(verdict.joins, verdict.n, verdict.what, verdict.plain, verdict.needs, verdict.blames) g(id, n, what, plain, needs, blame)
          ), counted as (
            update weir.workflow_join j set waits_for = j.waits_for - g.n from given g
            where g.id = j.job_id and g.what = 'count' and j.job_id = any (verdict.joins) and j.waits_for > g.n
          ), gone as (
            delete from weir.workflow_join j using given g where g.id = j.job_id and j.job_id = any (verdict.joins) and (g.what <> 'count' or j.waits_for <= g.n)
            returning g.id, g.plain, case when g.what = 'skip' or g.what = 'count' and g.needs = 'any' then 'skip' else 'go' end as what, g.blame
          )
          select coalesce(array_agg(x.id) filter (where x.what = 'go' and x.plain), '{}') as go, coalesce(array_agg(x.id) filter (where x.what = 'go' and not x.plain), '{}') as go_special,
            coalesce(array_agg(x.id) filter (where x.what = 'skip'), '{}') as skip, coalesce(array_agg(x.blame) filter (where x.what = 'skip'), '{}') as blame into joins from gone x;
          go := go || joins.go;
          go_special := go_special || joins.go_special;
          skip := skip || joins.skip;
          blame := blame || joins.blame;
        end if;
      end if;
      if not fine then
        died := died || array(select o.job_id from weir.job_outcome o where o.job_id = any (ended) and o.job_id between lowest and highest and o.state = 'dead');
        delete from weir.workflow_join x where x.job_id = any (ended);  -- cancelled while they waited for others,
        delete from weir.workflow_wait x where x.job_id = any (ended);  -- for a signal or a time,
        for over in select x.id from unnest(ended) e(id)
          cross join lateral (select w.id, w.finished_at from weir.workflow w where w.parent_job_id = e.id offset 0) x where x.finished_at is null order by x.id loop  -- or for a workflow
          perform weir.cancel_locked(over.id, '{"type": "cancelled", "message": "the step that waited for it was cancelled"}', false);
        end loop;
      end if;
    end if;
    ended := '{}';
    good := '{}';

    if go <> '{}' then
      with freed as (
        delete from weir.job_held h where h.job_id = any (go) and h.reason = 'dependency' returning h.job_id, h.queue_id, h.priority, h.attempt
      ), ready as (
        insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
        select o.queue_id, o.priority, o.attempt, nextval('weir.job_id_seq'), o.job_id from (select * from freed f order by f.job_id) o
      )
      select array_agg(distinct f.queue_id) as queues into freed from freed f;
      woken := woken || freed.queues;
      go := '{}';
    end if;
    if go_special <> '{}' then
      foreach one in array go_special loop
        if weir.begin_wait(one) then
          ended := ended || one;
          good := good || true;
        end if;
      end loop;
      go_special := '{}';
    end if;
    if skip <> '{}' then
      with gone as (
        delete from weir.job_held h where h.job_id = any (skip) and h.reason = 'dependency' returning h.job_id, h.queue_id, h.attempt
      ), skipped as (
        insert into weir.job_outcome as o (job_id, queue_id, state, attempt, error)
        select g.job_id, g.queue_id, 'cancelled', g.attempt, jsonb_build_object('type', 'skipped', 'message', format('step %s, which it depends on, did not complete', b.blame))
        from gone g join unnest(skip, blame) b(id, blame) on b.id = g.job_id
        returning o.job_id
      )
      select ended || coalesce(array_agg(s.job_id), '{}'), good || coalesce(array_agg(false), '{}') into ended, good from skipped s;
      skip := '{}';
      blame := '{}';
    end if;
    continue when ended <> '{}';

    -- What died may stop its workflow, and so end more steps.
    exit when died = '{}';
    select min(i), max(i) into lowest, highest from unnest(died) i;
    for stop in
      select distinct on (w.id) w.id, s.name, o.error ->> 'message' as message, coalesce(s.on_failure, w.on_failure) = 'compensate' as compensates
      from (select x.* from weir.workflow_step x where x.job_id = any (died) and x.job_id between lowest and highest offset 0) s
        join weir.workflow w on w.id = s.workflow_id join weir.job_outcome o on o.job_id = s.job_id
      where o.job_id = any (died) and o.job_id between lowest and highest
        and w.id = any (array(select x.workflow_id from weir.workflow_step x where x.job_id = any (died) and x.job_id between lowest and highest))
        and w.state = 'running' and coalesce(s.on_failure, w.on_failure) <> 'continue'
      order by w.id, coalesce(s.on_failure, w.on_failure) <> 'compensate', o.finished_at
    loop
      ended := ended || weir.stop_workflow(stop.id, 'failed',
        jsonb_build_object('type', 'step', 'step', stop.name, 'message', left(format('step %s is dead: %s', stop.name, stop.message), 1000)), stop.compensates, false);
    end loop;
    good := array_fill(false, array[cardinality(ended)]);
    died := '{}';
    exit when ended = '{}';
  end loop;

  if woken <> '{}' then
    perform weir.wake(array(select q.name from weir.queue q where q.id = any (woken)));
  end if;
  if everything = '{}' then
    return;
  end if;
  select min(i), max(i) into lowest, highest from unnest(everything) i;
  select array_agg(c.id) as ids, array_agg(c.n) as n, array_agg(c.lasts) as lasts into stop
  from (select s.workflow_id as id, count(*) filter (where s.compensates is null)::int as n, count(*) filter (where s.is_last)::int as lasts
        from (select x.workflow_id, x.compensates, x.is_last from weir.workflow_step x where x.job_id = any (everything) and x.job_id between lowest and highest offset 0) s group by s.workflow_id) c;
  if not fine then
    perform weir.count_exactly(stop.ids, everything);
  end if;
  -- Over: at once where every step completed, which needs no look at them; else finish_workflow says how.
  for over in
    update weir.workflow w set
      waits_for = w.waits_for - case when w.exact then c.n else c.lasts end,
      state = case when w.waits_for = c.lasts and not w.exact and not w.compensable and w.state = 'running' then 'completed' else w.state end,
      finished_at = case when w.waits_for = c.lasts and not w.exact and not w.compensable and w.state = 'running' then clock_timestamp() end,
      completed = case when w.waits_for = c.lasts and not w.exact and not w.compensable and w.state = 'running' then w.steps end,
      dead = case when w.waits_for = c.lasts and not w.exact and not w.compensable and w.state = 'running' then 0 end,
      cancelled = case when w.waits_for = c.lasts and not w.exact and not w.compensable and w.state = 'running' then 0 end
    from unnest(stop.ids, stop.n, stop.lasts) c(id, n, lasts)
    where c.id = w.id and w.id = any (stop.ids) and w.finished_at is null and (c.lasts > 0 or w.exact or w.state = 'compensating')
    returning w.id, w.waits_for, w.state, w.parent_job_id
  loop
    if over.state <> 'completed' and (over.waits_for = 0 or over.state = 'compensating') then
      perform weir.finish_workflow(over.id);
    elsif over.state = 'completed' and over.parent_job_id is not null then
      perform weir.child_ended(over.id);
    end if;
  end loop;
end $$;

-- Some step of these locked workflows did not complete: from now on all steps are counted. just_ended: those that are yet to be counted off.
create or replace function weir.count_exactly(ids bigint[], just_ended bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  lowest bigint := (select min(i) from unnest(just_ended) i);
  highest bigint := (select max(i) from unnest(just_ended) i);
begin
  ids := array(select i from unnest(ids) i where i in (
    select x.workflow_id from (select s.workflow_id, s.job_id from weir.workflow_step s where s.job_id = any (just_ended) and s.job_id between lowest and highest offset 0) x
    where (select o.state from weir.job_outcome o where o.job_id = x.job_id) <> 'completed'));
  -- Here and elsewhere a single value is asked for, and not whether it exists: for that a whole index may be hashed.
  update weir.workflow w set exact = true, waits_for = (
      select count(*) from weir.workflow_step s where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is null
        and (s.job_id = any (just_ended) or (select o.job_id from weir.job_outcome o where o.job_id = s.job_id) is null))
  where w.id = any (ids) and not w.exact;
end $$;

-- Held steps of locked workflows are weighed by what their dependencies are now, not by what was counted: they were added, or something came back.
create or replace function weir.weigh_steps(job_ids bigint[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  go bigint[];
  go_special bigint[];
  skip bigint[];
  blame text[];
begin
  delete from weir.workflow_join j where j.job_id = any (job_ids);
  with v as materialized (
    select s.job_id, s.plain, s.dependencies, s.needs, d.well, d.ill, d.open, d.blame,
      case when s.needs = 'completed' and d.ill > 0 or s.needs = 'any' and d.well = 0 and d.open = 0 and s.dependencies > 0 then 'skip'
        when d.open = 0 or s.needs = 'any' and d.well > 0 then 'go' end as what
    from weir.job_held h join weir.workflow_step s on s.job_id = h.job_id
    cross join lateral (
      select count(*) filter (where o.state = 'completed') as well, count(*) filter (where o.state <> 'completed') as ill, count(*) filter (where o.job_id is null) as open,
        (select p.name from weir.workflow_step p where p.job_id = min(x.id) filter (where o.state <> 'completed')) as blame
      from unnest(s.depends_on) x(id) left join lateral (select p.job_id, p.state from weir.job_outcome p where p.job_id = x.id offset 0) o on true
    ) d
    where h.job_id = any (job_ids) and h.reason = 'dependency' and s.compensates is null
  ), joins as (
    insert into weir.workflow_join (job_id, waits_for) select v.job_id, v.open from v where v.what is null and v.dependencies > 1
  )
  select coalesce(array_agg(v.job_id) filter (where v.what = 'go' and v.plain), '{}'), coalesce(array_agg(v.job_id) filter (where v.what = 'go' and not v.plain), '{}'),
    coalesce(array_agg(v.job_id) filter (where v.what = 'skip'), '{}'), coalesce(array_agg(v.blame) filter (where v.what = 'skip'), '{}') into go, go_special, skip, blame from v;
  if go <> '{}' or go_special <> '{}' or skip <> '{}' then
    perform weir.follow_steps('{}', '{}', go, go_special, skip, blame);
  end if;
end $$;

-- A locked workflow of which nothing is left, but perhaps compensations. They run one after the other, beginning with that of the step that completed last.
create or replace function weir.finish_workflow(workflow_id bigint) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  w weir.workflow;
  comps bigint[];
  idle bigint[];
  next bigint;
  ends record;
begin
  select * into w from weir.workflow x where x.id = workflow_id;
  if w.finished_at is not null or w.waits_for > 0 then
    return;
  end if;
  if w.compensable then
    comps := array(select s.job_id from weir.workflow_step s where s.workflow_id = w.id and s.job_id between w.id and w.last_id and s.compensates is not null);
    idle := array(select h.job_id from weir.job_held h where h.job_id = any (comps) and h.reason = 'dependency');
    if w.compensates then
      if exists (select from unnest(comps) c where c <> all (idle) and not exists (select from weir.job_outcome o where o.job_id = c)) then
        return;  -- one is under way
      end if;
      next := (select s.job_id from weir.workflow_step s join weir.job_outcome o on o.job_id = s.compensates
        where s.job_id = any (idle) and o.state = 'completed' order by o.finished_at desc, o.job_id desc limit 1);
      if next is not null then
        if w.state <> 'compensating' then
          update weir.workflow x set state = 'compensating', stopped_at = coalesce(x.stopped_at, clock_timestamp()) where x.id = w.id;
          insert into weir.workflow_event (workflow_id, event) values (w.id, 'compensating');
        end if;
        perform weir.follow_steps('{}', '{}', case when s.plain then array[next] else '{}' end, case when s.plain then '{}' else array[next] end) from weir.workflow_step s where s.job_id = next;
        return;
      end if;
    end if;
    with gone as (delete from weir.job_held h where h.job_id = any (idle) returning h.*)
    insert into weir.job_outcome (job_id, queue_id, state, attempt, error)
    select g.job_id, g.queue_id, 'cancelled', g.attempt, '{"type": "skipped", "message": "there was nothing to compensate"}' from gone g;
  end if;
  select count(*) filter (where o.state = 'completed' and s.compensates is null) as completed, count(*) filter (where o.state = 'dead' and s.compensates is null) as dead,
    count(*) filter (where o.state = 'cancelled' and s.compensates is null) as cancelled, count(*) filter (where o.state = 'dead') as all_dead,
    count(*) filter (where o.state = 'cancelled' and s.compensates is null and o.error ->> 'type' is distinct from 'skipped') as by_hand into ends
  from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id where s.workflow_id = w.id and s.job_id between w.id and w.last_id;
  update weir.workflow x set finished_at = clock_timestamp(), completed = ends.completed, dead = ends.dead, cancelled = ends.cancelled,
    state = coalesce(x.stop_as, case when ends.all_dead > 0 then 'failed' when ends.by_hand > 0 then 'cancelled' else 'completed' end),
    failure = coalesce(x.failure, case when ends.all_dead > 0 then (
      select jsonb_build_object('type', 'step', 'step', s.name, 'message', left(format('step %s is dead: %s', s.name, o.error ->> 'message'), 1000))
      from weir.workflow_step s join weir.job_outcome o on o.job_id = s.job_id where s.workflow_id = w.id and s.job_id between w.id and w.last_id and o.state = 'dead' order by o.finished_at limit 1) end)
  where x.id = w.id;
  if w.parent_job_id is not null then
    perform weir.child_ended(w.id);
  end if;
end $$;

-- What claims hand over. Called with the steps among the jobs that are just being claimed, so a claim of plain jobs does not get here.
-- ROWS 1, so that it is these that a claim hashes to join them, and not all jobs with their arguments.
create or replace function weir.step_inputs(job_ids bigint[]) returns jsonb language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  ids bigint[];
  sources bigint[];
  wanted bigint[];
begin
  select array_agg(s.job_id), array_agg(d.id) into ids, sources
  from weir.workflow_step s cross join lateral unnest(case when s.compensates is null then s.depends_on else array[s.compensates] end) d(id)
  where s.job_id = any (job_ids) and s.job_id between lowest and highest;
  wanted := array(select distinct x from unnest(sources) x);
  select min(i), max(i) into lowest, highest from unnest(wanted) i;
  return (
  with names as materialized (
    select s.job_id, s.name from weir.workflow_step s where s.job_id = any (wanted) and s.job_id between lowest and highest
  ), results as materialized (
    select o.job_id, case when o.result_until <= clock_timestamp() then null else o.result end as result
    from weir.job_outcome o where o.job_id = any (wanted) and o.job_id between lowest and highest and o.state = 'completed'
  ), inputs as materialized (
    select u.id, n.name, r.result, sum(coalesce(pg_column_size(r.result), 0)) over (partition by u.id) as bytes
    from unnest(ids, sources) u(id, source) join names n on n.job_id = u.source join results r on r.job_id = u.source
  )
  select jsonb_object_agg(j.id::text, case when i.id is null then '{}' when i.bytes <= 8388608 and i.total <= 67108864 then i.dependencies else 'null' end)
  from unnest(job_ids) j(id)
  left join (select x.*, sum(case when x.bytes <= 8388608 then x.bytes else 0 end) over (order by x.id) as total
    from (select i.id, max(i.bytes) as bytes, case when max(i.bytes) <= 8388608 then jsonb_object_agg(i.name, i.result) end as dependencies from inputs i group by i.id) x) i on i.id = j.id);
end $$;

create or replace function weir.dependencies(job_id bigint) returns table (step text, id bigint, state text, result jsonb, error jsonb) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  wanted bigint[];
begin
  if not exists (select from weir.job j where j.id = dependencies.job_id) then
    perform weir.refuse_stale(dependencies.job_id);
  end if;
  wanted := (select case when s.compensates is null then s.depends_on else array[s.compensates] end from weir.workflow_step s where s.job_id = dependencies.job_id);
  return query
  select p.name, j.id, coalesce(j.state::text, ''), j.result, j.error
  from unnest(wanted) with ordinality d(id, n) join weir.workflow_step p on p.job_id = d.id join weir.jobs j on j.id = d.id
  where p.job_id = any (wanted) and j.id = any (wanted) order by d.n;
end $$;
comment on function weir.on_steps_ended(bigint[]) is 'Internal. For jobs that left their worker or were cancelled, and may be steps: what follows.';
comment on function weir.follow_steps(bigint[], boolean[], bigint[], bigint[], bigint[], text[]) is 'Internal. Lets steps go, skips steps, stops and ends workflows, until nothing follows any more.';
comment on function weir.count_exactly(bigint[], bigint[]) is 'Internal. From now on all steps of these workflows are counted, if one of those that just ended did not complete.';
comment on function weir.weigh_steps(bigint[]) is 'Internal. Lets go, skips or counts anew held steps by what their dependencies are now.';
comment on function weir.finish_workflow(bigint) is 'Internal. Runs the next compensation of a workflow of which nothing else is left, or ends it.';
comment on function weir.step_inputs(bigint[]) is
  'Internal, for claims. By the id of each of these steps, the results of its completed dependencies by name; JSON null where they are more than 8 MiB together, or those of the whole claim more than 64: weir.dependencies has them one by one.';
comment on function weir.dependencies(bigint) is
  'The steps that a step depends on, in the order of its definition, with their states, results and errors; for a compensation the step that it undoes. Errors: WR002.';
