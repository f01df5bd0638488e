-- Conditions: what rules of alerts measure. Each gives a value for each subject, and holds while the value is above the
-- rule's threshold.
--
-- All is read from the roll-ups and from small tables of the present state, with a bound: no condition reads the facts
-- of jobs, but for the oldest ones of a queue. So numbers of a window are up to a minute and a half old.

create or replace function weir.alert_conditions()
returns table (condition text, subject_kind text, unit text, lowest float8, highest float8, preset float8,
  counts boolean, by_queue boolean, by_kind boolean, by_tenant boolean) language sql immutable as $$
  values
    ('queue_depth', 'queue', 'jobs', 0::float8, 1000000::float8, 1000::float8, false, true, false, true),
    ('oldest_waiting', 'queue', 'seconds', 0, 31536000, 300, false, true, false, true),
    ('failure_ratio', 'queue', 'ratio', 0, 0.999, 0.5, true, true, true, true),
    ('no_worker', 'queue', 'jobs', 0, 1000000, 0, false, true, false, true),
    ('dead_letters', 'queue', 'jobs', 0, 1000000000, 0, true, true, true, true),
    ('worker_silent', 'worker', 'seconds', 30, 604800, 300, false, true, false, true),
    ('slow_heartbeats', 'worker', 'seconds', 10, 290, 30, false, true, false, true),
    ('schedule_late', 'schedule', 'seconds', 0, 31536000, 60, false, true, false, true),
    ('schedule_missed', 'schedule', 'slots', 0, 1000000, 0, true, true, false, true),
    ('breaker_open', 'breaker', 'seconds', 0, 31536000, 0, false, false, false, true),
    ('workflow_late', 'workflow', 'times', 0, 1000000, 0, true, false, false, true),
    ('horizon_pinned', 'transaction', 'seconds', 0, 31536000, 300, false, false, false, false),
    ('database_size', 'database', 'bytes', 0, 1e15, null, false, false, false, false),
    ('node_lost', 'node', 'seconds', 20, 290, 60, false, false, false, false)
$$;
comment on function weir.alert_conditions() is
  'Internal. The conditions of alerts: what the subject is, the unit and the bounds of the threshold, its preset, '
  'whether things of a window are counted, and whether a rule can be for some queues, a kind or a tenant.';

create or replace function weir.alert_bounds(r weir.alert_rule) returns jsonb language sql stable as $$
  select nullif(jsonb_strip_nulls(jsonb_build_object('tenant', r.tenant, 'queues', case when r.queue is not null
    then jsonb_build_array(replace(replace(r.queue, '_', '\_'), '*', '%')) end)), '{}')
$$;
comment on function weir.alert_bounds(weir.alert_rule) is
  'Internal. What a rule is for, as the bounds of a caller are written (weir.reaches); null: for all.';

-- How many wait, up to a million or 100,000: those that may be claimed, and those in the lines of a queue with limits.
create or replace function weir.alert_waiting(q weir.queue, most int) returns bigint language sql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select (select count(*) from (select from weir.job_ready x where x.queue_id = q.ready_id limit most) a)
    + case when q.governed then
      (select count(*) from (select from weir.job_ready x where x.queue_id = q.id limit most) b)
      + (select count(*) from (select from weir.job_held h where h.queue_id = q.id and h.reason = 'line'
        limit most) c) else 0 end
$$;
comment on function weir.alert_waiting(weir.queue, int) is
  'Internal. How many jobs of a queue wait to be claimed or admitted; of each of the two no more than `most`.';

-- A job that came back waits since its last event, one that was scheduled since that time.
create or replace function weir.alert_oldest(q weir.queue) returns timestamptz language sql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select least(
    (select min(coalesce(case when f.came_back then (select max(coalesce(e.run_at, e.at)) from weir.job_event e
        where e.job_id = f.id and coalesce(e.run_at, e.at) <= clock_timestamp()
          and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven', 'edited')) end,
      j.run_at, j.created_at))
     from generate_series(1, 10) p
     cross join lateral (select coalesce(r.job_id, r.seq) as id, r.job_id is not null as came_back
       from weir.job_ready r where r.queue_id = q.ready_id and r.priority = p order by r.seq limit 1) f
     cross join lateral (select x.run_at, x.created_at from weir.job x where x.id = f.id offset 0) j),
    case when q.governed then (select min(h.held_at) from (select x.held_at from weir.job_held x
      where x.queue_id = q.id and x.reason = 'line' limit 10000) h) end)
$$;
comment on function weir.alert_oldest(weir.queue) is
  'Internal. Since when the oldest of the next jobs of a queue waits, of each priority one, and of 10,000 in lines.';

create or replace function weir.alert_queue_values(r weir.alert_rule) returns setof weir.alert_value
language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.alert_bounds(r);
  most int := greatest(100000, ceil(r.threshold) + 1)::int;
  at_work int[];
begin
  if r.condition = 'queue_depth' then
    return query select q.name, weir.alert_waiting(q, most)::float8 from weir.queue q
      where q.deleted_at is null and weir.reaches(bounds, q.tenant, array[q.name]);
  elsif r.condition = 'oldest_waiting' then
    return query select q.name, date_part('epoch', clock_timestamp() - weir.alert_oldest(q)) from weir.queue q
      where q.deleted_at is null and weir.reaches(bounds, q.tenant, array[q.name]);
  else
    at_work := array(select l.queue_id from weir.job_lease l
      union select s.queue_id from weir.rollup_sum s where s.seconds = 60 and s.kind = ''
        and s.at >= clock_timestamp() - interval '6 min'
        and s.completed + s.failed + s.timed_out + s.snoozed + s.released > 0
      union select q.id from weir.queue q join weir.parked p on p.queue = q.name and p.until > clock_timestamp());
    return query select q.name, weir.alert_waiting(q, most)::float8 from weir.queue q
      where q.deleted_at is null and weir.reaches(bounds, q.tenant, array[q.name]) and q.id <> all (at_work)
        and (q.paused_at is null or q.resume_at <= clock_timestamp())
        and not exists (select from weir.breaker b where b.id = q.breaker_id and b.state <> 'closed');
  end if;
end $$;
comment on function weir.alert_queue_values(weir.alert_rule) is
  'Internal. The conditions queue_depth, oldest_waiting and no_worker.';

-- Windows of more than two hours are counted in whole hours, so that a day of many queues is few rows.
create or replace function weir.alert_rollup_values(r weir.alert_rule) returns setof weir.alert_value
language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.alert_bounds(r);
  grain int := case when r.window_seconds > 7200 then 3600 else 60 end;
  since timestamptz := date_bin(make_interval(secs => grain),
    clock_timestamp() - make_interval(secs => r.window_seconds - case when grain = 60 then 60 else 0 end), 'epoch');
  ids int[] := case when bounds is not null then array(select q.id from weir.queue q
    where weir.reaches(bounds, q.tenant, array[q.name])) end;
begin
  return query
  with sums as (
    select x.queue_id, x.completed, x.failed + x.timed_out + x.lost as failed, x.dead
    from weir.rollup_sum x where r.kind is null and x.seconds = grain and x.kind = '' and x.tenant = ''
      and x.at >= since and x.queue_id <> 0 and (ids is null or x.queue_id = any (ids))
    union all
    select x.queue_id, x.completed, x.failed + x.timed_out + x.lost, x.dead
    from weir.rollup x where r.kind is not null and x.kind = r.kind and x.tenant = '' and x.at >= since
      and (ids is null or x.queue_id = any (ids))
  ), counted as (
    select s.queue_id, sum(s.failed)::float8 as failed, sum(s.completed + s.failed)::float8 as calls,
      sum(s.dead)::float8 as dead
    from sums s group by s.queue_id
  )
  select q.name, case r.condition when 'dead_letters' then c.dead else c.failed / c.calls end
  from counted c join weir.queue q on q.id = c.queue_id and q.deleted_at is null
  where r.condition = 'dead_letters' or c.calls >= greatest(r.min_calls, 1);
end $$;
comment on function weir.alert_rollup_values(weir.alert_rule) is
  'Internal. The conditions failure_ratio and dead_letters, from the roll-ups.';

-- A worker that never registered comes and goes without a word; one that drains and holds no job has done its part.
create or replace function weir.alert_worker_values(r weir.alert_rule) returns setof weir.alert_value
language sql stable set jit = off as $$
  select w.name, date_part('epoch', clock_timestamp() - x.seen_at)
  from weir.worker w
  left join weir.worker_seen s on s.name = w.name
  left join (select k.worker, count(*) as running,
      max(greatest(k.leased_at, k.expires_at - make_interval(secs => k.lease_seconds))) as seen_at
    from weir.job_lease k group by k.worker) l on l.worker = w.name
  cross join lateral (select greatest(s.last_seen_at, l.seen_at, case when s.name is null
    then w.decided_at end) as seen_at) x
  where w.registered_at is not null and (w.draining_at is null or l.running > 0)
    and weir.reaches(weir.alert_bounds(r), w.tenant, w.queues)
    and (r.condition = 'worker_silent' or x.seen_at > clock_timestamp() - interval '300 s')
$$;
comment on function weir.alert_worker_values(weir.alert_rule) is
  'Internal. The conditions worker_silent and slow_heartbeats: how long registered workers have not been seen.';

create or replace function weir.alert_schedule_values(r weir.alert_rule) returns setof weir.alert_value
language sql stable set jit = off as $$
  select coalesce(s.tenant || '/', '') || s.name,
    date_part('epoch', clock_timestamp() - weir.slot_due(s, s.next_slot_at))
  from weir.schedule s
  where r.condition = 'schedule_late' and s.next_slot_at < clock_timestamp() and s.waiting_for is null
    and s.paused_at is null and s.deleted_at is null and weir.reaches(weir.alert_bounds(r), s.tenant, s.queues)
  union all
  select coalesce(s.tenant || '/', '') || s.name, count(*)::float8
  from weir.schedule_slot x join weir.schedule s on s.id = x.schedule_id
  where r.condition = 'schedule_missed' and x.outcome in ('missed', 'refused')
    and x.fired_at >= clock_timestamp() - make_interval(secs => r.window_seconds)
    and s.deleted_at is null and weir.reaches(weir.alert_bounds(r), s.tenant, s.queues)
  group by s.tenant, s.name
$$;
comment on function weir.alert_schedule_values(weir.alert_rule) is
  'Internal. The conditions schedule_late and schedule_missed.';

create or replace function weir.alert_other_values(r weir.alert_rule) returns setof weir.alert_value
language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  now_at timestamptz := clock_timestamp();
begin
  case r.condition
    when 'breaker_open' then
      return query select b.name, date_part('epoch', now_at - b.opened_at) from weir.breaker b
        where b.state <> 'closed' and b.deleted_at is null
          and (r.tenant is null or substring(b.name from '^(.*)/') = r.tenant);
    when 'workflow_late' then
      return query select coalesce(w.tenant || '/', '') || w.name, count(*)::float8 from weir.workflow w
        where w.failure ->> 'type' = 'deadline' and w.stopped_at >= now_at - make_interval(secs => r.window_seconds)
          and (r.tenant is null or w.tenant = r.tenant)
        group by w.tenant, w.name;
    when 'horizon_pinned' then
      return query select h.what || ' ' || h.name, date_part('epoch', h.since) from weir.horizon h
        where h.since is not null;
    when 'database_size' then
      return query select current_database()::text, pg_database_size(current_database())::float8;
    else
      return query select h.node, date_part('epoch', now_at - max(h.at)) from weir.health_check h
        where h.node <> '' group by h.node;
  end case;
end $$;
comment on function weir.alert_other_values(weir.alert_rule) is
  'Internal. The conditions breaker_open, workflow_late, horizon_pinned, database_size and node_lost.';

-- The highest thousand, so that a rule costs the same however many subjects there are.
create or replace function weir.alert_values(r weir.alert_rule) returns setof weir.alert_value
language plpgsql stable as $$
begin
  return query
  select v.subject, v.value from (
    select a.* from weir.alert_queue_values(r) a where r.condition in ('queue_depth', 'oldest_waiting', 'no_worker')
    union all
    select b.* from weir.alert_rollup_values(r) b where r.condition in ('failure_ratio', 'dead_letters')
    union all
    select c.* from weir.alert_worker_values(r) c where r.condition in ('worker_silent', 'slow_heartbeats')
    union all
    select d.* from weir.alert_schedule_values(r) d where r.condition in ('schedule_late', 'schedule_missed')
    union all
    select e.* from weir.alert_other_values(r) e where r.condition in ('breaker_open', 'workflow_late',
      'horizon_pinned', 'database_size', 'node_lost')
  ) v
  where v.value > coalesce(r.resolve_threshold, r.threshold)
  order by v.value desc, v.subject limit 1000;
end $$;
comment on function weir.alert_values(weir.alert_rule) is
  'Internal. The subjects of a rule whose value is not clear: above its resolve_threshold, the highest first.';

create or replace function weir.alert_number(unit text, value float8, bare boolean default false) returns text
language sql immutable as $$
  select case
    when unit = 'ratio' then round((value * 100)::numeric) || ' %'
    when unit = 'bytes' then pg_size_pretty(value::bigint)
    when unit <> 'seconds' then round(value::numeric)
      || case when bare then '' when round(value::numeric) = 1 then ' ' || rtrim(unit, 's') else ' ' || unit end
    when value < 120 then round(value::numeric) || ' s'
    when value < 7200 then round((value / 60)::numeric) || ' min'
    when value < 172800 then round((value / 3600)::numeric) || ' h'
    else round((value / 86400)::numeric) || ' days' end
$$;
comment on function weir.alert_number(text, float8, boolean) is
  'Internal. A value of a condition, in words. bare: a count without its noun.';

create or replace function weir.alert_summary(r weir.alert_rule, subject text, value float8) returns text
language sql immutable as $$
  select format(case r.condition
    when 'queue_depth' then 'queue %1$s has %2$s waiting, more than %3$s'
    when 'oldest_waiting' then 'a job of queue %1$s has waited for %2$s, more than %3$s'
    when 'failure_ratio' then '%2$s of the attempts of queue %1$s failed within %4$s, more than %3$s'
    when 'no_worker' then 'queue %1$s has %2$s waiting and no worker'
    when 'dead_letters' then '%2$s of queue %1$s died within %4$s, more than %3$s'
    when 'worker_silent' then 'worker %1$s has not been seen for %2$s, more than %3$s'
    when 'slow_heartbeats' then 'worker %1$s sent no heartbeat for %2$s, more than %3$s'
    when 'schedule_late' then 'schedule %1$s is %2$s late, more than %3$s'
    when 'schedule_missed' then 'schedule %1$s missed %2$s within %4$s, more than %3$s'
    when 'breaker_open' then 'circuit breaker %1$s has been open for %2$s'
    when 'workflow_late' then 'workflow %1$s ran past its deadline %2$s within %4$s, more than %3$s'
    when 'horizon_pinned' then '%1$s has held back the xmin horizon for %2$s, more than %3$s'
    when 'database_size' then 'database %1$s has a size of %2$s, more than %3$s'
    else 'node %1$s has not been seen for %2$s, more than %3$s' end,
    subject, weir.alert_number(c.unit, value), weir.alert_number(c.unit, r.threshold, true),
    weir.alert_number('seconds', r.window_seconds))
  from weir.alert_conditions() c where c.condition = r.condition
$$;
comment on function weir.alert_summary(weir.alert_rule, text, float8) is 'Internal. What a rule found, in words.';
