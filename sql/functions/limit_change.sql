-- When the limits of a queue change while jobs wait and run: what a pass of the admitter (0035_admit.sql) does then, batch by batch, until lines, tenants and what
-- is admitted are as the new limits have it. A limit is never exceeded on the way: what is admitted and not yet claimed goes back first.
--

-- Gives back what is admitted and not claimed, so that limits that have just changed hold for it. Locks: the job_ready rows, skip locked.
create or replace function weir.withdraw(queue weir.queue) returns void language plpgsql
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
    select queue.id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through from (select * from gone order by job_id) g
  )
  select array_agg(g.job_id) into ids from gone g;
  perform weir.on_admitted_jobs_removed(ids, queue.id);
end $$;

-- Makes the lines of a queue anew from the rows that they stand for. One statement counts and discards the news that it has counted.
create or replace function weir.rebuild_lines(queue weir.queue, inout admission weir.admission) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  snapshot pg_snapshot := pg_current_snapshot();
  now_at timestamptz := clock_timestamp();
  came text[];
  priorities smallint[];
  floors bigint[];
  counts int[];
  flying text[];
begin
  delete from weir.line l where l.queue_id = queue.id;
  delete from weir.tenant_share t where t.queue_id = queue.id;
  with read as (
    delete from weir.line_news n where n.queue_id = queue.id
  ), waits as (
    select array_agg(w.key) as names, array_agg(w.priority) as priorities, array_agg(w.floor) as floors, array_agg(w.n) as counts
    from (select h.key, h.priority, min(h.seq) - 1 as floor, count(*)::int as n from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' group by h.key, h.priority) w
  ), flies as (
    select array_agg(weir.line_name(queue.line_by, j.tenant, j.concurrency_key)) as names
    from (
      select l.job_id from weir.job_lease l where l.queue_id = queue.id and l.line is not null
      union all select r.job_id from weir.job_ready r where r.queue_id = queue.admitted_id
      union all select k.job_id from weir.line_reservation k where k.queue_id = queue.id) a
    join weir.job j on j.id = a.job_id
  )
  select w.names, w.priorities, w.floors, w.counts, f.names into came, priorities, floors, counts, flying from waits w, flies f;
  insert into weir.line (queue_id, name, tick, tenant, in_flight, waiting, priorities, floors)
  select queue.id, f.name, nextval('weir.line_tick'), weir.line_tenant(f.name), count(*), 0, '{}', '{}' from unnest(flying) f(name) group by f.name;
  insert into weir.tenant_share (queue_id, tenant, tick, open, in_flight, start, takes, passed)
  select queue.id, weir.line_tenant(f.name), nextval('weir.line_tick'), 0, count(*), 0, false, array_fill(0::bigint, array[10]) from unnest(flying) f(name)
  where queue.line_by >= 2 group by weir.line_tenant(f.name);
  admission.line_by := queue.line_by;
  admission.in_flight := coalesce(cardinality(flying), 0);
  admission.virtual_time := 0;
  admission.passed := array_fill(0::bigint, array[10]);
  admission.news_after := pg_snapshot_xmax(snapshot)::text::bigint;
  admission.news_among := array(select x::text::bigint from pg_snapshot_xip(snapshot) x);
  select m.more_waiting into admission.lines_waiting from weir.note_lines(queue, true, now_at, came, priorities, floors, counts, null, null) m;
  perform weir.touch_tenants(queue, 0, array_agg(o.tenant), array_agg(o.n), array_agg(0))
  from (select l.tenant, count(*)::int as n from weir.line l where l.queue_id = queue.id and l.turn is not null and queue.line_by >= 2 group by l.tenant) o having count(*) > 0;
end $$;

-- Opens and closes all lines and tenants anew, by limits that have changed. Returns by how much the number of waiting lines grew.
create or replace function weir.judge_lines(queue weir.queue, virtual_time float8) returns int language plpgsql as $$
declare
  names text[] := array(select l.name from weir.line l where l.queue_id = queue.id);
  known text[] := array(select t.tenant from weir.tenant_share t where t.queue_id = queue.id);
  moved record;
begin
  select * into moved from weir.note_lines(queue, true, clock_timestamp(), names, array_fill(null::smallint, array[cardinality(names)]),
    array_fill(null::bigint, array[cardinality(names)]), array_fill(0, array[cardinality(names)]), null, null);
  if queue.line_by >= 2 then
    perform weir.touch_tenants(queue, virtual_time, moved.tenants, moved.more_open, moved.more_flying);
    perform weir.touch_tenants(queue, virtual_time, known, array_fill(0, array[cardinality(known)]), array_fill(0, array[cardinality(known)]));
  end if;
  return moved.more_waiting;
end $$;

-- The steps between two settings of a queue's limits: one batch. Returns with phase open when its lines are as they should be.
create or replace function weir.readjust(queue weir.queue, inout admission weir.admission) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan as $$
declare
  ids bigint[];
  lowest bigint;
  highest bigint;
  writers text[];
begin
  if admission.version <> queue.limits_version then
    perform weir.withdraw(queue);
    if admission.phase = 'closing' and queue.line_by is not null then
      admission.phase := 'adopting';
      admission.holders := '{?}';
      admission.since := clock_timestamp();
    elsif queue.line_by is null then
      admission.phase := 'closing';
      admission.since := clock_timestamp();
    elsif admission.phase = 'open' and admission.line_by is distinct from queue.line_by then
      admission.phase := 'sorting';
      admission.since := clock_timestamp();
    elsif admission.phase = 'open' then
      admission.lines_waiting := admission.lines_waiting + weir.judge_lines(queue, admission.virtual_time);
    end if;
    admission.version := queue.limits_version;
  end if;

  if admission.phase = 'adopting' then
    -- Whoever was writing leases when the queue was found governed may be claiming from it as from a plain one. The leases of all others are marked.
    writers := array(
      select coalesce(l.pid::text, '') || ':' || l.virtualtransaction from pg_locks l
      where l.locktype = 'relation' and l.granted and l.mode = 'RowExclusiveLock' and l.pid is distinct from pg_backend_pid()
        and l.database = (select d.oid from pg_database d where d.datname = current_database()) and l.relation = 'weir.job_lease'::regclass);
    admission.holders := case when admission.holders = '{?}' then writers else array(select h from unnest(admission.holders) h where h = any (writers)) end;
    update weir.job_lease l set line = (select weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j where j.id = l.job_id)
    where l.job_id = any (array(select x.job_id from weir.job_lease x where x.queue_id = queue.id and x.line is null for no key update skip locked));
    if admission.holders = '{}' or admission.since < clock_timestamp() - interval '10 s' then
      admission.phase := 'sorting';
      admission.since := clock_timestamp();
    end if;
  elsif admission.phase = 'sorting' then
    -- Those that wait in a line of another kind. A job that somebody has locked is left to the next batch.
    ids := array(select h.job_id from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' and left(h.key, 1) <> queue.line_by::text limit 5000 for update skip locked);
    if ids <> '{}' then
      select min(i), max(i) into lowest, highest from unnest(ids) i;
      update weir.job_held h set key = weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j
      where h.job_id = any (ids) and j.id = h.job_id and j.id between lowest and highest;
    elsif not exists (select from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' and left(h.key, 1) <> queue.line_by::text) then
      admission := weir.rebuild_lines(queue, admission);
      admission.phase := 'open';
      admission.since := clock_timestamp();
    end if;
  elsif admission.phase = 'closing' then
    perform weir.withdraw(queue);
    lock table weir.job_ready in row exclusive mode;
    with free as materialized (
      select h.job_id from weir.job_held h where h.queue_id = queue.id and h.reason = 'line' order by h.job_id limit 5000 for update skip locked
    ), gone as (
      delete from weir.job_held h where h.job_id = any (array(select f.job_id from free f)) returning h.*
    )
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
    select queue.id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through from (select * from gone order by job_id) g;
    update weir.job_lease l set line = null
    where l.job_id = any (array(select x.job_id from weir.job_lease x where x.queue_id = queue.id and x.line is not null for no key update skip locked));
    delete from weir.line_reservation k where k.queue_id = queue.id;
    delete from weir.line_news n where n.queue_id = queue.id;
    delete from weir.line l where l.queue_id = queue.id;
    delete from weir.tenant_share t where t.queue_id = queue.id;
    perform weir.wake(array[queue.name]);
  end if;
end $$;
comment on function weir.withdraw(weir.queue) is 'Internal. Puts what is admitted and not claimed back among what waits.';
comment on function weir.rebuild_lines(weir.queue, weir.admission) is 'Internal. Makes the lines of a queue anew from the jobs that wait and are in flight.';
comment on function weir.judge_lines(weir.queue, float8) is 'Internal. Opens and closes the lines and tenants of a queue by limits that have changed.';
comment on function weir.readjust(weir.queue, weir.admission) is 'Internal. One batch of what is to be done when the limits of a queue have changed.';
