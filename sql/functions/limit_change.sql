-- A change of a queue's limits while jobs wait and run. Passes of the admitter carry it out, batch by batch, until
-- lines, tenants and admitted jobs are as the new limits say. No limit is exceeded on the way, because unclaimed jobs
-- go back first.
--
-- The phases (weir.admission.phase):
--   adopting  the queue has just become governed: leases of jobs that are running get a line
--   sorting   waiting jobs move to lines of another kind, because the limits tell other things apart than before
--   open      the lines are as the limits say: passes admit jobs
--   closing   the queue has no limits any more: waiting jobs go back to job_ready
--
-- Only weir.admit calls these functions, under its settings and its lock.

create or replace function weir.apply_limit_change(queue weir.queue, inout admission weir.admission) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  next_phase text;
begin
  if admission.version <> queue.limits_version then
    perform weir.unadmit_jobs(queue);
    next_phase := case
      when queue.line_by is null then 'closing'
      when admission.phase = 'closing' then 'adopting'
      when admission.phase = 'open' and admission.line_by is distinct from queue.line_by then 'sorting' end;
    if next_phase is not null then
      admission.holders := case when next_phase = 'adopting' then '{?}' else admission.holders end;
      admission.phase := next_phase;
      admission.since := clock_timestamp();
    elsif admission.phase = 'open' then
      admission.lines_waiting := admission.lines_waiting + weir.reevaluate_lines(queue, admission.virtual_time);
    end if;
    admission.version := queue.limits_version;
  end if;
  case admission.phase
    when 'adopting' then admission := weir.adopt_leases(queue, admission);
    when 'sorting' then admission := weir.sort_lines(queue, admission);
    when 'closing' then perform weir.close_lines(queue);
    else null;
  end case;
end $$;
comment on function weir.apply_limit_change(weir.queue, weir.admission) is
  'Internal. One batch of a change of a queue''s limits. It is complete when the phase is open.';

-- Locks: the job_ready rows, skip locked.
create or replace function weir.unadmit_jobs(queue weir.queue) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  tids tid[] := array(select r.ctid from weir.job_ready r where r.queue_id = queue.admitted_id for update skip locked);
  ids bigint[];
begin
  if tids = '{}' then
    return;
  end if;
  with gone as (
    delete from weir.job_ready r where r.ctid = any (tids) returning r.*
  ), back as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
    select queue.id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through
      from (select * from gone order by job_id) g
  )
  select array_agg(g.job_id) into ids from gone g;
  perform weir.on_admitted_jobs_removed(ids, queue.id);
end $$;
comment on function weir.unadmit_jobs(weir.queue) is
  'Internal. Puts admitted, unclaimed jobs back to where passes find jobs to line up.';

-- A transaction that was writing leases when the queue became governed may be claiming from it as from a plain queue.
-- The phase lasts until all of these have ended, 10 s at most. Locks: leases without a line, skip locked.
create or replace function weir.adopt_leases(queue weir.queue, inout admission weir.admission) language plpgsql as $$
declare
  writers constant text[] := array(
    select coalesce(l.pid::text, '') || ':' || l.virtualtransaction from pg_locks l
    where l.locktype = 'relation' and l.granted and l.mode = 'RowExclusiveLock'
      and l.pid is distinct from pg_backend_pid()
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
        and l.relation = 'weir.job_lease'::regclass);
begin
  admission.holders := case when admission.holders = '{?}' then writers
    else array(select h from unnest(admission.holders) h where h = any (writers)) end;
  update weir.job_lease l set line = (
    select weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j where j.id = l.job_id)
  where l.job_id = any (array(
    select x.job_id from weir.job_lease x where x.queue_id = queue.id
      and x.line is null for no key update skip locked));
  if admission.holders = '{}' or admission.since < clock_timestamp() - interval '10 s' then
    admission.phase := 'sorting';
    admission.since := clock_timestamp();
  end if;
end $$;
comment on function weir.adopt_leases(weir.queue, weir.admission) is
  'Internal. Gives leases that were made before the queue was governed their line, so that their jobs count as in '
  'flight.';

-- A job that another session has locked is left to the next batch. Locks: the job_held rows, skip locked.
create or replace function weir.sort_lines(queue weir.queue, inout admission weir.admission) language plpgsql as $$
declare
  kind constant text := queue.line_by::text;
  ids bigint[] := array(
    select h.job_id from weir.job_held h
    where h.queue_id = queue.id and h.reason = 'line' and left(h.key, 1) <> kind limit 5000 for update skip locked);
  lowest bigint;
  highest bigint;
begin
  if ids <> '{}' then
    select min(i), max(i) into lowest, highest from unnest(ids) i;
    update weir.job_held h set key = weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j
    where h.job_id = any (ids) and j.id = h.job_id and j.id between lowest and highest;
  elsif not exists (select from weir.job_held h where h.queue_id = queue.id and h.reason = 'line'
    and left(h.key, 1) <> kind) then
    admission := weir.rebuild_lines(queue, admission);
    admission.phase := 'open';
    admission.since := clock_timestamp();
  end if;
end $$;
comment on function weir.sort_lines(weir.queue, weir.admission) is
  'Internal. Moves waiting jobs to the lines that the limits call for; when none is left to move, counts the lines '
  'and opens the queue.';

-- Locks: the job_held rows and the leases, skip locked.
create or replace function weir.close_lines(queue weir.queue) returns void language plpgsql as $$
begin
  perform weir.unadmit_jobs(queue);
  with free as materialized (
    select h.job_id from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' order by h.job_id limit 5000
      for update skip locked
  ), gone as (
    delete from weir.job_held h where h.job_id = any (array(select f.job_id from free f)) returning h.*
  )
  insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
  select queue.id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through
    from (select * from gone order by job_id) g;
  update weir.job_lease l set line = null
  where l.job_id = any (array(
    select x.job_id from weir.job_lease x where x.queue_id = queue.id
      and x.line is not null for no key update skip locked));
  delete from weir.line_reservation k where k.queue_id = queue.id;
  delete from weir.admission_inbox n where n.queue_id = queue.id;
  delete from weir.line l where l.queue_id = queue.id;
  delete from weir.tenant_share t where t.queue_id = queue.id;
  perform weir.wake(array[queue.name]);
end $$;
comment on function weir.close_lines(weir.queue) is
  'Internal. Makes waiting jobs of a queue without limits available, and deletes its lines.';

create or replace function weir.lines_are_closed(queue weir.queue) returns boolean language plpgsql as $$
begin
  return not exists (select from weir.job_held h where h.queue_id = queue.id and h.reason = 'line')
    and not exists (select from weir.job_ready r where r.queue_id = queue.admitted_id);
end $$;
comment on function weir.lines_are_closed(weir.queue) is
  'Internal. Whether no job of a queue without limits is left in a line, or admitted.';

-- One statement counts what waits and what is in flight, and deletes the inbox rows that it has counted.
create or replace function weir.rebuild_lines(queue weir.queue, inout admission weir.admission) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  snapshot pg_snapshot := pg_current_snapshot();
  now_at timestamptz := clock_timestamp();
  counted record;
begin
  delete from weir.line l where l.queue_id = queue.id;
  delete from weir.tenant_share t where t.queue_id = queue.id;
  with read as (
    delete from weir.admission_inbox n where n.queue_id = queue.id
  ), waiting as (
    select array_agg(w.key) as names, array_agg(w.priority) as priorities, array_agg(w.floor) as floors,
      array_agg(w.n) as counts
    from (
      select h.key, h.priority, min(h.seq) - 1 as floor, count(*)::int as n
      from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' group by h.key, h.priority) w
  ), in_flight as (
    select array_agg(weir.line_name(queue.line_by, j.tenant, j.concurrency_key)) as names
    from (
      select l.job_id from weir.job_lease l where l.queue_id = queue.id and l.line is not null
      union all select r.job_id from weir.job_ready r where r.queue_id = queue.admitted_id
      union all select k.job_id from weir.line_reservation k where k.queue_id = queue.id) a
    join weir.job j on j.id = a.job_id
  )
  select w.names, w.priorities, w.floors, w.counts, f.names as in_flight into counted from waiting w, in_flight f;
  insert into weir.line (queue_id, name, tick, tenant, in_flight, waiting, priorities, floors)
  select queue.id, f.name, nextval('weir.line_tick'), weir.line_tenant(f.name), count(*), 0, '{}', '{}'
  from unnest(counted.in_flight) f(name) group by f.name;
  insert into weir.tenant_share (queue_id, tenant, tick, open_lines, in_flight, start, eligible, served_turns)
  select queue.id, weir.line_tenant(f.name), nextval('weir.line_tick'), 0, count(*), 0, false,
    array_fill(0::bigint, array[10])
  from unnest(counted.in_flight) f(name) where queue.line_by >= 2 group by weir.line_tenant(f.name);
  admission.line_by := queue.line_by;
  admission.in_flight := coalesce(cardinality(counted.in_flight), 0);
  admission.virtual_time := 0;
  admission.served_turns := array_fill(0::bigint, array[10]);
  admission.inbox_xmax := pg_snapshot_xmax(snapshot)::text::bigint;
  admission.inbox_xip := array(select x::text::bigint from pg_snapshot_xip(snapshot) x);
  select u.more_waiting into admission.lines_waiting from weir.update_lines(queue, true, now_at,
    (counted.names, counted.priorities, counted.floors, counted.counts, null, null)::weir.line_changes) u;
  perform weir.update_tenants(queue, 0, array_agg(o.tenant), array_agg(o.n), array_agg(0))
  from (
    select l.tenant, count(*)::int as n from weir.line l
    where l.queue_id = queue.id and l.turn is not null and queue.line_by >= 2 group by l.tenant) o
  having count(*) > 0;
end $$;
comment on function weir.rebuild_lines(weir.queue, weir.admission) is
  'Internal. Counts the lines and tenants of a queue from the jobs that wait and are in flight.';

create or replace function weir.reevaluate_lines(queue weir.queue, virtual_time float8) returns int
  language plpgsql as $$
declare
  names text[] := array(select l.name from weir.line l where l.queue_id = queue.id);
  known text[] := array(select t.tenant from weir.tenant_share t where t.queue_id = queue.id);
  zeros constant int[] := array_fill(0, array[cardinality(known)]);
  moved record;
begin
  select * into moved from weir.update_lines(queue, true, clock_timestamp(),
    (names, array_fill(null::smallint, array[cardinality(names)]), array_fill(null::bigint, array[cardinality(names)]),
      array_fill(0, array[cardinality(names)]), null, null)::weir.line_changes);
  if queue.line_by >= 2 then
    perform weir.update_tenants(queue, virtual_time, moved.tenants, moved.more_open, moved.more_in_flight);
    perform weir.update_tenants(queue, virtual_time, known, zeros, zeros);
  end if;
  return moved.more_waiting;
end $$;
comment on function weir.reevaluate_lines(weir.queue, float8) is
  'Internal. Opens and closes lines by limits that have changed. Returns by how many the waiting lines grew.';
