-- The second half of a pass of the admitter: rounds that admit jobs from the lines whose turn it is, until a limit is
-- reached, no line has room, or there are enough admitted jobs. Only weir.admit calls these functions, under its
-- settings and its lock.

create or replace function weir.admit_jobs(queue weir.queue, inout admission weir.admission, overridden boolean,
  now_at timestamptz,
  changed boolean, changes weir.line_changes, wanted int, unclaimed int, target int, out admitted int,
    out held_by text, out next_in float8)
language plpgsql as $$
declare
  concurrency constant int := (queue.limits ->> 'concurrency')::int;
  per_second constant float8 := (queue.limits #>> '{rate,per_second}')::float8;
  tokens float8 := weir.queue_tokens(queue, admission.tokens, admission.tokens_at, now_at) - unclaimed;
  room int;
  tenants record;
  moved record;
begin
  admitted := 0;
  if wanted is null then
    admission.prefetch := case when unclaimed = 0 then least(admission.prefetch * 2, 2000)
      when unclaimed >= admission.prefetch / 2 then greatest(admission.prefetch / 2, 16) else admission.prefetch end;
  end if;
  if changed then
    select * into moved from weir.update_lines(queue, overridden, now_at, changes);
    admission.lines_waiting := admission.lines_waiting + moved.more_waiting;
    if queue.line_by >= 2 then
      perform weir.update_tenants(queue, admission.virtual_time, moved.tenants, moved.more_open, moved.more_in_flight);
      admission.virtual_time := weir.next_virtual_time(queue.id, admission.virtual_time);
    end if;
  end if;
  for round in 1..100 loop
    room := greatest(least(target - unclaimed - admitted, concurrency - admission.in_flight,
      floor(tokens + 1e-6)::int), 0);
    exit when room = 0 or admission.lines_waiting = 0;
    if queue.line_by >= 2 then
      select * into tenants from weir.choose_tenants(queue, admission.virtual_time, room);
      exit when tenants.rooms is null;
      select * into moved from weir.serve_lines(queue, overridden, now_at, tenants.chosen, tenants.rooms, null);
    else
      select * into moved from weir.serve_lines(queue, overridden, now_at, array[''], array[room],
        admission.served_turns);
    end if;
    exit when moved.tried = 0;
    admitted := admitted + moved.admitted;
    admission.in_flight := admission.in_flight + moved.admitted;
    admission.lines_waiting := admission.lines_waiting + moved.more_waiting;
    tokens := tokens - moved.admitted;
    if queue.line_by >= 2 then
      perform weir.update_tenants(queue, admission.virtual_time, moved.tenants, moved.more_open, moved.served,
        moved.served,
        moved.served_priorities, moved.served_turns);
      admission.virtual_time := weir.next_virtual_time(queue.id, admission.virtual_time);
    elsif moved.served_turns[1] is not null then
      admission.served_turns[moved.served_priorities[1]] :=
        greatest(admission.served_turns[moved.served_priorities[1]], moved.served_turns[1]);
    end if;
  end loop;
  admission.admitted := admission.admitted + admitted;
  if admitted > 0 then
    admission.last_seq := currval('weir.job_id_seq');
    admission.demanded_at := case when wanted > 0 then now_at else admission.demanded_at end;
  end if;
  held_by := case when admission.lines_waiting = 0 then null
    when room <= 0 and concurrency <= admission.in_flight then 'concurrency'
    when room <= 0 and tokens < 1 - 1e-6 then 'rate'
    when room > 0 then 'line' end;
  if held_by = 'rate' then
    -- Not for every token: at a high rate each node would make a pass for each of them. A quarter of a burst is soon
    -- enough.
    next_in := greatest(1 - tokens, least(0.02 * per_second, weir.rate_burst(queue.limits -> 'rate') / 4)) / per_second;
    admission.rate_until := now_at + make_interval(secs => next_in);
  end if;
end $$;
comment on function weir.admit_jobs(weir.queue, weir.admission, boolean, timestamptz, boolean, weir.line_changes, int,
  int, int) is
  'Internal. Updates the lines that changed, then admits jobs until `target` are unclaimed, as the limits allow. '
  'Returns how many it admitted, which limit holds the others, and in how many seconds a rate allows the next.';

-- Inlined by the planner. Of each tenant the open lines of its highest priority, in turn, until there is no room.
create or replace function weir.choose_lines(queue_id int, now_at timestamptz, chosen text[], rooms int[],
  after_turns bigint[], keyed boolean, overridden boolean, per_key int, key_per_second float8, key_burst float8)
returns table (tid tid, quota int) language sql stable as $$
  with scanned as (  -- most: how many jobs the line could give
    select l.tid, u.tenant, u.n as room, l.turn,
      least(r.concurrency - l.in_flight, floor(weir.line_tokens(r.per_second, r.burst, l.tokens, l.tokens_at,
        choose_lines.now_at) + 1e-6)::int, l.waiting) as most
    from unnest(choose_lines.chosen, choose_lines.rooms) u(tenant, n)
    cross join lateral (
      select u.n / 2 + 16 as most, coalesce(choose_lines.after_turns,
        (select t.served_turns from weir.tenant_share t
          where t.queue_id = choose_lines.queue_id and t.tenant = u.tenant order by t.tick desc limit 1)) as turns
        offset 0) c
    cross join lateral (
      select p from generate_series(10, 1, -1) p
      where (select true from weir.line x where x.queue_id = choose_lines.queue_id and x.tenant = u.tenant
        and x.priority = p and x.turn > c.turns[p] limit 1)
      limit 1) best
    cross join lateral (
      select x.ctid as tid, x.name, x.in_flight, x.waiting, x.turn, x.tokens, x.tokens_at from weir.line x
      where x.queue_id = choose_lines.queue_id and x.tenant = u.tenant and x.priority = best.p
        and x.turn > c.turns[best.p] order by x.turn limit c.most) l
    cross join lateral weir.line_limits(choose_lines.queue_id, l.name, choose_lines.keyed, choose_lines.overridden,
      choose_lines.per_key, choose_lines.key_per_second, choose_lines.key_burst) r
  ), wishes as (  -- at most 16 jobs a turn
    select s.tid, s.tenant, s.turn, s.room,
      greatest(least(s.most, greatest(1, least(16, s.room / 16),
        ceil(s.room::float8 / count(*) over (partition by s.tenant))::int)), 0) as wish
    from scanned s
  )
  select w.tid, least(w.wish, w.room - w.before)::int
  from (
    select x.*, coalesce(sum(x.wish) over (partition by x.tenant
      order by x.turn rows between unbounded preceding and 1 preceding), 0) as before
    from wishes x) w
  where w.before < w.room
$$;
comment on function weir.choose_lines(int, timestamptz, text[], int[], bigint[], boolean, boolean, int, float8, float8)
  is 'Internal. The lines that give jobs in one round, and how many each gives.';

-- A line gives several jobs at a turn where there is room for many, so that a turn costs less than a job. Locks: the
-- job_held rows that it takes, skip locked. The caller passes served_turns where the limits do not tell tenants apart.
create or replace function weir.serve_lines(queue weir.queue, overridden boolean, now_at timestamptz, chosen text[],
  rooms int[], after_turns bigint[],
  out admitted int, out tried int, out more_waiting int, out tenants text[], out more_open int[], out served int[],
  out served_priorities smallint[], out served_turns bigint[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_mergejoin = off as $$
declare
  keyed constant boolean := queue.line_by in (1, 3);
  per_key int := (queue.limits ->> 'per_key')::int;
  key_per_second float8 := (queue.limits #>> '{key_rate,per_second}')::float8;
  key_burst float8 := case when queue.limits ? 'key_rate' then weir.rate_burst(queue.limits -> 'key_rate') end;
begin
  with quotas as materialized (
    select c.tid, c.quota from weir.choose_lines(queue.id, now_at, chosen, rooms, after_turns, keyed, overridden,
      per_key, key_per_second, key_burst) c
  ), heads as materialized (
      -- the jobs at the head of each line: one more than its quota, to see whether it has others
    select q.tid, q.quota, l.name, l.tenant, l.in_flight, l.waiting, l.priorities, l.floors, l.turn, l.priority,
      l.tokens, l.tokens_at,
      array(
        select h.ctid from weir.job_held h
        where h.queue_id = queue.id and h.key = l.name and h.reason = 'line' and h.priority = l.priorities[1]
          and h.seq > l.floors[1]
        order by h.seq limit q.quota + 1) as tids
    from quotas q cross join lateral (select x.* from weir.line x where x.ctid = q.tid offset 0) l
  ), free as materialized (
    select h.ctid as tid from weir.job_held h where h.ctid = any (array(select unnest(x.tids[1:x.quota]) from heads x))
      for update skip locked
  ), gone as (
    delete from weir.job_held h where h.ctid = any (array(select f.tid from free f))
    returning h.job_id, h.priority, h.attempt, h.key, h.seq, h.let_through
  ), ready as (  -- tenants are interleaved, so that each has its share of any part of the round
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id, let_through)
    select queue.admitted_id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through
    from (select * from gone where queue.line_by < 2 order by job_id) g
    union all
    select queue.admitted_id, g.priority, g.attempt, nextval('weir.job_id_seq'), g.job_id, g.let_through
    from (
      select x.* from (
        select o.*, (row_number() over u - 0.5) / count(*) over (partition by o.key) as place
        from gone o where queue.line_by >= 2 window u as (partition by o.key order by o.job_id)) x
      order by x.place, x.job_id) g
  ), got as (
    select g.key as name, count(*)::int as n, max(g.seq) as last from gone g group by g.key
  ), counted as (
      -- the lines as they are now. locked: another session has one of the jobs locked; rest: the highest priority has
      -- other jobs
    select h.tid, h.name, h.tenant, h.turn, h.priority, coalesce(g.n, 0) as got,
      h.in_flight + coalesce(g.n, 0) as in_flight, r.concurrency, r.per_second, r.burst,
      weir.line_tokens(r.per_second, r.burst, h.tokens, h.tokens_at, now_at) - coalesce(g.n, 0) as tokens,
        h.waiting - coalesce(g.n, 0) as waiting,
      case when b.locked or b.rest then h.priorities else h.priorities[2:] end as priorities,
      case when b.locked or h.quota <= 0 then h.floors when b.rest then g.last || h.floors[2:]
        else h.floors[2:] end as floors
    from heads h left join got g on g.name = h.name
    cross join lateral (
      select coalesce(g.n, 0) < least(h.quota, cardinality(h.tids)) as locked, h.quota <= 0
        or cardinality(h.tids) > h.quota as rest offset 0) b
    cross join lateral weir.line_limits(queue.id, h.name, keyed, overridden, per_key, key_per_second, key_burst) r
    offset 0
  ), judged as (
    select c.*, c.priorities <> '{}' and (c.concurrency is null or c.in_flight < c.concurrency)
      and (c.tokens is null or c.tokens >= 1 - 1e-6) as stays
    from counted c offset 0
  ), fresh as materialized (
    select j.*, case when j.stays then nextval('weir.line_tick') end as new_turn,
      case when j.tokens < j.burst and not j.stays then now_at
        + make_interval(secs => (case when j.priorities <> '{}' and j.tokens < 1 then 1
          else j.burst end - j.tokens) / j.per_second) end as rest_until
    from judged j
  ), old as (
    delete from weir.line l where l.ctid = any (array(select f.tid from fresh f))
  ), stored as (
    insert into weir.line (queue_id, name, tick, tenant, in_flight, waiting, priorities, floors, turn, priority,
      tokens, tokens_at, rest_until)
    select queue.id, f.name, nextval('weir.line_tick'), f.tenant, f.in_flight, case when f.priorities = '{}' then 0
      else greatest(f.waiting, 1) end,
      f.priorities, f.floors, f.new_turn, case when f.stays then f.priorities[1] end, f.tokens, case
        when f.tokens is not null then now_at end, f.rest_until
    from fresh f where f.in_flight > 0 or f.priorities <> '{}' or f.rest_until is not null
  )
  select coalesce(sum(t.got), 0), coalesce(sum(t.tried), 0), coalesce(-sum(t.emptied), 0),
      array_agg(t.tenant), array_agg(-t.closed), array_agg(t.got), array_agg(t.priority), array_agg(t.turn)
    into admitted, tried, more_waiting, tenants, more_open, served, served_priorities, served_turns
  from (
    select f.tenant, sum(f.got)::int as got, count(*)::int as tried, sum((f.priorities = '{}')::int)::int as emptied,
      sum((not f.stays)::int)::int as closed,
      max(f.priority) as priority, max(f.turn) as turn
    from fresh f group by f.tenant) t;
end $$;
comment on function weir.serve_lines(weir.queue, boolean, timestamptz, text[], int[], bigint[]) is
  'Internal. One round: admits up to rooms[i] jobs of the tenant chosen[i] from its open lines of the highest '
  'priority, in turn. Returns, by tenant, how many it admitted, and up to which turn it served the lines of a '
  'priority.';
