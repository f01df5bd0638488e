-- Views of limits and of the lines in which jobs wait for them.

create or replace view weir.limits as
select q.name as queue, l.what, l.name, l.concurrency, l.per_second, l.burst, l.weight
from weir.queue q
cross join lateral (
  select 'queue' as what, null::text as name, (q.limits ->> 'concurrency')::int as concurrency,
    (q.limits #>> '{rate,per_second}')::float8 as per_second,
    case when q.limits ? 'rate' then weir.rate_burst(q.limits -> 'rate') end as burst, null::float8 as weight
  where q.limits ?| '{concurrency,rate}'
  union all
  select 'each key', null, (q.limits ->> 'per_key')::int, (q.limits #>> '{key_rate,per_second}')::float8,
    case when q.limits ? 'key_rate' then weir.rate_burst(q.limits -> 'key_rate') end, null
  where q.limits ?| '{per_key,key_rate}'
  union all
  select 'each tenant', null, null, null, null, 1 where q.line_by >= 2
  union all
  select 'tenant', w.key, null, null, null, (w.value #>> '{}')::float8
    from jsonb_each(q.limits #> '{tenants,weights}') w
  where not exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'tenant' and o.name = w.key)
  union all
  select o.what, o.name, o.concurrency, o.per_second, o.burst,
    coalesce(o.weight, case
      when o.what = 'tenant' then coalesce((q.limits #>> array['tenants', 'weights', o.name])::float8, 1) end)
  from weir.limit_override o where o.queue_id = q.id) l
where q.deleted_at is null and q.governed;
comment on view weir.limits is
  'The limits in force: of queues, of each key and tenant, and of single keys and tenants. weir.set_queue and '
  'weir.set_limit change them.';
comment on column weir.limits.queue is 'The name of the queue.';
comment on column weir.limits.what is
  'What the limit is for: queue, each key, each tenant; key or tenant: a single one, which replaces the limit of each.';
comment on column weir.limits.name is 'The single key or tenant.';
comment on column weir.limits.concurrency is 'How many jobs may be in flight; null: no limit of its own.';
comment on column weir.limits.per_second is
  'How many jobs may start per second in the long run; null: no limit of its own.';
comment on column weir.limits.burst is 'How many jobs may start at once after a pause.';
comment on column weir.limits.weight is 'Share of a tenant, relative to the other tenants with waiting jobs.';

create or replace view weir.lines as
select q.name as queue, nullif(weir.line_tenant(n.name), '') as tenant, nullif(weir.line_key(n.name), '') as key,
  (select count(*) from weir.job_held h where h.queue_id = q.id and h.key = n.name and h.reason = 'line') as waiting,
  greatest(coalesce(l.in_flight, 0) - (
    select count(*) from weir.admission_inbox x cross join unnest(x.departed) d
      where x.queue_id = q.id and d = n.name), 0) as in_flight,
  case when weir.line_key(n.name) <> '' then coalesce(o.concurrency, (q.limits ->> 'per_key')::int) end as concurrency,
  case when weir.line_key(n.name) <> '' then coalesce(o.per_second,
    (q.limits #>> '{key_rate,per_second}')::float8) end as per_second,
  l.turn is not null as open, n.name as line
from weir.queue q
cross join lateral (
  select l.name from weir.line l where l.queue_id = q.id
  union select u.name from weir.admission_inbox x cross join unnest(x.arrived) u(name) where x.queue_id = q.id) n
left join lateral (select x.* from weir.line x where x.queue_id = q.id and x.name = n.name order by x.tick desc
  limit 1) l on true
left join weir.limit_override o on o.queue_id = q.id and o.what = 'key' and o.name = weir.line_key(n.name)
where q.governed;
comment on view weir.lines is
  'One row for each line where jobs wait or are in flight: of a key, of a tenant, of a tenant''s key, or of the whole '
  'queue if its limits tell nothing apart. Counts every waiting job.';
comment on column weir.lines.queue is 'The name of the queue.';
comment on column weir.lines.tenant is 'The tenant, where the queue tells tenants apart.';
comment on column weir.lines.key is
  'The concurrency key, where the queue tells keys apart; null: the line of jobs without a key.';
comment on column weir.lines.waiting is 'Jobs that wait in it.';
comment on column weir.lines.in_flight is 'Jobs that were admitted, and have neither ended nor gone back to the line.';
comment on column weir.lines.concurrency is 'How many jobs may be in flight; null: no limit of its own.';
comment on column weir.lines.per_second is 'How many jobs are admitted per second; null: no limit of its own.';
comment on column weir.lines.open is 'Jobs wait in it, and its own limits have room.';
comment on column weir.lines.line is 'Its name, as in weir.job_held.key.';
