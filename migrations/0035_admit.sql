-- The admitter: from the lines of a governed queue (job_held) to where claims look (job_ready under minus the queue's id), as the limits allow.
--
-- One pass is one short transaction. Passes of a queue take turns (advisory lock, transaction level), so the rows of weir.line, tenant_share and admission
-- have one writer, and a limit cannot be passed by two sessions at once. Nodes make a pass before they claim for somebody, and from a loop. Nobody else
-- waits for a pass: enqueues and completions only leave word in line_news, and jobs that somebody has locked are left for later.
--
-- In flight is what was admitted and has neither ended nor gone back: what lies in job_ready under minus the queue's id, leases with a line, and jobs that keep
-- their line (line_kept). The counts in weir.line are those rows, and what the news says of such that are gone.
--
-- Which job is next: the tenant with the lowest start in virtual time (one tenant, where none are told apart); of its open lines those with the highest
-- priority, in turn; of a line the highest priority, then the order of enqueueing. A line is open while something waits in it and its own limits have room.
--
-- +goose Up
-- Of a queue's places in job_ready, the jobs that nobody has claimed, up to so many. Only the admitter puts jobs there, so what it saw last is a bound for good.
-- +goose StatementBegin
create function weir.count_unclaimed(queue_id int, after bigint[], tip bigint, most int, out unclaimed int, out now_after bigint[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
begin
  select coalesce(sum(x.n), 0)::int, array_agg(coalesce(x.lowest - 1, greatest(after[p], tip)) order by p) into unclaimed, now_after
  from generate_series(1, 10) p cross join lateral (
    select count(*) as n, min(r.seq) as lowest from (
      select r.seq from weir.job_ready r where r.queue_id = -count_unclaimed.queue_id and r.priority = p and r.seq > after[p] order by r.seq limit most) r) x;
end $$;

-- Takes what lies in job_ready under the queue's own id into lines. Locks: those rows, skip locked.
create function weir.take_inbox(queue weir.queue, most int, out names text[], out priorities smallint[], out floors bigint[], out counts int[], out went text[], out taken int)
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
  with gone as (delete from weir.job_ready r where r.ctid = any (tids) returning r.job_id, r.attempt, r.let_through)
  select array_agg(g.job_id), array_agg(g.attempt), array_agg(g.let_through), count(*), min(g.job_id), max(g.job_id) into ids, attempts, passes, taken, lowest, highest from gone g;
  -- Those that kept their line while they waited for a retry are no longer in flight, but first in their line, being the oldest.
  with gone as (delete from weir.line_kept k where k.job_id = any (ids) returning k.job_id)
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
create function weir.line_tokens(per_second float8, burst float8, tokens float8, tokens_at timestamptz, now_at timestamptz) returns float8 language sql immutable as $$
  select case when per_second is not null then least(burst, coalesce(tokens, burst) + per_second * greatest(extract(epoch from now_at - tokens_at)::float8, 0)) end
$$;

-- Notes what came to lines, went from them or rested, and opens and closes them. Those that are opened come after all that are open.
create function weir.note_lines(queue weir.queue, overridden boolean, now_at timestamptz, came text[], came_priorities smallint[], came_floors bigint[], came_counts int[], went text[], went_counts int[],
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
create function weir.serve_lines(queue weir.queue, overridden boolean, now_at timestamptz, chosen text[], rooms int[], passed bigint[],
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
    select -queue.id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through from (select * from gone where queue.line_by < 2 order by job_id) g
    union all  -- the tenants interleaved, so that each has its share of any part of the round
    select -queue.id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through from (
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
create function weir.touch_tenants(queue weir.queue, virtual_time float8, tenants text[], more_open int[], more_flying int[], served int[] default null,
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
create function weir.choose_tenants(queue weir.queue, virtual_time float8, room int, out chosen text[], out rooms int[]) language plpgsql
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

create function weir.next_start(queue_id int, virtual_time float8) returns float8 language sql stable as $$
  select coalesce(
    (select t.start from weir.tenant_share t where t.queue_id = next_start.queue_id and t.takes and t.start >= next_start.virtual_time order by t.start limit 1),
    (select max(t.start) from weir.tenant_share t where t.queue_id = next_start.queue_id), next_start.virtual_time)
$$;

-- What a queue's rate allows at once: a token bucket that claims take from, at the times when they were made.
create function weir.queue_tokens(queue weir.queue, tokens float8, tokens_at timestamptz, now_at timestamptz) returns float8 language sql immutable as $$
  select case when queue.limits ? 'rate' then least(weir.rate_burst(queue.limits -> 'rate'), coalesce(tokens, weir.rate_burst(queue.limits -> 'rate'))
      + (queue.limits #>> '{rate,per_second}')::float8 * greatest(extract(epoch from now_at - tokens_at)::float8, 0)) end
$$;

-- Gives back what is admitted and not claimed, so that limits that have just changed hold for it. Locks: the job_ready rows, skip locked.
create function weir.withdraw(queue weir.queue) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  tids tid[] := array(select r.ctid from weir.job_ready r where r.queue_id = -queue.id for update skip locked);
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
  perform weir.places_left(ids, queue.id);
end $$;

-- Makes the lines of a queue anew from the rows that they stand for. One statement counts and discards the news that it has counted.
create function weir.rebuild_lines(queue weir.queue, inout admission weir.admission) language plpgsql
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
      union all select r.job_id from weir.job_ready r where r.queue_id = -queue.id
      union all select k.job_id from weir.line_kept k where k.queue_id = queue.id) a
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
create function weir.judge_lines(queue weir.queue, virtual_time float8) returns int language plpgsql as $$
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
create function weir.readjust(queue weir.queue, inout admission weir.admission) language plpgsql
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
    delete from weir.line_kept k where k.queue_id = queue.id;
    delete from weir.line_news n where n.queue_id = queue.id;
    delete from weir.line l where l.queue_id = queue.id;
    delete from weir.tenant_share t where t.queue_id = queue.id;
    perform weir.wake(array[queue.name]);
  end if;
end $$;

-- One pass. Locks: the queue's advisory lock until the transaction ends; then as the functions above.
create function weir.admit(queue text, wanted int default null, out admitted int, out waiting int, out held_by text, out next_in float8, out more boolean, out available int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  q weir.queue;
  st weir.admission;
  was weir.admission;
  was_tid tid;
  snapshot pg_snapshot;
  now_at timestamptz;
  news record;
  inbox record;
  moved record;
  came text[];
  came_priorities smallint[];
  came_floors bigint[];
  came_counts int[];
  went text[];
  went_counts int[];
  chosen text[];
  rooms int[];
  turns bigint[];
  overridden boolean := false;
  changed boolean := false;
  rested text[];
  unclaimed int;
  target int;
  enough int;
  room int;
  busy boolean;
  kind text;
  tokens float8;
  counted record;
begin
  admitted := 0;
  waiting := 0;
  more := false;
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'admit needs a READ COMMITTED transaction', hint = 'Its statements must each see what was committed before they began.', column = 'queue';
  end if;
  select x.* into q from weir.queue x where x.name = admit.queue;
  if not found then
    return;
  elsif wanted is not null then
    perform pg_advisory_xact_lock(hashtext('weir'), hashtext('admit ' || q.id));
  elsif not pg_try_advisory_xact_lock(hashtext('weir'), hashtext('admit ' || q.id)) then
    return;
  end if;
  select x.* into q from weir.queue x where x.id = q.id;  -- what holds now that it is our turn
  select a.* into st from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1;
  if wanted is null and st.asked_at > clock_timestamp() - interval '1 s' and st.phase = 'open' and st.version = q.limits_version then
    waiting := st.lines_waiting;
    return;  -- those who claim see to it themselves
  end if;
  -- What its rate keeps need not be looked at before the rate allows something, or for a second: a job that is cancelled gives its token back.
  if st.phase = 'open' and st.version = q.limits_version and st.rate_until > clock_timestamp() and st.passed_at > clock_timestamp() - interval '1 s' then
    waiting := st.lines_waiting;
    held_by := 'rate';
    available := 0;
    next_in := extract(epoch from st.rate_until - clock_timestamp());
    return;
  end if;
  was := st;
  kind := q.line_by::text;
  snapshot := pg_current_snapshot();
  if st.queue_id is null then
    if q.line_by is null and not exists (select from weir.line_news n where n.queue_id = q.id) then
      return;
    end if;
    st.queue_id := q.id;
    st.version := -1;
    st.phase := case when q.line_by is null then 'closing' else 'adopting' end;
    st.since := clock_timestamp();
    st.holders := '{?}';
    st.news_after := 0;
    st.news_among := '{}';
    st.in_flight := 0;
    st.lines_waiting := 0;
    st.virtual_time := 0;
    st.passed := array_fill(0::bigint, array[10]);
    st.ready_after := array_fill(0::bigint, array[10]);
    st.tip := 0;
    st.asked_at := '-infinity';
    st.ahead := 16;
    st.rested_until := '-infinity';
    st.passed_at := '-infinity';
    st.admitted := 0;
  end if;
  lock table weir.job_ready in row exclusive mode;

  if st.version <> q.limits_version or st.phase <> 'open' then
    st := weir.readjust(q, st);
    more := st.phase <> 'open';
    if st.phase = 'closing' and not exists (select from weir.job_held h where h.queue_id = q.id and h.reason = 'line')
      and not exists (select from weir.job_ready r where r.queue_id = -q.id) then
      delete from weir.admission a where a.queue_id = q.id;
      more := false;
      return;
    end if;
  end if;

  if st.phase = 'open' then
    -- First what is unclaimed, then the news of claims: one that comes in between counts twice, and not never.
    -- Where claims follow each other quickly, several of them are served by one pass, for much of what one costs does not depend on how much it admits. What it
    -- does not look at in the meantime is a tenth of a second old at most.
    busy := wanted > 0 and least(st.passed_at, st.asked_at) > clock_timestamp() - interval '100 ms';
    enough := case when busy then least(wanted + wanted / 2, 2000) end;
    target := case when wanted is null then st.ahead else least(case when busy then 5 else 2 end * wanted, 2000) end;
    select * into counted from weir.count_unclaimed(q.id, st.ready_after, st.tip, greatest(coalesce(enough, target), ceil(weir.rate_burst(q.limits -> 'rate'))::int));
    unclaimed := counted.unclaimed;
    available := unclaimed;
    if unclaimed >= enough then
      waiting := st.lines_waiting;
      return;
    end if;
    st.rate_until := null;
    st.ready_after := counted.now_after;
    with took as (
      delete from weir.line_news n where n.ctid = any (array(
        select x.tid from (
          select n.ctid as tid from weir.line_news n where n.queue_id = q.id and n.xid >= st.news_after
          union all select n.ctid from weir.line_news n where n.queue_id = q.id and n.xid = any (st.news_among) and n.xid < st.news_after) x
        limit 1000))
      returning n.*
    ), came as (
      select u.name, u.priority, min(u.floor) as floor, sum(u.n)::int as n from took t cross join unnest(t.came, t.priorities, t.floors, t.counts) u(name, priority, floor, n) group by u.name, u.priority
    ), went as (
      select w.name, count(*)::int as n from (
        select case when left(u.name, 1) = kind then u.name else (select weir.line_name(q.line_by, j.tenant, j.concurrency_key) from weir.job j where j.id = u.job_id) end as name
        from took t cross join unnest(t.went, t.went_jobs) u(name, job_id)) w
      group by w.name
    )
    select c.names as came, c.priorities, c.floors, c.counts, w.names as went, w.counts as went_counts, t.claimed, t.claimed_at, t.n into news
    from (select array_agg(x.name) as names, array_agg(x.priority) as priorities, array_agg(x.floor) as floors, array_agg(x.n) as counts from came x) c,
      (select array_agg(x.name) as names, array_agg(x.n) as counts from went x) w,
      (select array_agg(x.claimed order by x.claimed_at) filter (where x.claimed is not null) as claimed, array_agg(x.claimed_at order by x.claimed_at) filter (where x.claimed is not null) as claimed_at,
        count(*) as n from took x) t;
    if news.n < 1000 then
      if news.n > 0 then
        st.news_after := pg_snapshot_xmax(snapshot)::text::bigint;
        st.news_among := array(select x::text::bigint from pg_snapshot_xip(snapshot) x);
      end if;
    else
      more := true;
    end if;
    now_at := clock_timestamp();
    if q.limits ? 'rate' then
      for i in 1..coalesce(cardinality(news.claimed), 0) loop
        st.tokens := weir.queue_tokens(q, st.tokens, st.tokens_at, news.claimed_at[i]) - news.claimed[i];
        st.tokens_at := greatest(st.tokens_at, news.claimed_at[i]);
      end loop;
    else
      st.tokens := null;
    end if;
    -- Into a line of another kind: from a transaction that read the queue's limits before they changed.
    if exists (select from unnest(news.came) c where left(c, 1) <> kind) then
      st.phase := 'sorting';
      more := true;
    end if;
    select * into inbox from weir.take_inbox(q, 2000);
    more := more or inbox.taken = 2000;
    st.passed_at := case when not more then clock_timestamp() else '-infinity' end;
    overridden := q.line_by in (1, 3) and exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'key');
    if overridden or q.limits ? 'key_rate' then
      rested := array(select l.name from weir.line l where l.queue_id = q.id and l.rest_until > st.rested_until - interval '1 s' and l.rest_until <= now_at order by l.rest_until limit 1000);
      if cardinality(rested) < 1000 then
        st.rested_until := now_at;
      end if;
    end if;
    came := news.came || inbox.names || rested;
    came_priorities := news.priorities || inbox.priorities || array_fill(null::smallint, array[coalesce(cardinality(rested), 0)]);
    came_floors := news.floors || inbox.floors || array_fill(null::bigint, array[coalesce(cardinality(rested), 0)]);
    came_counts := news.counts || inbox.counts || array_fill(0, array[coalesce(cardinality(rested), 0)]);
    went := news.went || inbox.went;
    went_counts := news.went_counts || array_fill(1, array[coalesce(cardinality(inbox.went), 0)]);
    changed := coalesce(cardinality(came), 0) + coalesce(cardinality(went), 0) > 0;
    st.in_flight := greatest(st.in_flight - coalesce((select sum(n) from unnest(went_counts) n), 0)::int, 0);
  end if;

  if st.phase = 'open' and (st.lines_waiting > 0 or changed) then
    if wanted is null then
      st.ahead := case when unclaimed = 0 then least(st.ahead * 2, 2000) when unclaimed >= st.ahead / 2 then greatest(st.ahead / 2, 16) else st.ahead end;
    end if;
    tokens := weir.queue_tokens(q, st.tokens, st.tokens_at, now_at) - unclaimed;
    if changed then
      select * into moved from weir.note_lines(q, overridden, now_at, came, came_priorities, came_floors, came_counts, went, went_counts);
      st.lines_waiting := st.lines_waiting + moved.more_waiting;
      if q.line_by >= 2 then
        perform weir.touch_tenants(q, st.virtual_time, moved.tenants, moved.more_open, moved.more_flying);
        st.virtual_time := weir.next_start(q.id, st.virtual_time);
      end if;
    end if;
    for round in 1..100 loop
      room := greatest(least(target - unclaimed - admitted, (q.limits ->> 'concurrency')::int - st.in_flight, floor(tokens + 1e-6)::int), 0);
      exit when room = 0 or st.lines_waiting = 0;
      chosen := array[''];
      rooms := array[room];
      if q.line_by >= 2 then
        select c.chosen, c.rooms into chosen, rooms from weir.choose_tenants(q, st.virtual_time, room) c;
        exit when rooms is null;
      end if;
      select * into moved from weir.serve_lines(q, overridden, now_at, chosen, rooms, case when q.line_by < 2 then st.passed end);
      exit when moved.tried = 0;
      admitted := admitted + moved.admitted;
      st.in_flight := st.in_flight + moved.admitted;
      st.lines_waiting := st.lines_waiting + moved.more_waiting;
      tokens := tokens - moved.admitted;
      if q.line_by >= 2 then
        perform weir.touch_tenants(q, st.virtual_time, moved.tenants, moved.more_open, moved.served, moved.served, moved.passed_priorities, moved.passed_turns);
        st.virtual_time := weir.next_start(q.id, st.virtual_time);
      elsif moved.passed_turns[1] is not null then
        turns := st.passed;
        turns[moved.passed_priorities[1]] := greatest(turns[moved.passed_priorities[1]], moved.passed_turns[1]);
        st.passed := turns;
      end if;
    end loop;
    st.admitted := st.admitted + admitted;
    available := unclaimed + admitted;
    if admitted > 0 then
      st.tip := currval('weir.job_id_seq');
      st.asked_at := case when wanted > 0 then now_at else st.asked_at end;
    end if;
    held_by := case when st.lines_waiting = 0 then null
      when room <= 0 and (q.limits ->> 'concurrency')::int <= st.in_flight then 'concurrency'
      when room <= 0 and tokens < 1 - 1e-6 then 'rate'
      when room > 0 then 'line' end;
    if held_by = 'rate' then
      -- Not for each token: with many a second that would be a pass of each node for each of them. A quarter of a burst is soon enough.
      next_in := greatest(1 - tokens, least(0.02 * (q.limits #>> '{rate,per_second}')::float8, weir.rate_burst(q.limits -> 'rate') / 4)) / (q.limits #>> '{rate,per_second}')::float8;
      st.rate_until := now_at + make_interval(secs => next_in);
    end if;
  end if;
  if overridden or q.limits ? 'key_rate' then
    next_in := least(next_in, (select greatest(extract(epoch from l.rest_until - clock_timestamp()), 0.001)::float8 from weir.line l
      where l.queue_id = q.id and l.rest_until > st.rested_until and l.priorities <> '{}' order by l.rest_until limit 1));
  end if;
  waiting := st.lines_waiting;
  if st is distinct from was then
    delete from weir.admission a where a.queue_id = q.id and a.tick = was.tick;
    st.tick := nextval('weir.line_tick');
    insert into weir.admission values (st.*);
  end if;
  if admitted > 0 and wanted is null then
    perform weir.wake(array[q.name]);
  end if;
end $$;

-- Which queues a node is to make a pass of, and which are governed at all.
create function weir.admissions(out queue text, out governed boolean, out busy boolean) returns setof record language sql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select q.name, q.governed,
    a.queue_id is null or a.version <> q.limits_version or a.phase <> 'open' or a.lines_waiting > 0
      or exists (select from weir.line_news n where n.queue_id = q.id and (n.xid >= a.news_after or n.xid = any (a.news_among)))
      or exists (select from generate_series(1, 10) p where (select true from weir.job_ready r where r.queue_id = q.id and r.priority = p
        and r.seq > least(coalesce(f.positions[p], w.seq), (select min(s) from unnest(w.holder_seqs) s)) limit 1))
  from weir.queue q
  cross join lateral (select * from weir.watermark x order by x.tick desc limit 1) w
  left join lateral (select * from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1) a on true
  left join lateral (select * from weir.frontier x where x.queue_id = q.id order by x.tick desc limit 1) f on true
  where q.governed or a.queue_id is not null or exists (select from weir.line_news n where n.queue_id = q.id)
$$;
-- +goose StatementEnd
comment on function weir.count_unclaimed(int, bigint[], bigint, int) is 'Internal. How many jobs of a governed queue are admitted and not claimed, at most so many a priority, and where to look from the next time.';
comment on function weir.take_inbox(weir.queue, int) is 'Internal. Puts up to `most` jobs of a governed queue that became available into lines.';
comment on function weir.line_tokens(float8, float8, float8, timestamptz, timestamptz) is 'Internal. What a line''s rate allows at once; null: it has none.';
comment on function weir.note_lines(weir.queue, boolean, timestamptz, text[], smallint[], bigint[], int[], text[], int[]) is 'Internal. Notes what came to lines and went from them, and opens and closes them.';
comment on function weir.serve_lines(weir.queue, boolean, timestamptz, text[], int[], bigint[]) is 'Internal. Admits jobs from the lines whose turn it is: one round.';
comment on function weir.next_start(int, float8) is 'Internal. Where virtual time is when the tenants have been served: at the lowest start of those that take.';
comment on function weir.touch_tenants(weir.queue, float8, text[], int[], int[], int[], smallint[], bigint[]) is 'Internal. Notes what changed for tenants, and moves them on in virtual time.';
comment on function weir.choose_tenants(weir.queue, float8, int) is 'Internal. The tenants whose turn it is, and how many jobs each may have admitted.';
comment on function weir.queue_tokens(weir.queue, float8, timestamptz, timestamptz) is 'Internal. What a queue''s rate allows at once; null: it has none.';
comment on function weir.withdraw(weir.queue) is 'Internal. Puts what is admitted and not claimed back among what waits.';
comment on function weir.rebuild_lines(weir.queue, weir.admission) is 'Internal. Makes the lines of a queue anew from the jobs that wait and are in flight.';
comment on function weir.judge_lines(weir.queue, float8) is 'Internal. Opens and closes the lines and tenants of a queue by limits that have changed.';
comment on function weir.readjust(weir.queue, weir.admission) is 'Internal. One batch of what is to be done when the limits of a queue have changed.';
comment on function weir.admit(text, int) is
  'One pass of a governed queue: takes note of what came and ended, and admits what its limits allow, so that about `wanted` jobs can be claimed at once (null: some, and only if nobody else is '
  'at it). Nodes call it; where none runs, call it before you claim. Commit soon: others wait for it. Returns how many it admitted, in how many lines something still waits, which limit '
  'keeps it (concurrency, rate, or line: of a key or tenant), when a rate allows the next one, in seconds, whether to call it again at once, and how many can be claimed as far as it has counted (null: it has not). Errors: WR010 in a REPEATABLE READ transaction.';
comment on function weir.admissions() is 'Internal, for a node: the governed queues, and those among them (or lately so) that have something for weir.admit to do.';

-- +goose Down
drop function weir.admissions(), weir.admit(text, int), weir.readjust(weir.queue, weir.admission), weir.judge_lines(weir.queue, float8), weir.rebuild_lines(weir.queue, weir.admission), weir.withdraw(weir.queue),
  weir.queue_tokens(weir.queue, float8, timestamptz, timestamptz), weir.choose_tenants(weir.queue, float8, int),
  weir.touch_tenants(weir.queue, float8, text[], int[], int[], int[], smallint[], bigint[]), weir.next_start(int, float8),
  weir.serve_lines(weir.queue, boolean, timestamptz, text[], int[], bigint[]), weir.note_lines(weir.queue, boolean, timestamptz, text[], smallint[], bigint[], int[], text[], int[]),
  weir.line_tokens(float8, float8, float8, timestamptz, timestamptz),
  weir.take_inbox(weir.queue, int), weir.count_unclaimed(int, bigint[], bigint, int);
