-- How passes of the admitter keep the rows of weir.line: which jobs wait, how many are in flight, and whether the line
-- is open.

create or replace function weir.line_tokens(per_second float8, burst float8, tokens float8, tokens_at timestamptz,
  now_at timestamptz) returns float8
language sql immutable as $$
  select case when per_second is not null then
    least(burst, coalesce(tokens, burst) + per_second * greatest(extract(epoch from now_at - tokens_at)::float8, 0)) end
$$;
comment on function weir.line_tokens(float8, float8, float8, timestamptz, timestamptz) is
  'Internal. How many jobs a line''s rate allows at now_at; null: it has no rate.';

create or replace function weir.next_line_in(queue_id int, rested_until timestamptz) returns float8
language plpgsql as $$
begin
  return (
    select greatest(extract(epoch from l.rest_until - clock_timestamp()), 0.001)::float8 from weir.line l
    where l.queue_id = next_line_in.queue_id and l.rest_until > next_line_in.rested_until and l.priorities <> '{}'
    order by l.rest_until limit 1);
end $$;
comment on function weir.next_line_in(int, timestamptz) is
  'Internal. In how many seconds the rate of a waiting line allows its next job; null: no line waits for its rate.';

-- Inlined by the planner. A key's own limits replace those of each key, one by one; a line without a key has none.
create or replace function weir.line_limits(queue_id int, name text, keyed boolean, overridden boolean, per_key int,
  key_per_second float8, key_burst float8)
returns table (concurrency int, per_second float8, burst float8) language sql stable as $$
  select case when k.named then coalesce(v.concurrency, line_limits.per_key) end, case
    when k.named then coalesce(v.per_second, line_limits.key_per_second) end,
    case when k.named then coalesce(v.burst, line_limits.key_burst) end
  from (select line_limits.keyed and weir.line_key(line_limits.name) <> '' as named offset 0) k
  left join lateral (select x.* from weir.limit_override x
    where line_limits.overridden and x.queue_id = line_limits.queue_id
    and x.what = 'key' and x.name = weir.line_key(line_limits.name)) v on true
$$;
comment on function weir.line_limits(int, text, boolean, boolean, int, float8, float8) is
  'Internal. The limits of a line of its own, given what the queue says for each key and whether single keys are '
  'overridden.';

create or replace function weir.update_lines(queue weir.queue, overridden boolean, now_at timestamptz,
  changes weir.line_changes,
  out more_waiting int, out tenants text[], out more_open int[], out more_in_flight int[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_mergejoin = off as $$
declare
  keyed constant boolean := queue.line_by in (1, 3);
  per_key int := (queue.limits ->> 'per_key')::int;
  key_per_second float8 := (queue.limits #>> '{key_rate,per_second}')::float8;
  key_burst float8 := case when queue.limits ? 'key_rate' then weir.rate_burst(queue.limits -> 'key_rate') end;
begin
  with changed as (  -- one row a line
    select x.name, sum(x.departed)::int as departed, sum(x.n)::int as n,
      array_agg(x.priority) filter (where x.priority is not null) as priorities,
      array_agg(x.floor) filter (where x.priority is not null) as floors
    from (
      select u.name, u.priority, min(u.floor) as floor, sum(u.n) as n, sum(u.departed) as departed
      from (
        select c.name, c.priority, c.floor, c.n, 0 as departed
        from unnest(changes.names, changes.priorities, changes.floors, changes.counts) c(name, priority, floor, n)
        union all
        select d.name, null, null, 0, d.n from unnest(changes.departed, changes.departed_counts) d(name, n)) u
      group by u.name, u.priority order by u.name, u.priority desc) x
    group by x.name
  ), counted as (  -- with the line as it was, and its limits
    select o.tid, c.name, coalesce(o.tenant, weir.line_tenant(c.name)) as tenant,
      coalesce(o.in_flight, 0) as was_in_flight,
      coalesce(o.priorities <> '{}', false) as waited, greatest(coalesce(o.in_flight, 0) - c.departed, 0) as in_flight,
      case when m.priorities = '{}' then 0 else greatest(coalesce(o.waiting, 0) + c.n, 1) end as waiting, m.priorities,
        m.floors, o.turn, o.priority,
      r.concurrency, r.per_second, r.burst, weir.line_tokens(r.per_second, r.burst, o.tokens, o.tokens_at,
        now_at) as tokens
    from changed c
    left join lateral (select l.*, l.ctid as tid from weir.line l where l.queue_id = queue.id and l.name = c.name
      order by l.tick desc limit 1) o on true
    cross join lateral (
      select
        case when c.priorities is null then coalesce(o.priorities, '{}')
          when coalesce(o.priorities, '{}') in ('{}', c.priorities) then c.priorities
          else array(select distinct p from unnest(o.priorities || c.priorities) p order by p desc) end as priorities,
        case when c.priorities is null then coalesce(o.floors, '{}')
          when coalesce(o.priorities, '{}') = '{}' then c.floors
          else array(select min(f) from unnest(o.priorities || c.priorities, o.floors || c.floors) u(p, f) group by p
            order by p desc) end as floors
      offset 0) m
    cross join lateral weir.line_limits(queue.id, c.name, keyed, overridden, per_key, key_per_second, key_burst) r
    offset 0
  ), judged as (
    select c.*, c.priorities <> '{}' and (c.concurrency is null or c.in_flight < c.concurrency)
      and (c.tokens is null or c.tokens >= 1 - 1e-6) as opens
    from counted c offset 0
  ), fresh as materialized (  -- a line that opens takes its turn after all that are open
    select j.tid, j.name, j.tenant, j.was_in_flight, j.waited, j.in_flight, j.waiting, j.priorities, j.floors, j.turn,
      j.tokens, j.opens,
      case when not j.opens then null when j.turn is not null and j.priority = j.priorities[1] then j.turn
        else nextval('weir.line_tick') end as new_turn,
      case when j.tokens < j.burst and not j.opens then now_at
        + make_interval(secs => (case when j.priorities <> '{}' and j.tokens < 1 then 1
          else j.burst end - j.tokens) / j.per_second) end as rest_until
    from judged j
  ), old as (
    delete from weir.line l where l.ctid = any (array(select f.tid from fresh f where f.tid is not null))
  ), stored as (
    insert into weir.line (queue_id, name, tick, tenant, in_flight, waiting, priorities, floors, turn, priority,
      tokens, tokens_at, rest_until)
    select queue.id, f.name, nextval('weir.line_tick'), f.tenant, f.in_flight, f.waiting, f.priorities, f.floors,
      f.new_turn,
      case when f.opens then f.priorities[1] end, f.tokens, case when f.tokens is not null then now_at end, f.rest_until
    from fresh f where f.in_flight > 0 or f.priorities <> '{}' or f.rest_until is not null
  )
  select sum(t.more_waiting), array_agg(t.tenant), array_agg(t.more_open), array_agg(t.more_in_flight)
    into more_waiting, tenants, more_open, more_in_flight
  from (
    select f.tenant, sum((f.priorities <> '{}')::int - f.waited::int)::int as more_waiting,
      sum((f.new_turn is not null)::int - (f.turn is not null)::int)::int as more_open,
        sum(f.in_flight - f.was_in_flight)::int as more_in_flight
    from fresh f group by f.tenant) t;
  more_waiting := coalesce(more_waiting, 0);
end $$;
comment on function weir.update_lines(weir.queue, boolean, timestamptz, weir.line_changes) is
  'Internal. Writes changes into the rows of lines, and opens and closes them. Returns how many more lines wait, and '
  'by tenant how many more are open and how many more jobs are in flight.';
