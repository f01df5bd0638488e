-- Retention: old partitions are dropped as a whole. No job is deleted row by row.

create or replace function weir.unfinished_job_ids(number int, most int) returns bigint[] language plpgsql stable
  set jit = off set enable_seqscan = off as $$
declare
  lowest bigint := unfinished_job_ids.number::bigint << 32;
  beyond bigint := (unfinished_job_ids.number::bigint + 1) << 32;
begin
  return array(
    select x.id from (
      select s.job_id as id from weir.job_scheduled s where s.job_id >= lowest and s.job_id < beyond
      union all select h.job_id from weir.job_held h where h.job_id >= lowest and h.job_id < beyond
      union all select l.job_id from weir.job_lease l where l.job_id >= lowest and l.job_id < beyond
      union all select r.job_id from weir.job_ready r where r.job_id >= lowest and r.job_id < beyond
      union all select r.seq from weir.queue q cross join generate_series(1, 10) p cross join lateral (
        select x.seq from weir.job_ready x where x.queue_id = q.id and x.priority = p and x.seq >= lowest
          and x.seq < beyond and x.job_id is null limit most) r
    ) x limit most);
end $$;
comment on function weir.unfinished_job_ids(int, int) is
  'Internal. Up to `most` ids of jobs of a partition that have not ended.';

create or replace function weir.retained_ids(number int, most int) returns bigint[] language plpgsql stable
  set jit = off set enable_seqscan = off as $$
declare
  lowest bigint := retained_ids.number::bigint << 32;
  beyond bigint := (retained_ids.number::bigint + 1) << 32;
  kept_since timestamptz := now() - make_interval(secs => (select max(x.retention_seconds) from weir.queue x));
  ids bigint[];
begin
  ids := array(
    select distinct x.id from (
      select unnest(weir.unfinished_job_ids(retained_ids.number, most)) as id
      union all select d.job_id from weir.job_dead d where d.job_id >= lowest and d.job_id < beyond
      -- A workflow is kept whole: while it runs it needs the results of its steps, and after its end it can be run
      -- again or forked.
      union all select w.id from weir.workflow w where w.id >= lowest and w.id < beyond
        and (w.finished_at > kept_since) is not false
      union all select s.job_id from weir.workflow_step s where s.job_id >= lowest and s.job_id < beyond
        and exists (select from weir.workflow w where w.id = s.workflow_id
          and (w.finished_at > kept_since) is not false)
    ) x limit most);
  if cardinality(ids) < most then
    ids := ids || array(
      select o.job_id from weir.job_outcome o join weir.queue q on q.id = o.queue_id
      where o.job_id >= lowest and o.job_id < beyond
        and o.finished_at > kept_since
        and o.finished_at > now() - make_interval(secs => q.retention_seconds) and o.job_id <> all (ids)
      limit most - cardinality(ids));
  end if;
  return ids;
end $$;
comment on function weir.retained_ids(int, int) is
  'Internal. Up to `most` ids of a partition that must be kept: jobs that have not ended, dead letters, workflows '
  'that are kept, and jobs within their retention.';

-- Locks: the tables of the partition, ACCESS EXCLUSIVE, while it writes the rows that are kept. It waits half a second
-- at most for the lock. Claims wait for it in turn, so only a few rows may be kept. It does not lock the parents, so
-- enqueues continue. The lines of logs, which may be long, follow in weir.retain_logs.
create or replace function weir.retain_partition(number int, keep_at_most int default 1000) returns text
language plpgsql set lock_timeout = '500ms' as $$
declare
  part record;
  ids bigint[];
begin
  if retain_partition.number >= (select s.last_value >> 32 from weir.job_id_seq s) then
    return 'in use';
  end if;
  if cardinality(weir.retained_ids(retain_partition.number, keep_at_most + 1)) > keep_at_most then
    return 'kept';
  end if;
  for part in select * from weir.partitioned_tables() t where t.name <> 'job_log' loop
    execute format('lock table weir.%I in access exclusive mode', part.name || '_p' || retain_partition.number);
  end loop;
  ids := weir.retained_ids(retain_partition.number, keep_at_most + 1);  -- again, now that nothing can change
  if cardinality(ids) > keep_at_most then
    return 'kept';
  end if;
  if (select p.kept from weir.job_partition p where p.number = retain_partition.number) = cardinality(ids)
    and cardinality(ids) > 0 then
    return 'rewritten before';
  end if;
  for part in select * from weir.partitioned_tables() t where t.name <> 'job_log' loop
    execute format('create temporary table weir_kept on commit drop as select * from weir.%I where %I = any ($1)',
      part.name || '_p' || retain_partition.number, part.key) using ids;
    execute format('truncate weir.%I', part.name || '_p' || retain_partition.number);
    execute format('insert into weir.%I select * from weir_kept', part.name || '_p' || retain_partition.number);
    drop table weir_kept;
  end loop;
  update weir.job_partition p set kept = cardinality(ids) where p.number = retain_partition.number;
  return case when ids = '{}' then 'emptied' else 'rewritten' end;
end $$;
comment on function weir.retain_partition(int, int) is
  'Rewrites an old partition so that only what must be kept remains (not ended, dead letters, ended within their '
  'queue''s retention), if that is at most keep_at_most jobs. Returns emptied, rewritten, rewritten before, kept '
  '(too many) or in use. Fails with lock_timeout if the partition is busy; try again.';

-- Locks: the lines of the partition, ACCESS EXCLUSIVE. It waits half a second at most for the lock. Only readers and
-- writers of these logs wait for it.
create or replace function weir.retain_logs(number int) returns boolean language plpgsql
  set lock_timeout = '500ms' as $$
declare
  part text := 'job_log_p' || retain_logs.number;
begin
  if not exists (select from weir.job_partition p where p.number = retain_logs.number
    and p.kept is not null and p.logs_kept is distinct from p.kept) then
    return false;
  end if;
  execute format('lock table weir.%I in access exclusive mode', part);
  execute format('create temporary table weir_kept on commit drop as select l.* from weir.%I l
    where exists (select from weir.%I j where j.id = l.job_id)', part, 'job_p' || retain_logs.number);
  execute format('truncate weir.%I', part);
  execute format('insert into weir.%I select * from weir_kept', part);
  drop table weir_kept;
  update weir.job_partition p set logs_kept = p.kept where p.number = retain_logs.number;
  return true;
end $$;
comment on function weir.retain_logs(int) is
  'Removes the lines of logs whose jobs retain_partition removed: rewrites those of a partition, if it has not since. '
  'Returns whether it did. Fails with lock_timeout if they are in use; try again.';

-- Locks: the parents, ACCESS EXCLUSIVE, for a moment. It waits a fifth of a second at most, and enqueues wait behind
-- it.
create or replace function weir.drop_partition(number int) returns boolean language plpgsql
  set lock_timeout = '200ms' as $$
declare
  part text;
  used boolean;
begin
  if (select p.kept from weir.job_partition p where p.number = drop_partition.number) is distinct from 0 then
    return false;
  end if;
  -- A transaction that drew its id before the sequence moved on may have used the partition since.
  foreach part in array array(select t.name from weir.partitioned_tables() t) loop
    execute format('lock table weir.%I in access exclusive mode', part || '_p' || drop_partition.number);
    execute format('select exists (select from weir.%I)', part || '_p' || drop_partition.number) into used;
    if used then
      update weir.job_partition p set kept = null, logs_kept = null where p.number = drop_partition.number;
      return false;
    end if;
  end loop;
  foreach part in array array(select t.name from weir.partitioned_tables() t) loop
    execute format('drop table weir.%I', part || '_p' || drop_partition.number);
  end loop;
  perform weir.drop_zones(drop_partition.number);
  delete from weir.job_partition p where p.number = drop_partition.number;
  return true;
end $$;
comment on function weir.drop_partition(int) is
  'Drops a partition that retain_partition emptied; false if it is not empty. Fails with lock_timeout where the '
  'tables are busy; try again.';

create or replace function weir.sweep_unique_keys(most int default 10000) returns int language plpgsql as $$
declare
  swept int;
begin
  delete from weir.job_unique u where u.ctid = any (array(
    select x.ctid from weir.job_unique x
    where x.until <= now() or x.until is null and (exists (select from weir.job_outcome o where o.job_id = x.job_id)
      or not exists (select from weir.job j where j.id = x.job_id))
    limit most for update skip locked));
  get diagnostics swept = row_count;
  delete from weir.job_idempotency i where i.ctid = any (array(select x.ctid from weir.job_idempotency x
    where x.until <= now() limit most for update skip locked));
  return swept;
end $$;
comment on function weir.sweep_unique_keys(int) is
  'Removes unique keys that are free and idempotency keys that have expired. Returns how many unique keys.';

-- Expired results are already hidden from readers; this frees their space. Locks: the outcomes, skip locked.
create or replace function weir.sweep_results(most int default 1000) returns int language plpgsql set jit = off
  set enable_seqscan = off as $$
declare
  swept int;
begin
  update weir.job_outcome o set result = null, result_until = null where o.job_id = any (array(
    select x.job_id from weir.job_outcome x where x.result_until <= now() order by x.result_until
      limit most for update skip locked));
  get diagnostics swept = row_count;
  return swept;
end $$;
comment on function weir.sweep_results(int) is
  'Erases up to `most` results that have expired (result_ttl_seconds). Returns how many.';
