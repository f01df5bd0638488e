-- Unique keys and idempotency keys: which job holds a key, and taking a key for a new job.

-- Gives `key` to `candidate`, one of the jobs that are just being enqueued, or returns the job that has it. Waits for
-- another transaction that is taking the same key.
create or replace function weir.take_unique_key(uniq jsonb, tenant text, candidate bigint, batch bigint[])
returns bigint
language plpgsql set jit = off set enable_seqscan = off as $$
declare
  taken weir.job_unique;
  new_until timestamptz := case when uniq ->> 'scope' = 'ttl'
    then clock_timestamp() + make_interval(secs => (uniq ->> 'ttl_seconds')::float8) end;
begin
  loop
    insert into weir.job_unique (key, tenant, job_id, until)
      values (uniq ->> 'key', coalesce(take_unique_key.tenant, ''), candidate, new_until)
      on conflict do nothing;
    if found then return candidate; end if;
    select * into taken from weir.job_unique u where u.key = uniq ->> 'key'
      and u.tenant = coalesce(take_unique_key.tenant, '');
    continue when not found;
    if taken.until > clock_timestamp()
       or taken.until is null and not exists (select from weir.job_outcome o where o.job_id = taken.job_id)
          and (taken.job_id = any (batch) or exists (select from weir.job j where j.id = taken.job_id)) then
      return taken.job_id;
    end if;
    update weir.job_unique u set job_id = candidate, until = new_until where u.key = taken.key
      and u.tenant = taken.tenant and u.job_id = taken.job_id;
    if found then return candidate; end if;
  end loop;
end $$;
comment on function weir.take_unique_key(jsonb, text, bigint, bigint[]) is
  'Internal. Gives a unique key of a tenant to a new job, or returns the job that has it.';

create or replace function weir.refuse_idempotency_key() returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR006', message = 'the idempotency key was used for another request',
    hint = 'Send the same request again, or use a new key. Keys are known for 24 hours.';
end $$;
comment on function weir.refuse_idempotency_key() is 'Internal. Raises WR006 idempotency_mismatch.';

-- The same for an idempotency key. It is known for a day, even after the job has ended, and refuses any other request.
create or replace function weir.take_idempotency_key(job jsonb, tenant text, candidate bigint) returns bigint
language plpgsql set jit = off set enable_seqscan = off as $$
declare
  -- Of the same args each encryption is another one.
  mark text := md5((job - case when weir.is_encrypted(job -> 'args') then '{idempotency_key,principal,args}'::text[]
    else '{idempotency_key,principal}' end)::text);
  taken weir.job_idempotency;
begin
  loop
    insert into weir.job_idempotency as i (key, tenant, job_id, fingerprint, until)
    values (job ->> 'idempotency_key', coalesce(take_idempotency_key.tenant, ''), candidate, mark,
      clock_timestamp() + interval '1 day')
    on conflict on constraint job_idempotency_pkey do update set job_id = candidate, fingerprint = mark,
      until = excluded.until
      where i.until <= clock_timestamp();
    if found then return candidate; end if;
    select * into taken from weir.job_idempotency i where i.key = job ->> 'idempotency_key'
      and i.tenant = coalesce(take_idempotency_key.tenant, '');
    continue when not found;
    if taken.fingerprint <> mark then
      perform weir.refuse_idempotency_key();
    end if;
    return taken.job_id;
  end loop;
end $$;
comment on function weir.take_idempotency_key(jsonb, text, bigint) is
  'Internal. Gives an idempotency key to a new job, or returns the job that it made. Raises WR006 '
  'idempotency_mismatch.';

-- A batch has one key for all of its jobs, so that they may be plain ones. The key is taken before the batch is stored.
create or replace function weir.enqueue_batch_once(key text, tenant text, jobs jsonb, principals int[] default null)
returns table (job_id bigint, duplicate boolean) language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  mark text := (select md5(string_agg((case when weir.is_encrypted(x.job -> 'args') then x.job - 'args'
    else x.job end)::text, ',' order by x.n)) from jsonb_array_elements(jobs) with ordinality x(job, n));
  taken weir.job_idempotency;
begin
  loop
    insert into weir.job_idempotency as i (key, tenant, job_id, fingerprint, until)
    values (enqueue_batch_once.key, enqueue_batch_once.tenant, 0, mark, clock_timestamp() + interval '1 day')
    on conflict on constraint job_idempotency_pkey do update set fingerprint = mark, until = excluded.until
      where i.until <= clock_timestamp();
    exit when found;
    select * into taken from weir.job_idempotency i where i.key = enqueue_batch_once.key
      and i.tenant = enqueue_batch_once.tenant;
    continue when not found;
    if taken.fingerprint <> mark then
      perform weir.refuse_idempotency_key();
    end if;
    return query select u.id, true from unnest(taken.job_ids) with ordinality u(id, n) order by u.n;
    return;
  end loop;
  return query
  with stored as materialized (
    select b.job_id, b.duplicate, row_number() over () as n from weir.enqueue_batch(jobs, principals => principals) b
  ), kept as (
    update weir.job_idempotency i set job_ids = s.ids, job_id = s.ids[1]
    from (select array_agg(x.job_id order by x.n) as ids from stored x) s
    where i.key = enqueue_batch_once.key and i.tenant = enqueue_batch_once.tenant
  )
  select s.job_id, s.duplicate from stored s order by s.n;
end $$;
comment on function weir.enqueue_batch_once(text, text, jsonb, int[]) is
  'Internal. weir.enqueue_batch with an idempotency key for the whole batch, which is known for a day. If the same '
  'batch was stored before, it returns the ids of then, as duplicates. tenant: whose keys it is among; empty: those of '
  'no tenant. Raises WR006 idempotency_mismatch.';
