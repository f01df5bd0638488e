-- Queues that belong to a tenant: all jobs in them are of that tenant.
--
-- A job that names no tenant gets the queue's, and one of another is refused, at every door. A queue gets a tenant only
-- while it has no other jobs; enqueues lock weir.job_ready before they read the settings of their queues, so
-- weir.refuse_shared_queue can wait for those that do not know yet.

create or replace function weir.refuse_tenant(queue text, field text default null) returns void language plpgsql as $$
begin
  if field is null then
    raise exception using errcode = 'WR018', message = format('queue %L takes no jobs of this tenant', queue),
      hint = 'It belongs to another tenant.';
  end if;
  raise exception using errcode = 'WR018', message = format('%s %L takes no jobs of this tenant', field, queue),
    column = field, hint = 'It belongs to another tenant.';
end $$;
comment on function weir.refuse_tenant(text, text) is 'Internal. Raises WR018 tenant_mismatch.';

-- Called only where one of the queues belongs to a tenant. The queue default never does, so a job that names no queue
-- stays as it is. place: the name of the array in errors; null: they name
-- none.
create or replace function weir.impose_queue_tenants(jobs jsonb, place text) returns jsonb language plpgsql stable as $$
declare
  owners jsonb := (select jsonb_object_agg(q.name, q.tenant) from weir.queue q where q.tenant is not null
    and q.name = any (array(select distinct e ->> 'queue' from jsonb_array_elements(jobs) e)));
begin
  if owners is null then
    return jobs;
  end if;
  perform weir.refuse_tenant(e.job ->> 'queue', format('%s[%s].queue', place, e.n - 1))
  from (select x.job, x.n from jsonb_array_elements(jobs) with ordinality x(job, n)
    where x.job ->> 'tenant' <> owners ->> (x.job ->> 'queue') order by x.n limit 1) e;
  return (select jsonb_agg(case when owners ? (e.job ->> 'queue')
    then e.job || jsonb_build_object('tenant', owners -> (e.job ->> 'queue')) else e.job end order by e.n)
    from jsonb_array_elements(jobs) with ordinality e(job, n));
end $$;
comment on function weir.impose_queue_tenants(jsonb, text) is
  'Internal. Jobs with the tenants of their queues. Errors: WR018.';

create or replace function weir.fitting_jobs(job_ids bigint[], in_part boolean) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
  foreign_ids bigint[];
begin
  if not exists (select from weir.queue q where q.tenant is not null) then
    return job_ids;
  end if;
  foreign_ids := array(select j.id from weir.job j join weir.queue q on q.id = j.queue_id
    where j.id = any (job_ids) and q.tenant <> coalesce(j.tenant, ''));
  if not in_part then
    perform weir.refuse_tenant(q.name) from weir.job j join weir.queue q on q.id = j.queue_id
    where j.id = foreign_ids[1];
  end if;
  return array(select i from unnest(job_ids) with ordinality u(i, n) where i <> all (foreign_ids) order by n);
end $$;
comment on function weir.fitting_jobs(bigint[], boolean) is
  'Internal. Those of these jobs that may be in their queues again, which may have got a tenant since. Errors: WR018, '
  'unless some of them are enough.';

create or replace function weir.has_foreign_jobs(q weir.queue) returns boolean language sql stable as $$
  select exists (select from weir.job_ready r join weir.job j on j.id = coalesce(r.job_id, r.seq)
      where r.queue_id in (q.id, q.admitted_id) and j.tenant is distinct from q.tenant)
    or exists (select from (
      select s.job_id from weir.job_scheduled s where s.queue_id = q.id
      union all select h.job_id from weir.job_held h where h.queue_id = q.id
      union all select l.job_id from weir.job_lease l where l.queue_id = q.id
      union all select d.job_id from weir.job_dead d where d.queue_id = q.id) p
      join weir.job j on j.id = p.job_id where j.tenant is distinct from q.tenant)
$$;
comment on function weir.has_foreign_jobs(weir.queue) is
  'Internal. Whether a queue has jobs or dead letters that are not of its tenant.';

-- The queue has its new tenant already, in this transaction. What is below `settled` is visible to the first look;
-- the lock waits for the transactions that drew the rest, and the second look sees theirs.
-- Locks: weir.job_ready against all enqueues and claims. It waits for a fifth of a second, and they wait behind it.
create or replace function weir.refuse_shared_queue(q weir.queue) returns void language plpgsql
  set lock_timeout = '200ms' as $$
declare
  settled bigint := (select least(w.seq, (select min(s) from unnest(w.holder_seqs) s)) from weir.watermark w
    order by w.tick desc limit 1);
  shared boolean := weir.has_foreign_jobs(q);
begin
  if not shared then
    lock table weir.job_ready in share mode;
    shared := exists (select from weir.job j where j.id > settled and j.queue_id = q.id
      and j.tenant is distinct from q.tenant and not exists (select from weir.job_outcome o where o.job_id = j.id));
  end if;
  if shared then
    raise exception using errcode = 'WR012', message = format('queue %L has jobs of other tenants', q.name),
      hint = 'A queue can belong to a tenant only while all jobs and dead letters in it are of that tenant.';
  end if;
end $$;
comment on function weir.refuse_shared_queue(weir.queue) is
  'Internal. Raises WR012 for a queue with jobs that are not of its tenant.';

create or replace function weir.check_queue_tenant(name text, was text) returns void language plpgsql as $$
declare
  q weir.queue;
  other text;
begin
  select * into q from weir.queue x where x.name = check_queue_tenant.name;
  if q.tenant is not null and q.name = 'default' then
    perform weir.refuse_argument('tenant', 'cannot be set for the queue default, which jobs are in that name none');
  end if;
  other := (select x.name from weir.queue x join weir.queue d on d.id = x.dead_letter_queue_id
    where d.tenant <> coalesce(x.tenant, '') and q.id in (x.id, d.id) limit 1);
  if other = q.name then
    perform weir.refuse_argument('dead_letter_queue', 'belongs to another tenant');
  elsif other is not null then
    perform weir.refuse_argument('tenant', 'cannot be set: it is the dead letter queue of queues of other tenants');
  end if;
  if exists (select from weir.breaker b where b.id = q.breaker_id
    and weir.breaker_tenant(b.name) <> coalesce(q.tenant, '')) then
    if q.tenant is not distinct from was then
      perform weir.refuse_argument('breaker', 'belongs to another tenant');
    end if;
    perform weir.refuse_argument('tenant', 'cannot be changed: the circuit breaker of the queue is of that tenant');
  end if;
  if q.tenant is null then
    return;
  end if;
  if exists (select from weir.breaker b where b.while_open ->> 'queue' = q.name and b.deleted_at is null
    and weir.breaker_tenant(b.name) is distinct from q.tenant) then
    perform weir.refuse_argument('tenant', 'cannot be set: a circuit breaker sends jobs there');
  elsif q.tenant is distinct from was and q.created_at < now() then
    perform weir.refuse_shared_queue(q);
  end if;
end $$;
comment on function weir.check_queue_tenant(text, text) is
  'Internal. Refuses a tenant that a queue cannot have. was: the tenant that it had. Errors: WR010, WR012.';
