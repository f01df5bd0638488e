-- Tenant shares: which tenant is served next, where the limits of a queue tell tenants apart.
--
-- Tenants share a queue by weight, with start-time fair queueing (P. Goyal, H. Vin, H. Cheng, 1996): each admitted job
-- moves its tenant on in virtual time by 1/weight, and the tenant with the lowest start is next. Only passes of
-- weir.admit call these functions.

create or replace function weir.choose_tenants(queue weir.queue, virtual_time float8, room int, out chosen text[],
  out rooms int[]) language plpgsql as $$
declare
  overridden constant boolean := exists (select from weir.limit_override o
    where o.queue_id = queue.id and o.what = 'tenant');
begin
  with candidates as materialized (
    select t.tenant, t.start, coalesce(v.weight, (queue.limits #>> array['tenants', 'weights', t.tenant])::float8,
      1) as weight,
      least(room, v.concurrency - t.in_flight) as most
    from (select x.* from weir.tenant_share x
      where x.queue_id = queue.id and x.eligible and x.start >= virtual_time order by x.start limit room) t
    left join lateral (select x.concurrency, x.weight from weir.limit_override x
      where overridden and x.queue_id = queue.id and x.what = 'tenant' and x.name = t.tenant) v on true
  )
  select array_agg(x.tenant), array_agg(x.n) into chosen, rooms
  from (
    select c.tenant, count(*)::int as n from (
      select c.tenant from candidates c
      cross join lateral generate_series(0, least(c.most,
        ceil(room * c.weight / (select sum(w.weight) from candidates w))::int + 1) - 1) j
      order by c.start + j / c.weight limit room) c
    group by c.tenant) x;
end $$;
comment on function weir.choose_tenants(weir.queue, float8, int) is
  'Internal. The tenants whose turn it is, and how many jobs of each to admit: up to `room` in all. Null if no tenant '
  'can be served.';

create or replace function weir.update_tenants(queue weir.queue, virtual_time float8, tenants text[], more_open int[],
  more_in_flight int[],
  served int[] default null, served_priorities smallint[] default null, served_turns bigint[] default null)
    returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  overridden boolean := queue.line_by >= 2 and exists (select from weir.limit_override o
    where o.queue_id = queue.id and o.what = 'tenant');
begin
  with counted as materialized (
    select u.*, o.tid as old_tid, coalesce(o.open_lines, 0) + u.more_open as open_lines,
      greatest(coalesce(o.in_flight, 0) + u.more_in_flight, 0) as in_flight, v.concurrency,
      greatest(coalesce(o.start, virtual_time), case when coalesce(o.eligible, false) then o.start
        else virtual_time end)
        + coalesce(u.served, 0) / coalesce(v.weight, (queue.limits #>> array['tenants', 'weights', u.tenant])::float8,
          1) as start,
      coalesce(o.served_turns, array_fill(0::bigint, array[10])) as turns, o.eligible as was_eligible
    from unnest(tenants, more_open, more_in_flight, served, served_priorities, update_tenants.served_turns)
      u(tenant, more_open, more_in_flight, served, served_priority, served_turn)
    left join lateral (select t.*, t.ctid as tid from weir.tenant_share t
      where t.queue_id = queue.id and t.tenant = u.tenant order by t.tick desc limit 1) o on true
    left join lateral (select x.concurrency, x.weight from weir.limit_override x
      where overridden and x.queue_id = queue.id and x.what = 'tenant' and x.name = u.tenant) v on true
  ), judged as (
    select c.*, c.open_lines > 0 and (c.concurrency is null or c.in_flight < c.concurrency) as eligible from counted c
  ), changed as materialized (
    select j.* from judged j where j.served > 0 or j.more_open <> 0 or j.more_in_flight <> 0
      or j.was_eligible is distinct from j.eligible
  ), gone as (
    delete from weir.tenant_share t where t.ctid = any (array(select c.old_tid from changed c
      where c.old_tid is not null))
  )
  insert into weir.tenant_share (queue_id, tenant, tick, open_lines, in_flight, start, eligible, served_turns)
  select queue.id, c.tenant, nextval('weir.line_tick'), c.open_lines, c.in_flight, c.start, c.eligible,
    case when c.served_turn is null then c.turns
      else c.turns[1:c.served_priority - 1] || greatest(c.turns[c.served_priority], c.served_turn)
        || c.turns[c.served_priority + 1:10] end
  from changed c where c.open_lines > 0 or c.in_flight > 0 or c.start > virtual_time;
end $$;
comment on function weir.update_tenants(weir.queue, float8, text[], int[], int[], int[], smallint[], bigint[]) is
  'Internal. Adds to the open lines and jobs in flight of tenants. served[i] jobs move tenants[i] on in virtual time; '
  'served_priorities[i] and served_turns[i] say up to which turn its lines of a priority were served.';

create or replace function weir.next_virtual_time(queue_id int, virtual_time float8) returns float8
  language sql stable as $$
  select coalesce(
    (select t.start from weir.tenant_share t
     where t.queue_id = next_virtual_time.queue_id and t.eligible and t.start >= next_virtual_time.virtual_time
       order by t.start limit 1),
    (select max(t.start) from weir.tenant_share t where t.queue_id = next_virtual_time.queue_id),
    next_virtual_time.virtual_time)
$$;
comment on function weir.next_virtual_time(int, float8) is
  'Internal. The virtual time after tenants were served: the lowest start of an eligible tenant.';
