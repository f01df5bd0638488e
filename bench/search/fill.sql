-- Fills a fresh database with jobs, by direct inserts: ended ones spread over days and sealed partitions, and waiting
-- ones in the partition that takes jobs. Roll-ups count them. All values come from hashes of the number of a job, so
-- two runs make the same jobs, at other times.
--
--   psql "$WEIR_DATABASE_URL" -f bench/search/fill.sql -c "call fill.run(10000000, 1000000)"
--
-- Remove the schema afterwards: drop schema fill cascade.

create schema fill;

-- A number from 0 to below 1.
create function fill.random(n bigint, salt int) returns float8 language sql immutable
  return (hashint8extended(n, salt) & 1073741823)::float8 / 1073741824;

create unlogged table fill.part (
  n bigint, id bigint, created_at timestamptz, kind text, queue_id int, tenant text, priority smallint, customer int,
  attempts smallint, state text, wait float8, run float8, error jsonb
);

-- The numbers from first on of the jobs of one partition, and what is random about them.
create procedure fill.draw(first bigint, jobs bigint, first_id bigint, from_at timestamptz, until_at timestamptz)
language plpgsql as $$
begin
  truncate fill.part;
  insert into fill.part
  select n, first_id + n - first, from_at + (until_at - from_at) * ((n - first)::float8 / jobs),
    (array['send', 'charge', 'resize', 'import', 'sync', 'notify', 'render', 'archive'])[1 + k % 8] || '_'
      || (array['receipt', 'card', 'image', 'orders', 'account', 'user'])[1 + k % 6],
    (select q.id from weir.queue q where q.name = 'queue_' || k % 12),
    case when fill.random(n, 2) < 0.8 then 'tenant-' || floor(200 * fill.random(n, 3) ^ 3) end,
    case when fill.random(n, 4) < 0.8 then 5 else 1 + floor(10 * fill.random(n, 5)) end,
    floor(100000 * fill.random(n, 6) ^ 1.5),
    a, case when a = 5 then 'dead' when fill.random(n, 8) < 0.01 then 'cancelled' else 'completed' end,
    -- A peak from nine to eleven each day.
    -ln(1 - fill.random(n, 9)) * case when extract(hour from from_at + (until_at - from_at)
      * ((n - first)::float8 / jobs)) between 9 and 10 then 60 else 1 end,
    -ln(1 - fill.random(n, 10)) * (0.05 + k % 7),
    jsonb_build_object('type', (array['TimeoutError', 'ConnectionError', 'SMTPError', 'java.net.SocketTimeoutException',
      'ValueError', 'PermissionDenied', 'RateLimited', 'OutOfMemory', 'DiskFull', 'Rare' ])[1
        + floor(10 * fill.random(n, 11) ^ 2)::int],
      'message', (array['connection refused by host-', 'read timed out after ms-', 'no route to host-',
        'unexpected token at line-', 'quota of customer-'])[1 + floor(5 * fill.random(n, 12))::int]
        || floor(500 * fill.random(n, 13)))
  from generate_series(first, first + jobs - 1) n
  cross join lateral (select floor(48 * fill.random(n, 1) ^ 2)::int as k, case when fill.random(n, 7) < 0.94 then 1
    when fill.random(n, 7) < 0.98 then 2 when fill.random(n, 7) < 0.99 then 3 else 5 end as a) x;
  insert into weir.job (id, created_at, queue_id, timeout_seconds, priority, max_attempts, kind, args, tags, tenant)
  select p.id, p.created_at, p.queue_id, 300, p.priority, 5, p.kind,
    jsonb_build_object('order', 'order-' || p.n, 'amount', round((1000 * fill.random(p.n, 14))::numeric, 2),
      'customer', jsonb_build_object('id', p.customer, 'email', 'user' || p.customer || '@example.com',
        'country', (array['de', 'fr', 'it', 'es', 'nl', 'pl', 'se', 'us'])[1 + floor(8
          * fill.random(p.n, 15) ^ 2)::int]),
      'items', jsonb_build_array(jsonb_build_object('sku', 'sku-' || floor(5000 * fill.random(p.n, 16)),
        'count', 1 + p.n % 5)), 'locale', 'en'),
    case when fill.random(p.n, 17) < 0.001 then '{vip,audit}'::text[]
      when fill.random(p.n, 17) < 0.4 then array['tag_' || floor(30 * fill.random(p.n, 18) ^ 2)] end,
    p.tenant
  from fill.part p;
end $$;

create function fill.started_at(p fill.part, attempt int) returns timestamptz language sql immutable
  return p.created_at + make_interval(secs => p.wait + (attempt - 1) * (p.run + 60));

create procedure fill.events() language sql
begin atomic
  insert into weir.job_event (job_id, at, kind, attempt, state, started_at, run_at, worker, detail)
  select p.id, fill.started_at(p, a) + make_interval(secs => p.run), 'failed', a,
    case when a = 5 then 'dead' else 'retryable' end::weir.job_state, fill.started_at(p, a),
    case when a < 5 then fill.started_at(p, a) + make_interval(secs => p.run + 58) end,
    'worker-' || (hashint8(p.n) & 63), p.error
  from fill.part p cross join generate_series(1, case when p.state = 'dead' then 5 else p.attempts - 1 end) a;
end;

-- Ended jobs fill whole partitions, which are sealed.
create procedure fill.ended(jobs bigint, partitions int, from_at timestamptz, until_at timestamptz)
language plpgsql as $$
declare
  each bigint := jobs / partitions;
  first bigint;
begin
  for p in 0 .. partitions - 1 loop
    first := greatest(p::bigint << 32, 1);
    call fill.draw(p * each + 1, each, first, from_at + (until_at - from_at) * (p::float8 / partitions),
      from_at + (until_at - from_at) * ((p + 1)::float8 / partitions));
    insert into weir.job_outcome (job_id, finished_at, started_at, queue_id, state, attempt, worker, error)
    select x.id, fill.started_at(x, x.attempts) + make_interval(secs => x.run),
      case when x.state <> 'cancelled' then fill.started_at(x, x.attempts) end, x.queue_id,
      x.state::weir.job_state, x.attempts, case when x.state <> 'cancelled' then 'worker-' || (hashint8(x.n) & 63) end,
      case when x.state = 'dead' then x.error end
    from fill.part x;
    insert into weir.job_dead (job_id, died_at, queue_id)
    select o.job_id, o.finished_at, o.queue_id from weir.job_outcome o
    where o.job_id >= first and o.job_id < first + each and o.state = 'dead';
    call fill.events();
    update weir.job_partition x set opened_at = from_at + (until_at - from_at) * (p::float8 / partitions)
      where x.number = p;
    perform setval('weir.job_id_seq', first + each);
    perform weir.open_next_partition();
    commit;
    raise notice '% of % partitions of ended jobs', p + 1, partitions;
  end loop;
end $$;

create procedure fill.waiting(number bigint, jobs bigint, from_at timestamptz, until_at timestamptz)
language plpgsql as $$
declare
  first bigint := (select s.last_value from weir.job_id_seq s);
begin
  call fill.draw(number, jobs, first, from_at, until_at);
  insert into weir.job_ready (queue_id, priority, seq) select p.queue_id, p.priority, p.id from fill.part p
    where p.n % 100 < 85;
  insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt)
  select p.id, until_at + make_interval(days => 1, secs => p.n % 100000), p.queue_id, p.priority, 0 from fill.part p
    where p.n % 100 between 85 and 94;
  insert into weir.job_held (job_id, queue_id, priority, attempt, reason) select p.id, p.queue_id, p.priority, 0,
    'signal' from fill.part p where p.n % 100 between 95 and 98;
  insert into weir.job_lease (job_id, token, leased_at, expires_at, queue_id, lease_seconds, priority, attempt, worker)
  select p.id, p.id, p.created_at, until_at + interval '30 days', p.queue_id, 30, p.priority, 1,
    'worker-' || (hashint8(p.n) & 63) from fill.part p where p.n % 100 = 99;
  perform setval('weir.job_id_seq', first + jobs);
  commit;
end $$;

-- As the service does it, without the pauses. Nothing else uses the database, so that indexes need not be built
-- concurrently.
create procedure fill.upkeep() language plpgsql as $$
declare
  did text := '';
  step text;
begin
  perform weir.advance_frontier('0 s');
  commit;
  loop
    select s.statement into step from weir.seal_step() s;
    exit when step is null;
    execute replace(step, ' concurrently', '');
    commit;
  end loop;
  analyze;
  commit;
  raise notice 'sealed';
  while did <> 'nothing' loop
    select r.did into did from weir.roll_up('0 s') r;
    commit;
  end loop;
  while weir.sweep_rollups() > 0 loop
    commit;
  end loop;
  raise notice 'rolled up';
end $$;

-- The roll-ups of all that has ended, by hour and at once, as weir.roll_up and weir.sweep_rollups would leave them after
-- hours of work: it has no minutes, and numbers by tenant only if tenants is true, which takes as long again.
create procedure fill.roll_up(tenants boolean default false) language plpgsql as $$
declare
  hour timestamptz := (select date_bin('1 hour', c.until, 'epoch') from weir.rollup_cursor c);
  last timestamptz := date_bin('1 hour', now(), 'epoch');
begin
  create temporary table enqueued on commit preserve rows as
  select date_bin('1 hour', j.created_at, 'epoch') as at, j.queue_id, j.kind, coalesce(j.tenant, '') as tenant,
    count(*) as n from weir.job j group by 1, 2, 3, 4;
  create index on enqueued (at);
  while hour < last loop
    insert into weir.rollup
    select hour, 3600, x.queue_id, x.kind, x.tenant, sum(x.enqueued), sum(x.completed), sum(x.completed_later),
      sum(x.dead), sum(x.cancelled), sum(x.failed), sum(x.timed_out), sum(x.lost), sum(x.snoozed), sum(x.released),
      sum(x.rerun), sum(x.wait_seconds), max(x.wait_longest), weir.merge_histograms(x.waits), sum(x.run_seconds),
      max(x.run_longest), weir.merge_histograms(x.runs)
    from (
      select * from weir.count_ends(hour, hour + interval '1 hour')
      union all select * from weir.count_ends(hour, hour + interval '1 hour', null, true) where tenants
      union all select hour, 3600, e.queue_id, e.kind, t.tenant, sum(e.n), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '{}', 0,
        0, '{}' from enqueued e cross join lateral (select '' union select e.tenant where tenants) t(tenant)
        where e.at = hour group by e.queue_id, e.kind, t.tenant) x
    group by x.queue_id, x.kind, x.tenant;
    insert into weir.rollup_sum
    select hour, 3600, coalesce(r.queue_id, 0), coalesce(r.kind, ''), coalesce(r.tenant, ''), sum(r.enqueued),
      sum(r.completed), sum(r.completed_later), sum(r.dead), sum(r.cancelled), sum(r.failed), sum(r.timed_out),
      sum(r.lost), sum(r.snoozed), sum(r.released), sum(r.rerun), sum(r.wait_seconds), max(r.wait_longest),
      weir.merge_histograms(r.waits), sum(r.run_seconds), max(r.run_longest), weir.merge_histograms(r.runs)
    from weir.rollup r where r.at = hour
    group by grouping sets ((r.tenant), (r.tenant, r.queue_id), (r.tenant, r.kind))
    having r.tenant = '' or grouping(r.queue_id, r.kind) = 3;
    insert into weir.rollup_failure select * from weir.count_failures(hour, hour + interval '1 hour');
    perform weir.sum_failures(hour, hour + interval '1 hour', false);
    perform weir.fold_failures(hour + interval '1 hour');
    perform weir.sum_failure_days(hour + interval '1 hour');
    perform weir.sum_days(hour + interval '1 hour');
    insert into weir.rollup_worker
    select hour, 3600, w.worker, sum(w.completed), sum(w.failed), sum(w.timed_out), sum(w.lost), sum(w.snoozed),
      sum(w.released), sum(w.busy_seconds), sum(w.run_seconds), max(w.run_longest), weir.merge_histograms(w.runs)
    from weir.count_work(hour, hour + interval '1 hour') w group by w.worker;
    hour := hour + interval '1 hour';
    update weir.rollup_cursor c set until = hour;
    commit;
  end loop;
  update weir.rollup_cursor c set seq = (select s.last_value from weir.job_id_seq s);
  drop table enqueued;
  commit;
end $$;

create procedure fill.run(ended bigint, waiting bigint, days int default 30, partitions int default 34)
language plpgsql as $$
declare
  until_at timestamptz := now() - interval '1 hour';
begin
  if exists (select from weir.job) then
    raise exception 'the database has jobs; fill a fresh one';
  end if;
  perform weir.set_queue('queue_' || q, jsonb_build_object('retention_seconds', 86400 * (days + 60),
    'dead_retention_seconds', 86400 * (days + 60))) from generate_series(0, 11) q;
  update weir.rollup_cursor c set until = date_bin('1 minute', until_at - make_interval(days => days), 'epoch');
  commit;
  call fill.ended(ended, partitions, until_at - make_interval(days => days), until_at - interval '1 hour');
  call fill.waiting(ended + 1, waiting, until_at, until_at + interval '1 hour');
  call fill.upkeep();
end $$;
