-- Looking at limits and lines: what holds, what waits, and whether the counts agree with the rows.
--
-- +goose Up
create view weir.limits as
select q.name as queue, l.what, l.name, l.concurrency, l.per_second, l.burst, l.weight
from weir.queue q
cross join lateral (
  select 'queue' as what, null::text as name, (q.limits ->> 'concurrency')::int as concurrency, (q.limits #>> '{rate,per_second}')::float8 as per_second,
    case when q.limits ? 'rate' then weir.rate_burst(q.limits -> 'rate') end as burst, null::float8 as weight where q.limits ?| '{concurrency,rate}'
  union all
  select 'each key', null, (q.limits ->> 'per_key')::int, (q.limits #>> '{key_rate,per_second}')::float8, case when q.limits ? 'key_rate' then weir.rate_burst(q.limits -> 'key_rate') end, null
  where q.limits ?| '{per_key,key_rate}'
  union all
  select 'each tenant', null, null, null, null, 1 where q.line_by >= 2
  union all
  select 'tenant', w.key, null, null, null, (w.value #>> '{}')::float8 from jsonb_each(q.limits #> '{tenants,weights}') w
  where not exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'tenant' and o.name = w.key)
  union all
  select o.what, o.name, o.concurrency, o.per_second, o.burst, coalesce(o.weight, case when o.what = 'tenant' then coalesce((q.limits #>> array['tenants', 'weights', o.name])::float8, 1) end)
  from weir.limit_override o where o.queue_id = q.id) l
where q.deleted_at is null and q.governed;
comment on view weir.limits is 'The limits in force: of queues, of each of their keys and tenants, and of single ones. weir.set_queue and weir.set_limit change them.';
comment on column weir.limits.queue is 'The name of the queue.';
comment on column weir.limits.what is 'Of what: queue, each key, each tenant; key or tenant: a single one, which goes before those of each.';
comment on column weir.limits.name is 'Which key or tenant, if it is a single one.';
comment on column weir.limits.concurrency is 'So many jobs in flight; null: no limit of its own.';
comment on column weir.limits.per_second is 'So many jobs a second in the long run; null: no limit of its own.';
comment on column weir.limits.burst is 'So many at once, after a rest.';
comment on column weir.limits.weight is 'Share of a tenant, in proportion to those of the others that wait.';

create view weir.lines as
select q.name as queue, nullif(weir.line_tenant(n.name), '') as tenant, nullif(weir.line_key(n.name), '') as key,
  (select count(*) from weir.job_held h where h.queue_id = q.id and h.key = n.name and h.reason = 'line') as waiting,
  greatest(coalesce(l.in_flight, 0) - (select count(*) from weir.line_news x cross join unnest(x.went) w where x.queue_id = q.id and w = n.name), 0) as in_flight,
  case when weir.line_key(n.name) <> '' then coalesce(o.concurrency, (q.limits ->> 'per_key')::int) end as concurrency,
  case when weir.line_key(n.name) <> '' then coalesce(o.per_second, (q.limits #>> '{key_rate,per_second}')::float8) end as per_second,
  l.turn is not null as open, n.name as line
from weir.queue q
cross join lateral (
  select l.name from weir.line l where l.queue_id = q.id
  union select u.name from weir.line_news x cross join unnest(x.came) u(name) where x.queue_id = q.id) n
left join lateral (select x.* from weir.line x where x.queue_id = q.id and x.name = n.name order by x.tick desc limit 1) l on true
left join weir.limit_override o on o.queue_id = q.id and o.what = 'key' and o.name = weir.line_key(n.name)
where q.governed;
comment on view weir.lines is 'One row a line where something waits or is in flight: of a key, of a tenant, of both, or of all jobs of a queue whose limits tell nothing apart. Counts all that wait.';
comment on column weir.lines.queue is 'The name of the queue.';
comment on column weir.lines.tenant is 'Whose line it is, where the queue tells tenants apart.';
comment on column weir.lines.key is 'The concurrency key, where the queue tells keys apart; null: of jobs without one.';
comment on column weir.lines.waiting is 'Jobs that wait in it.';
comment on column weir.lines.in_flight is 'Jobs that are admitted, and neither ended nor back in the line.';
comment on column weir.lines.concurrency is 'So many may be in flight; null: no limit of its own.';
comment on column weir.lines.per_second is 'So many are admitted a second; null: no limit of its own.';
comment on column weir.lines.open is 'Something waits, and its own limits have room.';
comment on column weir.lines.line is 'Its name, as in weir.job_held.key.';

-- A page of the names, for who reads the view page by page: to sort them it would look at every line of the queue.
-- +goose StatementBegin
create function weir.line_names(queue text, after text, most int) returns setof text language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashagg = off as $$
declare
  place int := (select q.id from weir.queue q where q.name = line_names.queue);
begin
  return query
  select x.name from (
    (select distinct l.name from weir.line l where l.queue_id = place and l.name > after order by l.name limit most)
    union
    (select distinct u.name from weir.line_news n cross join unnest(n.came) u(name) where n.queue_id = place and u.name collate "C" > after)) x
  order by x.name limit most;
end $$;
-- +goose StatementEnd
comment on function weir.line_names(text, text, int) is 'Internal. The next lines of a queue by name, up to `most`.';

-- One statement: all of it is seen at one moment.
-- +goose StatementBegin
create function weir.check_limits(repair boolean default false) returns table (queue text, line text, problem text, counted bigint, found bigint) language plpgsql set jit = off as $$
begin
  if not exists (select from weir.queue q where q.governed) then
    return;
  end if;
  return query
  with governed as materialized (
    select q.id, q.name, q.line_by from weir.queue q
    cross join lateral (select a.* from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1) a
    where q.governed and a.phase = 'open' and a.version = q.limits_version
  ), news as materialized (
    select n.queue_id, w.name, count(*) as n from weir.line_news n cross join unnest(n.went, n.went_jobs) w(name, job_id) group by 1, 2
  ), lines as materialized (
    select l.queue_id, l.name, sum(l.in_flight) as in_flight from weir.line l group by 1, 2
  ), flying as materialized (
    select a.queue_id, weir.line_name(g.line_by, j.tenant, j.concurrency_key) as name, count(*) as n
    from (
      select l.queue_id, l.job_id from weir.job_lease l where l.line is not null
      union all select g.id, r.job_id from governed g join weir.job_ready r on r.queue_id = -g.id
      union all select k.queue_id, k.job_id from weir.line_kept k) a
    join governed g on g.id = a.queue_id join weir.job j on j.id = a.job_id group by 1, 2
  ), wrong as materialized (
    select g.id, x.name as line, 'in flight' as problem, x.counted::bigint, x.found::bigint from governed g cross join lateral (
      select coalesce(l.name, f.name) as name, coalesce(l.in_flight, 0) - coalesce((select sum(n.n) from news n where n.queue_id = g.id and n.name = coalesce(l.name, f.name)), 0) as counted,
        coalesce(f.n, 0) as found
      from (select * from lines where queue_id = g.id) l full join (select * from flying where queue_id = g.id) f on f.name = l.name) x
    where x.counted <> x.found
    union all
    select g.id, null, 'in flight, of the queue', a.in_flight - coalesce((select sum(n.n) from news n where n.queue_id = g.id), 0)::bigint, coalesce((select sum(f.n) from flying f where f.queue_id = g.id), 0)::bigint
    from governed g cross join lateral (select x.in_flight from weir.admission x where x.queue_id = g.id order by x.tick desc limit 1) a
    where a.in_flight - coalesce((select sum(n.n) from news n where n.queue_id = g.id), 0) <> coalesce((select sum(f.n) from flying f where f.queue_id = g.id), 0)
    union all
    select g.id, min(k.name), 'keeps its line, but waits nowhere', count(*), 0 from governed g join weir.line_kept k on k.queue_id = g.id
    where not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = g.id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = g.id)
    group by g.id
    union all
    select g.id, h.key, 'waits where nobody looks', 0, count(*) from governed g join weir.job_held h on h.queue_id = g.id and h.reason = 'line'
    left join lateral (select x.* from weir.line x where x.queue_id = g.id and x.name = h.key order by x.tick desc limit 1) l on true
    where coalesce(l.floors[array_position(l.priorities, h.priority)] >= h.seq, true)
      and not exists (select from weir.line_news n cross join unnest(n.came, n.priorities, n.floors) c(name, priority, floor)
        where n.queue_id = g.id and c.name = h.key and c.priority = h.priority and c.floor < h.seq)
    group by g.id, h.key
  ), orphans as (
    delete from weir.line_kept k where repair and k.queue_id in (select w.id from wrong w)
      and not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = k.queue_id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = k.queue_id)
  ), anew as (
    update weir.queue q set limits_version = q.limits_version + 1 where repair and q.id in (select w.id from wrong w)
  ), stale as (
    update weir.admission a set line_by = null where repair and a.queue_id in (select w.id from wrong w)
  )
  select g.name, w.line, w.problem, w.counted, w.found from wrong w join governed g on g.id = w.id order by 1, 2;
end $$;

create function weir.why_line(job_id bigint, out message text, out detail jsonb) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  h weir.job_held;
  q weir.queue;
  a weir.admission;
  l weir.line;
  o weir.limit_override;
  key text;
  tenant text;
  ahead int;
  allowed int;
  rate float8;
  flying int;
begin
  select * into h from weir.job_held x where x.job_id = why_line.job_id and x.reason = 'line';
  if not found then
    message := 'it is about to be put into its line';
    detail := '{}';
    return;
  end if;
  select * into q from weir.queue x where x.id = h.queue_id;
  select * into a from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1;
  select * into l from weir.line x where x.queue_id = q.id and x.name = h.key order by x.tick desc limit 1;
  key := nullif(weir.line_key(h.key), '');
  tenant := nullif(weir.line_tenant(h.key), '');
  select * into o from weir.limit_override x where x.queue_id = q.id and x.what = 'key' and x.name = key;
  ahead := (select count(*) from (select from weir.job_held x where x.queue_id = q.id and x.key = h.key and x.reason = 'line'
    and (x.priority > h.priority or x.priority = h.priority and x.seq < h.seq) limit 100000) y);
  allowed := case when key is not null then coalesce(o.concurrency, (q.limits ->> 'per_key')::int) end;
  rate := case when key is not null then coalesce(o.per_second, (q.limits #>> '{key_rate,per_second}')::float8) end;
  flying := greatest(coalesce(l.in_flight, 0) - (select count(*) from weir.line_news n cross join unnest(n.went) w where n.queue_id = q.id and w = h.key), 0);
  detail := jsonb_strip_nulls(jsonb_build_object('key', key, 'tenant', tenant, 'held_at', h.held_at, 'ahead', ahead, 'or_more', case when ahead >= 100000 then true end));
  if flying >= allowed then
    message := format('%s of the %s jobs of key %s that may be in flight are', flying, allowed, to_json(key));
    detail := detail || jsonb_build_object('limit', 'per_key', 'allowed', allowed, 'in_flight', flying);
  elsif l.rest_until > clock_timestamp() and l.turn is null then
    message := format('key %s may have %s jobs a second', to_json(key), rate);
    detail := detail || jsonb_build_object('limit', 'key_rate', 'per_second', rate, 'next_at', l.rest_until);
  elsif a.in_flight >= (q.limits ->> 'concurrency')::int then
    message := format('%s of the %s jobs of queue %s that may be in flight are', a.in_flight, q.limits ->> 'concurrency', q.name);
    detail := detail || jsonb_build_object('limit', 'concurrency', 'allowed', q.limits -> 'concurrency', 'in_flight', a.in_flight);
  elsif weir.queue_tokens(q, a.tokens, a.tokens_at, clock_timestamp()) < 1 then
    message := format('queue %s may have %s jobs a second', q.name, q.limits #>> '{rate,per_second}');
    detail := detail || jsonb_build_object('limit', 'rate', 'per_second', q.limits #> '{rate,per_second}');
  else
    select s.in_flight, v.concurrency into flying, allowed
    from (select * from weir.tenant_share t where t.queue_id = q.id and t.tenant = weir.line_tenant(h.key) order by t.tick desc limit 1) s
    join weir.limit_override v on v.queue_id = q.id and v.what = 'tenant' and v.name = s.tenant;
    if flying >= allowed then
      message := format('%s of the %s jobs of tenant %s that may be in flight are', flying, allowed, to_json(tenant));
      detail := detail || jsonb_build_object('limit', 'tenant', 'allowed', allowed, 'in_flight', flying);
    else
      message := 'it is admitted when it is the turn of its line and somebody claims';
      detail := detail || jsonb_build_object('limit', 'turn');
    end if;
  end if;
  message := message || case when ahead = 0 then ', and it is the next of its line' else format(', and %s of its line come before it', case ahead when 1 then '1 job' else ahead || case when ahead >= 100000 then ' or more' else '' end || ' jobs' end) end;
end $$;
-- +goose StatementEnd
comment on function weir.check_limits(boolean) is
  'Recounts what the admitter keeps count of, from the rows, and returns what does not agree: nothing, if all is well. What a pass has yet to take note of is taken into account. '
  'With repair, lines with something wrong are made anew at the next pass. Nodes call it so every half minute.';
comment on function weir.why_line(bigint) is 'Internal, for weir.why: which limit keeps a job in its line, and its place there.';

-- +goose Down
drop function weir.why_line(bigint), weir.check_limits(boolean), weir.line_names(text, text, int);
drop view weir.lines, weir.limits;
