-- What a pass of the admitter (0035_admit.sql) consists of: taking in what became available, noting what came to lines and went from them, and rounds that
-- serve the lines whose turn it is, tenant by tenant. Only passes call these, one at a time for a queue.
--

-- Takes what lies in job_ready under the queue's own id into lines. Locks: those rows, skip locked.
create or replace function weir.take_inbox(queue weir.queue, most int, out names text[], out priorities smallint[], out floors bigint[], out counts int[], out went text[], out taken int)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  floor_seq bigint;
  late_seq bigint;
  after bigint[];
  tids tid[];
  ids bigint[];
  attempts smallint[];
  passes bigint[];
  lowest bigint;
  highest bigint;
  p smallint;
begin
  taken := 0;
  select w.seq, (select min(h.seq) from unnest(w.holder_seqs) h(seq)) into floor_seq, late_seq from weir.watermark w order by w.tick desc limit 1;
  select f.positions into after from weir.frontier f where f.queue_id = queue.id order by f.tick desc limit 1;
  for c in 1..10 loop
    after[c] := least(coalesce(after[c], floor_seq), late_seq);
  end loop;
  for p in select c from generate_series(10, 1, -1) c where (select true from weir.job_ready r where r.queue_id = queue.id and r.priority = c and r.seq > after[c] limit 1) loop
    tids := tids || array(select r.ctid from weir.job_ready r where r.queue_id = queue.id and r.priority = p and r.seq > after[p]
      order by r.seq limit most - coalesce(cardinality(tids), 0) for update skip locked);
    exit when cardinality(tids) >= most;
  end loop;
  if coalesce(cardinality(tids), 0) = 0 then
    return;
  end if;
  with gone as (delete from weir.job_ready r where r.ctid = any (tids) returning coalesce(r.job_id, r.seq) as job_id, r.attempt, r.let_through)
  select array_agg(g.job_id), array_agg(g.attempt), array_agg(g.let_through), count(*), min(g.job_id), max(g.job_id) into ids, attempts, passes, taken, lowest, highest from gone g;
  -- Those that kept their line while they waited for a retry are no longer in flight, but first in their line, being the oldest.
  with gone as (delete from weir.line_reservation k where k.job_id = any (ids) returning k.job_id)
  select array_agg((select weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j where j.id = g.job_id)) into went from gone g;
  with facts as materialized (
    select u.id, u.attempt, u.let_through, j.priority, weir.line_name(queue.line_by, j.tenant, j.concurrency_key) as name
    from unnest(ids, attempts, passes) u(id, attempt, let_through) join weir.job j on j.id = u.id where j.id = any (ids) and j.id between lowest and highest
  ), placed as (
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq, let_through) select f.id, queue.id, f.priority, f.attempt, 'line', f.name, f.id, f.let_through from facts f
  )
  select array_agg(l.name), array_agg(l.priority), array_agg(l.floor), array_agg(l.n) into names, priorities, floors, counts
  from (select f.name, f.priority, min(f.id) - 1 as floor, count(*)::int as n from facts f group by f.name, f.priority) l;
end $$;

-- What a line's rate allows at once, by now.
create or replace function weir.line_tokens(per_second float8, burst float8, tokens float8, tokens_at timestamptz, now_at timestamptz) returns float8 language sql immutable as $$
  select case when per_second is not null then least(burst, coalesce(tokens, burst) + per_second * greatest(extract(epoch from now_at - tokens_at)::float8, 0)) end
$$;

-- Notes what came to lines, went from them or rested, and opens and closes them. Those that are opened come after all that are open.
create or replace function weir.note_lines(queue weir.queue, overridden boolean, now_at timestamptz, came text[], came_priorities smallint[], came_floors bigint[], came_counts int[], went text[], went_counts int[],
  out more_waiting int, out tenants text[], out more_open int[], out more_flying int[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off as $$
declare
  per_key int := (queue.limits ->> 'per_key')::int;
  key_per_second float8 := (queue.limits #>> '{key_rate,per_second}')::float8;
  key_burst float8 := case when queue.limits ? 'key_rate' then weir.rate_burst(queue.limits -> 'key_rate') end;
  keyed constant boolean := queue.line_by in (1, 3);
begin
  with changes as (
    select x.name, sum(x.went)::int as went, sum(x.n)::int as n, array_agg(x.priority) filter (where x.priority is not null) as priorities,
      array_agg(x.floor) filter (where x.priority is not null) as floors
    from (select u.name, u.priority, min(u.floor) as floor, sum(u.n) as n, sum(u.went) as went
          from (select c.name, c.priority, c.floor, c.n, 0 as went from unnest(came, came_priorities, came_floors, came_counts) c(name, priority, floor, n)
                union all select w.name, null, null, 0, w.n from unnest(note_lines.went, went_counts) w(name, n)) u
          group by u.name, u.priority order by u.name, u.priority desc) x
    group by x.name
  ), fresh as materialized (
    select j.tid, j.name, j.tenant, j.was_in_flight, j.waited, j.in_flight, j.waiting, j.priorities, j.floors, j.turn, j.tokens, j.opens,
      case when not j.opens then null when j.turn is not null and j.priority = j.priorities[1] then j.turn else nextval('weir.line_tick') end as new_turn,
      case when j.tokens < j.burst and not j.opens then now_at
        + make_interval(secs => (case when j.priorities <> '{}' and j.tokens < 1 then 1 else j.burst end - j.tokens) / j.per_second) end as rest_until
    from (
      select t.*, t.priorities <> '{}' and (t.concurrency is null or t.in_flight < t.concurrency) and (t.tokens is null or t.tokens >= 1 - 1e-6) as opens
      from (
        select o.tid, c.name, coalesce(o.tenant, weir.line_tenant(c.name)) as tenant, coalesce(o.in_flight, 0) as was_in_flight, coalesce(o.priorities <> '{}', false) as waited,
          greatest(coalesce(o.in_flight, 0) - c.went, 0) as in_flight, case when m.priorities = '{}' then 0 else greatest(coalesce(o.waiting, 0) + c.n, 1) end as waiting, m.priorities, m.floors,
          o.turn, o.priority, r.concurrency, r.per_second, r.burst, weir.line_tokens(r.per_second, r.burst, o.tokens, o.tokens_at, now_at) as tokens
        from changes c
        left join lateral (select l.*, l.ctid as tid from weir.line l where l.queue_id = queue.id and l.name = c.name order by l.tick desc limit 1) o on true
        cross join lateral (
          select case when c.priorities is null then coalesce(o.priorities, '{}') when coalesce(o.priorities, '{}') in ('{}', c.priorities) then c.priorities
                   else array(select distinct p from unnest(o.priorities || c.priorities) p order by p desc) end as priorities,
                 case when c.priorities is null then coalesce(o.floors, '{}') when coalesce(o.priorities, '{}') = '{}' then c.floors
                   else array(select min(f) from unnest(o.priorities || c.priorities, o.floors || c.floors) u(p, f) group by p order by p desc) end as floors offset 0) m
        cross join lateral (select keyed and weir.line_key(c.name) <> '' as named offset 0) k
        left join lateral (select x.* from weir.limit_override x where overridden and x.queue_id = queue.id and x.what = 'key' and x.name = weir.line_key(c.name)) v on true
        cross join lateral (select case when k.named then coalesce(v.concurrency, per_key) end as concurrency, case when k.named then coalesce(v.per_second, key_per_second) end as per_second,
          case when k.named then coalesce(v.burst, key_burst) end as burst) r
        offset 0) t
      offset 0) j
  ), old as (
    delete from weir.line l where l.ctid = any (array(select f.tid from fresh f where f.tid is not null))
  ), stored as (
    insert into weir.line (queue_id, name, tick, tenant, in_flight, waiting, priorities, floors, turn, priority, tokens, tokens_at, rest_until)
    select queue.id, f.name, nextval('weir.line_tick'), f.tenant, f.in_flight, f.waiting, f.priorities, f.floors, f.new_turn, case when f.opens then f.priorities[1] end,
      f.tokens, case when f.tokens is not null then now_at end, f.rest_until
    from fresh f where f.in_flight > 0 or f.priorities <> '{}' or f.rest_until is not null
  )
  select sum(t.more_waiting), array_agg(t.tenant), array_agg(t.more_open), array_agg(t.more_flying) into more_waiting, tenants, more_open, more_flying
  from (
    select f.tenant, sum((f.priorities <> '{}')::int - f.waited::int)::int as more_waiting, sum((f.new_turn is not null)::int - (f.turn is not null)::int)::int as more_open,
      sum(f.in_flight - f.was_in_flight)::int as more_flying
    from fresh f group by f.tenant) t;
  more_waiting := coalesce(more_waiting, 0);
end $$;

-- One round: admits up to rooms[i] jobs of chosen[i], a tenant, from its open lines of the highest priority, in turn. Of a line it takes several jobs at a turn where there
-- is room for many, so that a turn costs less than a job. Locks: the job_held rows that it takes, skip locked.
create or replace function weir.serve_lines(queue weir.queue, overridden boolean, now_at timestamptz, chosen text[], rooms int[], passed bigint[],
  out admitted int, out tried int, out more_waiting int, out tenants text[], out more_open int[], out served int[], out passed_priorities smallint[], out passed_turns bigint[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off as $$
declare
  per_key int := (queue.limits ->> 'per_key')::int;
  key_per_second float8 := (queue.limits #>> '{key_rate,per_second}')::float8;
  key_burst float8 := case when queue.limits ? 'key_rate' then weir.rate_burst(queue.limits -> 'key_rate') end;
  keyed constant boolean := queue.line_by in (1, 3);
  at_a_turn constant int := 16;
begin
  with scanned as (
    select l.tid, u.tenant, u.n as room, l.turn, least(r.concurrency - l.in_flight, floor(weir.line_tokens(r.per_second, r.burst, l.tokens, l.tokens_at, now_at) + 1e-6)::int, l.waiting) as most
    from unnest(chosen, rooms) u(tenant, n)
    cross join lateral (select u.n / 2 + 16 as most, coalesce(serve_lines.passed,
        (select t.passed from weir.tenant_share t where t.queue_id = queue.id and t.tenant = u.tenant order by t.tick desc limit 1)) as passed offset 0) c
    cross join lateral (select p from generate_series(10, 1, -1) p
      where (select true from weir.line x where x.queue_id = queue.id and x.tenant = u.tenant and x.priority = p and x.turn > c.passed[p] limit 1) limit 1) best
    cross join lateral (select x.ctid as tid, x.name, x.in_flight, x.waiting, x.turn, x.tokens, x.tokens_at
      from weir.line x where x.queue_id = queue.id and x.tenant = u.tenant and x.priority = best.p and x.turn > c.passed[best.p] order by x.turn limit c.most) l
    cross join lateral (select keyed and weir.line_key(l.name) <> '' as named offset 0) k
    left join lateral (select x.* from weir.limit_override x where overridden and x.queue_id = queue.id and x.what = 'key' and x.name = weir.line_key(l.name)) v on true
    cross join lateral (select case when k.named then coalesce(v.concurrency, per_key) end as concurrency, case when k.named then coalesce(v.per_second, key_per_second) end as per_second,
      case when k.named then coalesce(v.burst, key_burst) end as burst) r
  ), quotas as materialized (
    select w.tid, least(w.wish, w.room - w.before)::int as quota
    from (
      select x.tid, x.wish, x.room, coalesce(sum(x.wish) over (partition by x.tenant order by x.turn rows between unbounded preceding and 1 preceding), 0) as before
      from (
        select s.tid, s.tenant, s.turn, s.room, greatest(least(s.most, greatest(1, least(at_a_turn, s.room / 16), ceil(s.room::float8 / count(*) over (partition by s.tenant))::int)), 0) as wish
        from scanned s) x) w
    where w.before < w.room
  ), heads as materialized (
    select q.tid, q.quota, l.name, l.tenant, l.in_flight, l.waiting, l.priorities, l.floors, l.turn, l.priority, l.tokens, l.tokens_at,
      array(  -- one more than may go, to see whether something is left
        select h.ctid from weir.job_held h where h.queue_id = queue.id and h.key = l.name and h.reason = 'line' and h.priority = l.priorities[1] and h.seq > l.floors[1]
        order by h.seq limit q.quota + 1) as tids
    from quotas q cross join lateral (select x.* from weir.line x where x.ctid = q.tid offset 0) l
  ), free as materialized (
    select h.ctid as tid from weir.job_held h where h.ctid = any (array(select unnest(x.tids[1:x.quota]) from heads x)) for update skip locked
  ), gone as (
    delete from weir.job_held h where h.ctid = any (array(select f.tid from free f)) returning h.job_id, h.priority, h.attempt, h.key, h.seq, h.let_through
  ), ready as (
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
    select queue.admitted_id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through from (select * from gone where queue.line_by < 2 order by job_id) g
    union all  -- the tenants interleaved, so that each has its share of any part of the round
    select queue.admitted_id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through from (
      select x.* from (select o.*, (row_number() over u - 0.5) / count(*) over (partition by o.key) as place from gone o where queue.line_by >= 2 window u as (partition by o.key order by o.job_id)) x
      order by x.place, x.job_id) g
  ), got as (
    select g.key as name, count(*)::int as n, max(g.seq) as last from gone g group by g.key
  ), lanes as (
    select h.tid, h.name, h.tenant, h.turn, h.priority, coalesce(g.n, 0) as got, h.in_flight + coalesce(g.n, 0) as in_flight, r.concurrency, r.per_second, r.burst,
      weir.line_tokens(r.per_second, r.burst, h.tokens, h.tokens_at, now_at) - coalesce(g.n, 0) as tokens,
      h.waiting - coalesce(g.n, 0) as waiting, case when b.shy or b.rest then h.priorities else h.priorities[2:] end as priorities,
      case when b.shy or h.quota <= 0 then h.floors when b.rest then g.last || h.floors[2:] else h.floors[2:] end as floors
    from heads h left join got g on g.name = h.name
    -- shy: somebody has a job locked that was to go; rest: of its highest priority something is left
    cross join lateral (select coalesce(g.n, 0) < least(h.quota, cardinality(h.tids)) as shy, h.quota <= 0 or cardinality(h.tids) > h.quota as rest offset 0) b
    cross join lateral (select keyed and weir.line_key(h.name) <> '' as named offset 0) k
    left join lateral (select x.* from weir.limit_override x where overridden and x.queue_id = queue.id and x.what = 'key' and x.name = weir.line_key(h.name)) v on true
    cross join lateral (select case when k.named then coalesce(v.concurrency, per_key) end as concurrency, case when k.named then coalesce(v.per_second, key_per_second) end as per_second,
      case when k.named then coalesce(v.burst, key_burst) end as burst) r
    offset 0
  ), fresh as materialized (
    select f.*, case when f.stays then nextval('weir.line_tick') end as new_turn,
      case when f.tokens < f.burst and not f.stays then now_at
        + make_interval(secs => (case when f.priorities <> '{}' and f.tokens < 1 then 1 else f.burst end - f.tokens) / f.per_second) end as rest_until
    from (
      select l.*, l.priorities <> '{}' and (l.concurrency is null or l.in_flight < l.concurrency) and (l.tokens is null or l.tokens >= 1 - 1e-6) as stays
      from lanes l offset 0) f
  ), old as (
    delete from weir.line l where l.ctid = any (array(select f.tid from fresh f))
  ), stored as (
    insert into weir.line (queue_id, name, tick, tenant, in_flight, waiting, priorities, floors, turn, priority, tokens, tokens_at, rest_until)
    select queue.id, f.name, nextval('weir.line_tick'), f.tenant, f.in_flight, case when f.priorities = '{}' then 0 else greatest(f.waiting, 1) end, f.priorities, f.floors, f.new_turn,
      case when f.stays then f.priorities[1] end, f.tokens, case when f.tokens is not null then now_at end, f.rest_until
    from fresh f where f.in_flight > 0 or f.priorities <> '{}' or f.rest_until is not null
  )
  select sum(t.got), sum(t.tried), -sum(t.emptied), array_agg(t.tenant), array_agg(-t.closed), array_agg(t.got), array_agg(t.priority), array_agg(t.turn)
    into admitted, tried, more_waiting, tenants, more_open, served, passed_priorities, passed_turns
  from (
    select f.tenant, sum(f.got)::int as got, count(*)::int as tried, sum((f.priorities = '{}')::int)::int as emptied, sum((not f.stays)::int)::int as closed, max(f.priority) as priority, max(f.turn) as turn
    from fresh f group by f.tenant) t;
  admitted := coalesce(admitted, 0);
  tried := coalesce(tried, 0);
  more_waiting := coalesce(more_waiting, 0);
end $$;

-- Writes tenants anew. served[i] jobs move tenants[i] on in virtual time; passed_priorities[i] and passed_turns[i] say how far its lines of a priority were served.
create or replace function weir.touch_tenants(queue weir.queue, virtual_time float8, tenants text[], more_open int[], more_flying int[], served int[] default null,
  passed_priorities smallint[] default null, passed_turns bigint[] default null) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  overridden boolean := queue.line_by >= 2 and exists (select from weir.limit_override o where o.queue_id = queue.id and o.what = 'tenant');
begin
  with changes as materialized (
    select u.*, o.tid as old_tid, coalesce(o.open, 0) + u.more_open as open, greatest(coalesce(o.in_flight, 0) + u.more_flying, 0) as in_flight, v.concurrency,
      greatest(coalesce(o.start, virtual_time), case when coalesce(o.takes, false) then o.start else virtual_time end)
        + coalesce(u.served, 0) / coalesce(v.weight, (queue.limits #>> array['tenants', 'weights', u.tenant])::float8, 1) as start,
      coalesce(o.passed, array_fill(0::bigint, array[10])) as passed, o.takes as took
    from unnest(tenants, more_open, more_flying, served, passed_priorities, passed_turns) u(tenant, more_open, more_flying, served, passed_priority, passed_turn)
    left join lateral (select t.*, t.ctid as tid from weir.tenant_share t where t.queue_id = queue.id and t.tenant = u.tenant order by t.tick desc limit 1) o on true
    left join lateral (select x.concurrency, x.weight from weir.limit_override x where overridden and x.queue_id = queue.id and x.what = 'tenant' and x.name = u.tenant) v on true
  ), changed as materialized (
    select c.*, c.open > 0 and (c.concurrency is null or c.in_flight < c.concurrency) as takes from changes c
    where c.served > 0 or c.more_open <> 0 or c.more_flying <> 0 or c.took is distinct from (c.open > 0 and (c.concurrency is null or c.in_flight < c.concurrency))
  ), gone as (
    delete from weir.tenant_share t where t.ctid = any (array(select c.old_tid from changed c where c.old_tid is not null))
  )
  insert into weir.tenant_share (queue_id, tenant, tick, open, in_flight, start, takes, passed)
  select queue.id, c.tenant, nextval('weir.line_tick'), c.open, c.in_flight, c.start, c.takes,
    case when c.passed_turn is null then c.passed
      else c.passed[1:c.passed_priority - 1] || greatest(c.passed[c.passed_priority], c.passed_turn) || c.passed[c.passed_priority + 1:10] end
  from changed c where c.open > 0 or c.in_flight > 0 or c.start > virtual_time;
end $$;

-- Whose turn it is, for up to `room` jobs: start-time fair queueing over the tenants that take.
create or replace function weir.choose_tenants(queue weir.queue, virtual_time float8, room int, out chosen text[], out rooms int[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off as $$
declare
  overridden constant boolean := exists (select from weir.limit_override o where o.queue_id = queue.id and o.what = 'tenant');
begin
  with candidates as materialized (
    select t.tenant, t.start, coalesce(v.weight, (queue.limits #>> array['tenants', 'weights', t.tenant])::float8, 1) as weight, least(room, v.concurrency - t.in_flight) as most
    from (select x.* from weir.tenant_share x where x.queue_id = queue.id and x.takes and x.start >= virtual_time order by x.start limit room) t
    left join lateral (select x.concurrency, x.weight from weir.limit_override x where overridden and x.queue_id = queue.id and x.what = 'tenant' and x.name = t.tenant) v on true
  )
  select array_agg(x.tenant), array_agg(x.n) into chosen, rooms
  from (
    select c.tenant, count(*)::int as n from (
      select c.tenant from candidates c
      cross join lateral generate_series(0, least(c.most, ceil(room * c.weight / (select sum(w.weight) from candidates w))::int + 1) - 1) j
      order by c.start + j / c.weight limit room) c
    group by c.tenant) x;
end $$;

create or replace function weir.next_start(queue_id int, virtual_time float8) returns float8 language sql stable as $$
  select coalesce(
    (select t.start from weir.tenant_share t where t.queue_id = next_start.queue_id and t.takes and t.start >= next_start.virtual_time order by t.start limit 1),
    (select max(t.start) from weir.tenant_share t where t.queue_id = next_start.queue_id), next_start.virtual_time)
$$;
comment on function weir.take_inbox(weir.queue, int) is 'Internal. Puts up to `most` jobs of a governed queue that became available into lines.';
comment on function weir.line_tokens(float8, float8, float8, timestamptz, timestamptz) is 'Internal. What a line''s rate allows at once; null: it has none.';
comment on function weir.note_lines(weir.queue, boolean, timestamptz, text[], smallint[], bigint[], int[], text[], int[]) is 'Internal. Notes what came to lines and went from them, and opens and closes them.';
comment on function weir.serve_lines(weir.queue, boolean, timestamptz, text[], int[], bigint[]) is 'Internal. Admits jobs from the lines whose turn it is: one round.';
comment on function weir.touch_tenants(weir.queue, float8, text[], int[], int[], int[], smallint[], bigint[]) is 'Internal. Notes what changed for tenants, and moves them on in virtual time.';
comment on function weir.choose_tenants(weir.queue, float8, int) is 'Internal. The tenants whose turn it is, and how many jobs each may have admitted.';
comment on function weir.next_start(int, float8) is 'Internal. Where virtual time is when the tenants have been served: at the lowest start of those that take.';
