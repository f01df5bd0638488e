-- What tenants with quotas use: counting again, so that what has ended makes room. Every node calls weir.tend_quotas a
-- few times a second; each call is one short transaction.

-- Looks at the oldest jobs of the tenant, which usually end first, and at those after the place that the last call
-- came to, so that every job is looked at in turn. xmin: see weir.note_tenant_jobs. The caller has locked the row of
-- weir.tenant_usage.
create or replace function weir.sweep_tenant(quota_id int, most int) returns int
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  swept_to bigint := (select u.swept_to from weir.tenant_usage u where u.quota_id = sweep_tenant.quota_id);
  done record;
begin
  with onward as materialized (
    select t.job_id, t.counted, t.xmin as version from weir.tenant_job t
    where t.quota_id = sweep_tenant.quota_id and t.job_id > swept_to order by t.job_id limit most
  ), slice as materialized (
    select * from onward
    union all
    select * from (select t.job_id, t.counted, t.xmin from weir.tenant_job t
      where t.quota_id = sweep_tenant.quota_id and t.job_id <= swept_to order by t.job_id limit most) front
  ), looked as materialized (
    select s.*, exists (select from weir.job_outcome o where o.job_id = s.job_id)
        or not exists (select from weir.job j where j.id = s.job_id) as ended,
      exists (select from weir.job_lease l where l.job_id = s.job_id) as running
    from slice s
  ), gone as (
    delete from weir.tenant_job t using looked k
    where k.ended and t.quota_id = sweep_tenant.quota_id and t.job_id = k.job_id and t.xmin = k.version
    returning t.counted
  ), turned as (
    update weir.tenant_job t set counted = not k.counted from looked k
    where not k.ended and k.counted = k.running and t.quota_id = sweep_tenant.quota_id and t.job_id = k.job_id
      and t.xmin = k.version
    returning t.counted
  )
  select (select count(*) from looked) as looked,
    (select count(*) from turned x where x.counted) - (select count(*) from turned x where not x.counted)
      - (select count(*) from gone g where g.counted) as more,
    (select case when count(*) = most then max(o.job_id) else 0 end from onward o) as swept_to into done;
  update weir.tenant_usage u set waiting = greatest(u.waiting + done.more, 0), swept_to = done.swept_to,
    swept_at = clock_timestamp()
  where u.quota_id = sweep_tenant.quota_id;
  return done.looked;
end $$;
comment on function weir.sweep_tenant(int, int) is
  'Internal. Looks at up to twice `most` jobs of a tenant with a quota, and counts those that wait. Returns how many.';

-- A tenant that has used half of its quota is looked at every second, others every ten. Locks: rows of
-- weir.tenant_usage, skip locked.
create or replace function weir.sweep_tenants(most int default 2500) returns int
language plpgsql set jit = off as $$
declare
  u record;
  looked int := 0;
begin
  for u in
    select x.quota_id from weir.tenant_usage x join weir.tenant_quota q on q.id = x.quota_id
    where x.swept_at < clock_timestamp() - case when x.waiting > q.max_waiting / 2 then interval '1 s'
      else interval '10 s' end
      and (x.waiting > 0 or exists (select from weir.tenant_job t where t.quota_id = x.quota_id))
    order by x.swept_at limit 100 for update of x skip locked
  loop
    looked := looked + 1 + weir.sweep_tenant(u.quota_id, most);
    exit when looked >= most;
  end loop;
  return looked;
end $$;
comment on function weir.sweep_tenants(int) is
  'Internal. Looks at jobs of the tenants with quotas whose turn it is. Returns how many; 0: it is no one''s turn.';

-- Jobs from before the quota. The first call notes the time. Transactions that wrote then may not know of the quota:
-- when all of them have ended, the ids drawn by then bound the search.
-- Locks: one row of weir.tenant_usage, skip locked.
create or replace function weir.scan_for_tenant(most int default 100000) returns boolean
language plpgsql set jit = off set enable_seqscan = off as $$
declare
  u record;
  after bigint;
  until bigint;
  found_ids bigint[];
begin
  select x.*, q.tenant into u from weir.tenant_usage x join weir.tenant_quota q on q.id = x.quota_id
  where x.scanned_to is not null
    and (x.scan_after is null
      or x.scan_after < (select w.settled_at from weir.watermark w order by w.tick desc limit 1))
  limit 1 for update of x skip locked;
  if not found then
    return false;
  elsif u.scan_after is null then
    update weir.tenant_usage x set scan_after = clock_timestamp() where x.quota_id = u.quota_id;
    return true;
  elsif u.scan_until is null then
    update weir.tenant_usage x set scan_until = coalesce(pg_sequence_last_value('weir.job_id_seq'), 0)
    where x.quota_id = u.quota_id;
    return true;
  end if;
  after := coalesce((select min(j.id) - 1 from weir.job j where j.id > u.scanned_to), u.scan_until);
  until := least(after + most, u.scan_until, (after + 1 | (1::bigint << 32) - 1));
  found_ids := array(select j.id from weir.job j where j.id > after and j.id <= until and j.tenant = u.tenant
    and not exists (select from weir.job_outcome o where o.job_id = j.id));
  update weir.tenant_usage x set scanned_to = case when until < u.scan_until then until end,
    waiting = x.waiting + weir.note_tenant_jobs(u.quota_id, found_ids, true)
  where x.quota_id = u.quota_id;
  return true;
end $$;
comment on function weir.scan_for_tenant(int) is
  'Internal. Searches a piece of the jobs for those of a tenant that has just got a quota of waiting jobs. False: '
  'there is nothing to search now.';

-- A partition that takes no more jobs is measured once it is sealed, and again when retention has rewritten it. Locks:
-- the tenants' rows of weir.tenant_usage, skip locked.
create or replace function weir.measure_tenants(most int default 100) returns boolean
language plpgsql set jit = off as $$
declare
  part record;
  quota_ids int[];
begin
  delete from weir.tenant_bytes b where not exists (select from weir.job_partition p where p.number = b.partition);
  for part in
    select p.number, coalesce('kept ' || p.kept, 'sealed') as state from weir.job_partition p
    where (p.sealed_at is not null or p.kept is not null)
      and p.number < (select s.last_value >> 32 from weir.job_id_seq s)
    order by p.number
  loop
    quota_ids := array(select u.quota_id from weir.tenant_usage u join weir.tenant_quota q on q.id = u.quota_id
      where q.max_bytes is not null and not exists (select from weir.tenant_bytes b where b.quota_id = u.quota_id
        and b.partition = part.number and b.measured = part.state)
      order by u.quota_id limit most for update of u skip locked);
    continue when quota_ids = '{}';
    insert into weir.tenant_bytes as b (quota_id, partition, bytes, measured)
    select q.id, part.number, coalesce(x.bytes, 0), part.state
    from weir.tenant_quota q left join (
      select j.tenant, sum(weir.stored_bytes(j.args, j.metadata, j.tags)) as bytes from weir.job j
      where j.id >= part.number::bigint << 32 and j.id < (part.number::bigint + 1) << 32
        and j.tenant = any (array(select y.tenant from weir.tenant_quota y where y.id = any (quota_ids)))
      group by j.tenant) x on x.tenant = q.tenant
    where q.id = any (quota_ids)
    on conflict on constraint tenant_bytes_pkey do update set bytes = excluded.bytes, measured = excluded.measured;
    return true;
  end loop;
  return false;
end $$;
comment on function weir.measure_tenants(int) is
  'Internal. Measures the bytes of tenants with a quota of bytes in one partition. False: there is nothing to measure.';

-- It reads the sizes only, not the values.
create or replace function weir.stored_bytes(args jsonb, metadata jsonb, tags text[]) returns int
language sql immutable as $$
  select 100 + pg_column_size(args) + coalesce(pg_column_size(metadata), 0) + coalesce(pg_column_size(tags), 0)
$$;
comment on function weir.stored_bytes(jsonb, jsonb, text[]) is
  'Internal. The bytes that a job takes, with 100 for all that is short.';

-- Locks: one row of weir.tenant_usage, skip locked.
create or replace function weir.sweep_quotas(most int default 5000) returns boolean language plpgsql set jit = off as $$
declare
  id int;
begin
  select u.quota_id into id from weir.tenant_usage u
  where not exists (select from weir.tenant_quota q where q.id = u.quota_id) limit 1 for update skip locked;
  if not found then
    return false;
  end if;
  delete from weir.tenant_job t where t.ctid = any (array(select x.ctid from weir.tenant_job x
    where x.quota_id = id limit most));
  if not found then
    delete from weir.tenant_bytes b where b.quota_id = id;
    delete from weir.tenant_usage u where u.quota_id = id;
  end if;
  return true;
end $$;
comment on function weir.sweep_quotas(int) is
  'Internal. Removes what is kept of a quota that is gone. False: nothing is.';

create or replace function weir.tend_quotas() returns boolean language plpgsql as $$
begin
  if not exists (select from weir.tenant_usage) then
    return false;
  end if;
  return weir.sweep_tenants() > 0 or weir.scan_for_tenant() or weir.measure_tenants() or weir.sweep_quotas();
end $$;
comment on function weir.tend_quotas() is
  'Counts again what a tenant with a quota uses. Every node calls it until it returns false, and again a second later; '
  'without a node, any session may.';
