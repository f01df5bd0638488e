-- Quotas of tenants: how many jobs may wait, how many may be enqueued a second, and how many bytes are kept.
--
-- An enqueue for a tenant with a quota locks the tenant's row of weir.tenant_usage until its transaction ends,
-- and adds to it there. So two of them cannot both take the last place, on whichever nodes they are. One for
-- several tenants takes the rows in the order of their ids, so none deadlock. A job without a tenant, and a tenant
-- without a quota, lock nothing.
--
-- What ends takes nothing off: no completion knows of quotas. weir.tenant_job has the jobs that may wait, and
-- tenant_usage.sql looks through them for those that have ended.
--
-- The bound: no enqueue, retry or redrive makes the jobs that wait more than max_waiting. Beyond it come, uncounted
-- until they are looked at, only jobs that the engine brings back itself: those that a worker had (retries, released
-- and snoozed ones, lost leases), copies in a dead letter queue, and steps that another step brings back.

create or replace function weir.refuse_quota(tenant text, quota text, most numeric, used numeric, more numeric,
  retry_after float8, hint text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR019',
    message = format('tenant %L has used %s of its quota %s of %s, and this takes %s more', tenant,
      used, quota, most, more),
    detail = jsonb_build_object('tenant', tenant, 'quota', quota, 'limit', most, 'used', used, 'needed', more,
      'retry_after_seconds', retry_after)::text,
    hint = refuse_quota.hint || ' Nothing was enqueued.';
end $$;
comment on function weir.refuse_quota(text, text, numeric, numeric, numeric, float8, text) is
  'Internal. Raises WR019 quota_exceeded. The detail is a JSON object: {tenant, quota, limit, used, needed, '
  'retry_after_seconds}.';

-- Called only while some tenant has a quota.
create or replace function weir.has_quota(jobs jsonb) returns boolean language plpgsql stable as $$
begin
  return exists (select from weir.tenant_quota q
    where q.tenant = any (array(select distinct e ->> 'tenant' from jsonb_array_elements(jobs) e)));
end $$;
comment on function weir.has_quota(jsonb) is 'Internal. Whether one of these jobs is of a tenant with a quota.';

-- owners: as weir.take_keys returns them; null: no job has a key. Locks: the tenants' rows of weir.tenant_usage.
create or replace function weir.charge_jobs(jobs jsonb, ids bigint[], owners bigint[]) returns void
language plpgsql set jit = off as $$
begin
  perform weir.charge_tenant(c.id, c.job_ids, c.jobs, c.bytes) from (
    select q.id, array_agg(ids[e.n]) as job_ids, count(*)::int as jobs, sum(pg_column_size(e.job)) as bytes
    from jsonb_array_elements(jobs) with ordinality e(job, n) join weir.tenant_quota q on q.tenant = e.job ->> 'tenant'
    where owners is null or owners[e.n] = ids[e.n]
    group by q.id order by q.id offset 0) c;
end $$;
comment on function weir.charge_jobs(jsonb, bigint[], bigint[]) is
  'Internal. Charges tenants for new jobs with these ids. Errors: WR019.';

-- new_jobs, bytes: what counts for the rate and for the bytes. Locks: the row of weir.tenant_usage.
create or replace function weir.charge_tenant(quota_id int, job_ids bigint[], new_jobs int, bytes numeric) returns void
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  u weir.tenant_usage;
  q weir.tenant_quota;
  more int := cardinality(job_ids);
  now_at timestamptz;
  kept numeric;
begin
  select * into u from weir.tenant_usage x where x.quota_id = charge_tenant.quota_id for update;
  select * into q from weir.tenant_quota x where x.id = charge_tenant.quota_id;
  if q.id is null then
    return;
  end if;
  if q.max_waiting is not null then
    if u.waiting + more > q.max_waiting then
      perform weir.sweep_tenant(q.id, 250);
      u.waiting := (select x.waiting from weir.tenant_usage x where x.quota_id = q.id);
      if u.waiting + more > q.max_waiting then
        perform weir.refuse_quota(q.tenant, 'max_waiting', q.max_waiting, u.waiting, more, 1,
          'Try again when workers have caught up.');
      end if;
    end if;
    u.waiting := u.waiting + weir.note_tenant_jobs(q.id, job_ids, true);
  end if;
  if q.enqueues_per_second is not null and new_jobs > 0 then
    now_at := clock_timestamp();
    q.enqueue_burst := coalesce(q.enqueue_burst, ceil(q.enqueues_per_second)::int);
    u.tokens := least(q.enqueue_burst, u.tokens + q.enqueues_per_second
      * greatest(extract(epoch from now_at - greatest(u.filled_at, now_at - interval '1 year')), 0)::float8);
    u.filled_at := now_at;
    if u.tokens < new_jobs then
      perform weir.refuse_quota(q.tenant, 'enqueues_per_second', q.enqueue_burst,
        (q.enqueue_burst - floor(u.tokens))::numeric, new_jobs, (new_jobs - u.tokens) / q.enqueues_per_second,
        case when new_jobs > q.enqueue_burst then format('Enqueue at most %s jobs at once.', q.enqueue_burst)
          else 'Try again a little later.' end);
    end if;
    u.tokens := u.tokens - new_jobs;
  end if;
  if q.max_bytes is not null then
    kept := coalesce((select sum(b.bytes) from weir.tenant_bytes b where b.quota_id = q.id), 0);
    if kept + bytes > q.max_bytes then
      perform weir.refuse_quota(q.tenant, 'max_bytes', q.max_bytes, kept, bytes, 60,
        'Jobs that have ended are removed when the retention of their queue is over.');
    end if;
    insert into weir.tenant_bytes as b (quota_id, partition, bytes)
    values (q.id, coalesce(pg_sequence_last_value('weir.job_id_seq') >> 32, 0)::int, bytes)
    on conflict on constraint tenant_bytes_pkey do update set bytes = b.bytes + excluded.bytes;
  end if;
  update weir.tenant_usage x set waiting = u.waiting, tokens = u.tokens, filled_at = u.filled_at
  where x.quota_id = q.id;
end $$;
comment on function weir.charge_tenant(int, bigint[], int, numeric) is
  'Internal. Adds jobs to what a tenant uses. Errors: WR019.';

-- A row that is there was written before its job ended, and is written again, so that weir.sweep_tenant, which may just
-- find the job to have ended, does not remove it.
create or replace function weir.note_tenant_jobs(quota_id int, job_ids bigint[], counted boolean, out more int)
language plpgsql as $$
#variable_conflict use_variable
begin
  with was as materialized (
    select count(*) as n from weir.tenant_job t where t.quota_id = note_tenant_jobs.quota_id
      and t.job_id = any (job_ids) and t.counted
  ), noted as (
    insert into weir.tenant_job as t (quota_id, job_id, counted)
    select note_tenant_jobs.quota_id, i, note_tenant_jobs.counted from unnest(job_ids) i order by i
    on conflict on constraint tenant_job_pkey do update set counted = t.counted or excluded.counted
    returning t.counted
  )
  select (count(*) filter (where n.counted) - (select w.n from was w))::int into more from noted n;
end $$;
comment on function weir.note_tenant_jobs(int, bigint[], boolean) is
  'Internal. Notes jobs of a tenant with a quota of waiting jobs. Returns how many more of them are counted.';

-- Jobs that have ended and are run again. in_part: those for which there is no room are left out. Locks: the tenants'
-- rows of weir.tenant_usage.
create or replace function weir.charge_again(job_ids bigint[], in_part boolean) returns bigint[]
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  c record;
  room int;
  out_of bigint[] := '{}';
begin
  if not exists (select from weir.tenant_quota) then
    return job_ids;
  end if;
  for c in
    select q.id, q.max_waiting, array_agg(j.id order by j.id) as ids
    from unnest(job_ids) i join weir.job j on j.id = i join weir.tenant_quota q on q.tenant = j.tenant
    where q.max_waiting is not null group by q.id, q.max_waiting order by q.id
  loop
    if in_part then
      perform from weir.tenant_usage u where u.quota_id = c.id for update;
      perform weir.sweep_tenant(c.id, 250);
      room := greatest(c.max_waiting - (select u.waiting from weir.tenant_usage u where u.quota_id = c.id), 0);
      out_of := out_of || c.ids[room + 1:];
      c.ids := c.ids[:room];
    end if;
    perform weir.charge_tenant(c.id, c.ids, 0, 0);
  end loop;
  return array(select i from unnest(job_ids) with ordinality u(i, n) where i <> all (out_of) order by n);
end $$;
comment on function weir.charge_again(bigint[], boolean) is
  'Internal. Charges tenants for jobs that run again, and returns those for which there is room. Errors: WR019, unless '
  'some of them are enough.';

create or replace function weir.note_jobs_of_tenants(job_ids bigint[]) returns void
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if exists (select from weir.tenant_quota) then
    perform weir.note_tenant_jobs(x.id, x.ids, false) from (
      select q.id, array_agg(j.id) as ids
      from unnest(job_ids) i join weir.job j on j.id = i join weir.tenant_quota q on q.tenant = j.tenant
      where q.max_waiting is not null group by q.id) x;
  end if;
end $$;
comment on function weir.note_jobs_of_tenants(bigint[]) is
  'Internal. Notes jobs that wait without having been charged, so that they are counted soon.';

-- The copies of those that are not run again have ended already: only their bytes count.
create or replace function weir.charge_copies(old_ids bigint[], new_ids bigint[], again bigint[]) returns void
language plpgsql set jit = off set enable_seqscan = off as $$
begin
  if exists (select from weir.tenant_quota) then
    perform weir.charge_tenant(c.id, c.ids, cardinality(c.ids), c.bytes) from (
      select q.id, coalesce(array_agg(m.new) filter (where m.old = any (again)), '{}') as ids,
        sum(weir.stored_bytes(j.args, j.metadata, j.tags)) as bytes
      from unnest(old_ids, new_ids) m(old, new) join weir.job j on j.id = m.old
        join weir.tenant_quota q on q.tenant = j.tenant
      group by q.id order by q.id offset 0) c;
  end if;
end $$;
comment on function weir.charge_copies(bigint[], bigint[], bigint[]) is
  'Internal. Charges tenants for copies of steps, of which those in `again` will run. Errors: WR019.';

create or replace function weir.set_tenant_quota(tenant text, max_waiting int default null,
  enqueues_per_second float8 default null, enqueue_burst int default null, max_bytes bigint default null)
returns void language plpgsql as $$
#variable_conflict use_variable
declare
  was weir.tenant_quota;
  quota weir.tenant_quota;
  field text;
  problem text;
begin
  select r.field, r.problem into field, problem from (values
    ('tenant', case when tenant is null then 'must be a string of 1 to 200 characters'
      else weir.label_problem(to_jsonb(tenant)) end),
    ('max_waiting', weir.integer_problem(to_jsonb(max_waiting), 0, 10000000)),
    ('enqueues_per_second', case when not (enqueues_per_second > 0 and enqueues_per_second <= 1000000)
      then 'must be above 0, and at most 1000000' end),
    ('enqueue_burst', case when enqueue_burst is not null and enqueues_per_second is null
      then 'needs enqueues_per_second' else weir.integer_problem(to_jsonb(enqueue_burst), 1, 1000000) end),
    ('max_bytes', weir.number_problem(to_jsonb(max_bytes), 0, 1e15)),
    ('max_waiting', case when max_waiting is null and enqueues_per_second is null and max_bytes is null
      then 'or enqueues_per_second or max_bytes must be given' end)) r(field, problem)
  where r.problem is not null limit 1;
  if problem is not null then
    perform weir.refuse_argument(field, problem);
  end if;
  select * into was from weir.tenant_quota q where q.tenant = set_tenant_quota.tenant for update;
  insert into weir.tenant_quota as q (tenant, max_waiting, enqueues_per_second, enqueue_burst, max_bytes)
  values (tenant, max_waiting, enqueues_per_second, enqueue_burst, max_bytes)
  on conflict on constraint tenant_quota_pkey do update set max_waiting = excluded.max_waiting,
    enqueues_per_second = excluded.enqueues_per_second, enqueue_burst = excluded.enqueue_burst,
    max_bytes = excluded.max_bytes
  returning * into quota;
  insert into weir.tenant_usage (quota_id) values (quota.id) on conflict do nothing;
  if was.max_waiting is null and max_waiting is not null then
    update weir.tenant_usage u set scanned_to = 0, scan_after = null, scan_until = null where u.quota_id = quota.id;
  end if;
end $$;
comment on function weir.set_tenant_quota(text, int, float8, int, bigint) is
  'Sets what a tenant may use: how many of its jobs may wait, how many it may enqueue a second, with a burst '
  '(enqueues_per_second, rounded up), and how many bytes of its jobs are kept. Null: any number. Replaces the quota '
  'that it had. Errors: WR010.';

create or replace function weir.refuse_no_quota(tenant text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR017', message = format('tenant %L has no quota', tenant),
    hint = 'weir.set_tenant_quota sets one.';
end $$;
comment on function weir.refuse_no_quota(text) is 'Internal. Raises WR017 quota_not_found.';

create or replace function weir.delete_tenant_quota(tenant text) returns void language plpgsql as $$
#variable_conflict use_variable
begin
  delete from weir.tenant_quota q where q.tenant = delete_tenant_quota.tenant;
  if not found then
    perform weir.refuse_no_quota(tenant);
  end if;
end $$;
comment on function weir.delete_tenant_quota(text) is
  'Removes the quota of a tenant: from then on it may use any number of everything. Errors: WR017.';
