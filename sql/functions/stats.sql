-- Numbers over time for dashboards: rows of roll-ups, for the queries of sql/queries/stats.sql to sum up.
--
-- The reader counts the time since the last roll-up while it is little. Where the service is behind, or very busy, the
-- numbers end with the last roll-up instead, and weir.counted_until says so: a dashboard must not scan what happened.

create or replace function weir.bounded_queues(bounds jsonb, queue text) returns int[] language sql stable as $$
  select case when bounds -> 'queues' is not null or (bounds ->> 'own')::boolean or queue is not null
    then array(select q.id from weir.queue q
      where (bounded_queues.queue is null or q.name = bounded_queues.queue)
        and weir.is_within(bounds - 'tenant', null, q.name, null)) end
$$;
comment on function weir.bounded_queues(jsonb, text) is
  'Internal. The queues within the bounds of a caller, whatever its tenant, or the one of them with this name; null: '
  'all.';

create or replace function weir.is_counted(bounds jsonb, queue text) returns boolean language sql stable as $$
  select exists (select from weir.queue q where q.id = any (weir.bounded_queues(bounds, is_counted.queue))
    and (bounds ->> 'tenant' is null or q.tenant = bounds ->> 'tenant' or exists (select from weir.rollup r
      where r.tenant <> '' and r.tenant = bounds ->> 'tenant' and r.queue_id = q.id)))
$$;
comment on function weir.is_counted(jsonb, text) is
  'Internal. Whether a caller may know of a queue: it is within its bounds, and its tenant owns it or has had jobs '
  'in it.';

-- The rows differ in what they sum up, but no two of one answer have anything in common. With groups, each row is of
-- one queue, kind or tenant. grain: how long a row may be, as for weir.sum_spans.
create or replace function weir.stats_rows(since timestamptz, until timestamptz, grain int, bounds jsonb,
  queue text, kind text, tenant text default null, groups text default null) returns setof weir.rollup
language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  ids int[] := weir.bounded_queues(bounds, queue);
  one text := coalesce(bounds ->> 'tenant', tenant);
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
  s record;
  u record;
begin
  if one <> tenant then  -- it is not the caller's
    return;
  end if;
  if groups = 'queue' and ids is null and one is null then
    ids := array(select q.id from weir.queue q);
  end if;
  if groups = 'tenant' and one is null and (ids is not null or kind is not null) then
    return query select r.* from weir.rollup r where r.tenant <> '' and (ids is null or r.queue_id = any (ids))
      and (kind is null or r.kind = kind) and r.at >= since and r.at < until;
  elsif one is not null and (ids is not null or kind is not null or groups <> 'tenant') then
    return query select r.* from weir.rollup r where r.tenant <> '' and r.tenant = one
      and (ids is null or r.queue_id = any (ids)) and (kind is null or r.kind = kind)
      and r.at >= since and r.at < until;
  elsif ids is not null and (kind is not null or groups = 'kind') then
    return query select r.* from weir.rollup r where r.queue_id = any (ids) and (kind is null or r.kind = kind)
      and r.tenant = '' and r.at >= since and r.at < until;
  else
    for s in select * from weir.sum_spans(since, until, grain) loop
      if groups = 'tenant' and one is null then
        return query select r.* from weir.rollup_sum r where r.tenant <> '' and r.seconds = s.seconds
          and r.at >= s.from_at and r.at < s.until_at;
      elsif groups = 'kind' then
        return query select r.* from weir.rollup_sum r where r.queue_id = 0 and r.tenant = ''
          and r.seconds = s.seconds and (r.kind = kind or kind is null and r.kind <> '') and r.at >= s.from_at
          and r.at < s.until_at;
      else
        return query select r.* from weir.rollup_sum r where r.queue_id = any (coalesce(ids, '{0}'))
          and r.kind = coalesce(stats_rows.kind, '') and r.tenant = coalesce(one, '') and r.seconds = s.seconds
          and r.at >= s.from_at and r.at < s.until_at;
      end if;
    end loop;
  end if;
  if until <= c.until then
    return;
  end if;
  select * into u from weir.uncounted(10000);
  if u.counted_until > c.until then
    return query select p.* from weir.count_pending(case when cardinality(ids) = 1 then ids[1] end,
        one is not null or groups is not distinct from 'tenant', u.lowest) p
      where (ids is null or p.queue_id = any (ids)) and (kind is null or p.kind = kind)
        and (one is null or p.tenant = one)
        and p.at >= since and p.at < until;
  end if;
end $$;
comment on function weir.stats_rows(timestamptz, timestamptz, int, jsonb, text, text, text, text) is
  'Internal. The roll-ups and sums of roll-ups that make up a time, for a queue, a kind, a tenant or the bounds of a '
  'caller, and the time since the last roll-up.';

-- Whole hours and days come from sums over tenants: a month of a tenant's failures may have a million rows. Only the
-- edges of the time are read by the minute, and what is of one tenant.
create or replace function weir.stats_failures(since timestamptz, until timestamptz, bounds jsonb, queue text,
  kind text, tenant text default null) returns setof weir.rollup_failure_hour
language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  ids int[] := weir.bounded_queues(bounds, queue);
  one text := coalesce(bounds ->> 'tenant', tenant);
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
  first_hour timestamptz := date_bin('1 hour', since + interval '59 min 59.999999 s', 'epoch');
  last_hour timestamptz := case when until >= c.until then 'infinity' else date_bin('1 hour', until, 'epoch') end;
  first_day timestamptz := date_bin('1 day', first_hour + interval '23 h 59 min 59.999999 s', 'epoch');
  last_day timestamptz;
  u record;
begin
  if one <> tenant then  -- it is not the caller's
    return;
  end if;
  if one is not null or first_hour >= last_hour then
    first_hour := until;
    last_hour := until;
  else
    last_day := least(weir.failure_days_until(), date_bin('1 day', least(last_hour, until), 'epoch'));
    if first_day >= last_day then
      first_day := last_hour;
      last_day := last_hour;
    end if;
    return query select min(f.at), 0, f.kind, '', f.event, f.type, sum(f.attempts)::bigint, min(f.first_at),
      max(f.last_at), (max(array[(date_part('epoch', f.last_at) * 1000000)::bigint, f.last_job_id]))[2]
    from (values (3600, first_hour, first_day), (86400, first_day, last_day), (3600, last_day, last_hour))
      r(seconds, since, until)
    join weir.rollup_failure_sum f on f.queue_id = any (coalesce(ids, '{0}')) and f.seconds = r.seconds
      and f.at >= r.since and f.at < r.until
    where kind is null or f.kind = kind
    group by f.kind, f.event, f.type;
  end if;
  return query select min(f.at), 0, f.kind, '', f.event, f.type, sum(f.attempts)::bigint, min(f.first_at),
    max(f.last_at), (max(array[(date_part('epoch', f.last_at) * 1000000)::bigint, f.last_job_id]))[2]
  from (values (since, least(first_hour, until)), (last_hour, until)) r(since, until)
  cross join lateral (
    select h.at, h.queue_id, h.kind, h.tenant, h.event, h.type, h.attempts, h.first_at, h.last_at, h.last_job_id
    from weir.rollup_failure_hour h where h.at >= r.since and h.at < r.until
    union all
    select m.at, m.queue_id, m.kind, m.tenant, m.event, weir.failure_class(m.type, m.message), m.attempts, m.at,
      m.last_at, m.last_job_id
    from weir.rollup_failure m where m.at >= r.since and m.at < r.until) f
  where (ids is null or f.queue_id = any (ids)) and (kind is null or f.kind = kind)
    and (one is null or f.tenant = one)
  group by f.kind, f.event, f.type;
  if until <= c.until then
    return;
  end if;
  select * into u from weir.uncounted(10000);
  if u.counted_until > c.until then
    return query select f.at, f.queue_id, f.kind, '', f.event, weir.failure_class(f.type, f.message), f.attempts, f.at,
      f.last_at, f.last_job_id
    from weir.count_failures(c.until, 'infinity', case when cardinality(ids) = 1 then ids[1] end, u.lowest) f
    where f.at >= since and f.at < until and (ids is null or f.queue_id = any (ids)) and (kind is null or f.kind = kind)
      and (one is null or f.tenant = one);
  end if;
end $$;
comment on function weir.stats_failures(timestamptz, timestamptz, jsonb, text, text, text) is
  'Internal. The failed attempts of a time by class, for a queue, a kind, a tenant or the bounds of a caller; a class '
  'may be in several rows.';

create or replace function weir.stats_work(since timestamptz, until timestamptz, whole_hours boolean)
returns setof weir.rollup_worker language plpgsql stable set jit = off as $$
#variable_conflict use_variable
declare
  c weir.rollup_cursor := (select x from weir.rollup_cursor x);
  u record;
begin
  return query select w.* from weir.rollup_worker w where w.seconds = case when whole_hours then 3600 else 60 end
    and w.at >= since and w.at < until;
  if until <= c.until then
    return;
  end if;
  select * into u from weir.uncounted(10000);
  if u.counted_until > c.until then
    return query select w.* from weir.count_work(c.until, 'infinity', u.lowest) w
      where w.at >= since and w.at < until;
  end if;
end $$;
comment on function weir.stats_work(timestamptz, timestamptz, boolean) is
  'Internal. What workers did in a time; whole_hours: hours are fine enough.';
