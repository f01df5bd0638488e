-- Partitions of job, job_outcome and job_event, and of the tables of workflows. They share their bounds, so an id finds one partition of each.
--
-- A partition is 2^32 ids wide, more than it will ever hold: number = id >> 32. The next one is begun by moving the sequence
-- to its first id, when the current one is old enough. So partitions follow time, they cannot run out between two looks, and a
-- database whose service is down for a week goes on inserting into the partition it has. docs/decisions/0002-partitions.md.
--
-- +goose Up
create table weir.job_partition (
  number int not null constraint job_partition_pkey primary key,
  opened_at timestamptz,
  kept int,
  sealed_at timestamptz,
  outcomes_sealed_at timestamptz
);
comment on table weir.job_partition is 'The partitions that exist. Each holds the ids from number * 2^32 to (number + 1) * 2^32 - 1.';
comment on column weir.job_partition.number is 'The upper bits of the ids in it: id >> 32.';
comment on column weir.job_partition.kept is 'How many jobs retention left in it when it was rewritten; 0: it may be dropped; null: it is as it was.';
comment on column weir.job_partition.sealed_at is 'When its jobs had all their search indexes; no id will be inserted any more. Null: not yet.';
comment on column weir.job_partition.outcomes_sealed_at is 'When its outcomes and events had all their search indexes; nearly all of its jobs had ended. Null: not yet.';
comment on column weir.job_partition.opened_at is 'When ids began to be drawn from it; null while it lies ahead.';

-- The oldest first: job, job_outcome, job_event, and what later migrations add. All have a bigint in the space of job_id_seq as their key.
-- +goose StatementBegin
create function weir.partitioned_tables(out name text, out key text) returns setof record language sql stable as $$
  select c.relname::text, a.attname::text from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
  join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
  where c.relnamespace = 'weir'::regnamespace order by c.oid
$$;

-- Takes SHARE UPDATE EXCLUSIVE on the parents (attach, not "partition of"), which no insert waits for.
create function weir.make_partition(number int) returns void language plpgsql as $$
declare
  parent text;
  lowest bigint := make_partition.number::bigint << 32;
begin
  foreach parent in array array(select t.name from weir.partitioned_tables() t) loop
    continue when to_regclass(format('weir.%I', parent || '_p' || make_partition.number)) is not null;
    execute format('create table weir.%I (like weir.%I including defaults including constraints including comments)', parent || '_p' || make_partition.number, parent);
    execute format('comment on table weir.%I is %L', parent || '_p' || make_partition.number,
      format('Partition of weir.%s: the ids from %s to %s.', parent, lowest, lowest + (1::bigint << 32) - 1));
    execute format('alter table weir.%I attach partition weir.%I for values from (%s) to (%s)', parent, parent || '_p' || make_partition.number,
      lowest, lowest + (1::bigint << 32));
  end loop;
  insert into weir.job_partition (number) values (make_partition.number) on conflict do nothing;
end $$;

-- One session at a time (advisory lock, transaction level); the others return at once.
create function weir.keep_partitions(roll_after interval default '5 hours', ahead int default 2) returns text language plpgsql set lock_timeout = '3s' as $$
declare
  current int;
  opened timestamptz;
begin
  if not pg_try_advisory_xact_lock(hashtext('weir'), hashtext('keep_partitions')) then
    return 'busy';
  end if;
  select s.last_value >> 32 into current from weir.job_id_seq s;
  for n in current .. current + greatest(ahead, 1) loop
    if not exists (select from weir.job_partition p where p.number = n) then
      perform weir.make_partition(n);
    end if;
  end loop;
  update weir.job_partition p set opened_at = clock_timestamp() where p.number = current and p.opened_at is null;
  select p.opened_at into opened from weir.job_partition p where p.number = current;
  if opened + roll_after <= clock_timestamp() and exists (select from weir.job j where j.id >= current::bigint << 32 limit 1) then
    perform setval('weir.job_id_seq', (current::bigint + 1) << 32);
    update weir.job_partition p set opened_at = clock_timestamp() where p.number = current + 1;
    return 'rolled';
  end if;
  return 'kept';
end $$;
-- +goose StatementEnd
comment on function weir.partitioned_tables() is 'Internal. The tables with partitions by ranges of ids, and the column that has the id.';
comment on function weir.make_partition(int) is 'Internal. Makes and attaches partition `number` of each of these tables where it is not there.';
comment on function weir.keep_partitions(interval, int) is
  'Keeps `ahead` empty partitions ahead of the sequence, and begins the next one when the current is older than roll_after and not empty. '
  'Returns kept, rolled, or busy (another session is at it). Every node calls it; so may anyone.';

-- Indexes for searching. The partition that takes inserts has none of them, because every job would pay for them; they are built, one at a time and
-- concurrently, when a partition takes no more. That cannot happen inside a function, so this one says what to run next.
-- +goose StatementBegin
create function weir.error_words(error jsonb) returns tsvector language sql immutable as $$
  select to_tsvector('pg_catalog.simple', coalesce(error ->> 'type', '') || ' ' || coalesce(error ->> 'message', ''))
$$;

create function weir.search_indexes() returns table (parent text, name text, definition text) language sql immutable as $$
  values ('job', 'by_kind', '(kind, id)'), ('job', 'by_queue', '(queue_id, id)'), ('job', 'by_tenant', '(tenant, id) where tenant is not null'),
    ('job', 'tags', 'using gin (tags) where tags is not null'), ('job', 'args', 'using gin (args jsonb_path_ops)'),
    ('job_outcome', 'error_words', 'using gin (weir.error_words(error)) where error is not null'),
    ('job_event', 'error_words', $i$using gin (weir.error_words(detail)) where kind in ('failed', 'timed_out', 'lost')$i$)
$$;

-- An index that is not valid is one whose building was cut off, unless somebody is just building it. Partitions that retention has rewritten hold little.
-- Locks: the row of the partition.
create function weir.seal_step(out partition int, out statement text) language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  settled bigint := (select least(w.seq, (select min(s) from unnest(w.holder_seqs) s)) from weir.watermark w order by w.tick desc limit 1);
  p record;
  i record;
  built record;
begin
  for p in
    select x.number, f.facts from weir.job_partition x cross join (values (true), (false)) f(facts)
    where x.kept is null and case when f.facts then x.sealed_at else x.outcomes_sealed_at end is null and x.number < (select s.last_value >> 32 from weir.job_id_seq s)
      and settled >= (x.number::bigint + 1) << 32  -- and nobody who drew an id of it is still writing
    order by x.number, f.facts desc
  loop
    continue when not p.facts and cardinality(weir.live_ids(p.number, 1001)) > 1000;
    for i in select s.parent || '_p' || p.number as child, s.parent || '_p' || p.number || '_' || s.name as index_name, s.definition
      from weir.search_indexes() s where (s.parent = 'job') = p.facts
    loop
      select x.indexrelid, x.indisvalid as valid into built from pg_class c join pg_index x on x.indexrelid = c.oid
      where c.relname = i.index_name and c.relnamespace = 'weir'::regnamespace;
      continue when built.valid;
      partition := p.number;
      if built.indexrelid is null then
        statement := format('create index concurrently %I on weir.%I %s', i.index_name, i.child, i.definition);
      elsif not exists (select from pg_stat_progress_create_index g where g.index_relid = built.indexrelid) then
        statement := format('drop index concurrently weir.%I', i.index_name);
      end if;
      return;
    end loop;
    if p.facts then
      update weir.job_partition x set sealed_at = clock_timestamp() where x.number = p.number;
    else
      update weir.job_partition x set outcomes_sealed_at = clock_timestamp() where x.number = p.number;
    end if;
  end loop;
end $$;
-- +goose StatementEnd
comment on function weir.error_words(jsonb) is 'The words of an error''s type and message, to search for with @@; sealed partitions of job_outcome and job_event have an index of them.';
comment on function weir.search_indexes() is 'Internal. The indexes that a sealed partition has, by the table that it is a partition of.';
comment on function weir.seal_step() is
  'The next statement that seals a partition which takes no more jobs: it builds one of its search indexes, or drops one whose building was cut off. Null: all is done, or somebody is just '
  'building one. To be run by itself, outside of a transaction: the service does so, one at a time; in psql, \gexec does.';

select weir.keep_partitions();

-- +goose Down
drop function weir.seal_step(), weir.search_indexes(), weir.error_words(jsonb), weir.keep_partitions(interval, int), weir.make_partition(int), weir.partitioned_tables();
drop table weir.job_partition;
