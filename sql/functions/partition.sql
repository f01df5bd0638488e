-- Partitions of job, job_outcome, job_event and the logs of jobs, and of the tables of workflows. They share their
-- bounds, so an id finds one partition of each.
--
-- A partition has room for 2^32 ids, more than it ever holds: number = id >> 32. When the current one is old enough,
-- the sequence jumps to the first id of the next. So each partition covers a span of time, and none can fill up between
-- two checks. A database without nodes goes on inserting into its last partition. See
-- docs/decisions/0002-partitions.md.

-- The oldest first: job, job_outcome, job_event, and what later migrations add. All have a bigint in the space of
-- job_id_seq as their key.
create or replace function weir.partitioned_tables(out name text, out key text) returns setof record
language sql stable as $$
  select c.relname::text, a.attname::text from pg_partitioned_table p join pg_class c on c.oid = p.partrelid
  join pg_attribute a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
  where c.relnamespace = 'weir'::regnamespace and a.atttypid = 'bigint'::regtype order by c.oid
$$;
comment on function weir.partitioned_tables() is
  'Internal. The tables with partitions by ranges of ids, and the column that has the id.';

-- Locks: the parents, SHARE UPDATE EXCLUSIVE, which does not block inserts. "partition of" would; so it attaches.
create or replace function weir.make_partition(number int) returns void language plpgsql as $$
declare
  parent text;
  lowest bigint := make_partition.number::bigint << 32;
begin
  foreach parent in array array(select t.name from weir.partitioned_tables() t) loop
    continue when to_regclass(format('weir.%I', parent || '_p' || make_partition.number)) is not null;
    execute format('create table weir.%I (like weir.%I including defaults including constraints including comments)',
      parent || '_p' || make_partition.number, parent);
    if (select c.relreplident = 'f' from pg_class c where c.oid = format('weir.%I', parent)::regclass) then
      execute format('alter table weir.%I replica identity full', parent || '_p' || make_partition.number);
    end if;
    execute format('comment on table weir.%I is %L', parent || '_p' || make_partition.number,
      format('Partition of weir.%s: the ids from %s to %s.', parent, lowest, lowest + (1::bigint << 32) - 1));
    execute format('alter table weir.%I attach partition weir.%I for values from (%s) to (%s)', parent, parent || '_p'
      || make_partition.number,
      lowest, lowest + (1::bigint << 32));
  end loop;
  insert into weir.job_partition (number) values (make_partition.number) on conflict do nothing;
end $$;
comment on function weir.make_partition(int) is
  'Internal. Makes and attaches partition `number` of each of these tables where it is not there.';

-- The caller has the turn keep_partitions: two at once could move the sequence back.
create or replace function weir.open_next_partition() returns void language plpgsql as $$
declare
  next int := (select s.last_value >> 32 from weir.job_id_seq s) + 1;
begin
  if not exists (select from weir.job_partition p where p.number = next) then
    perform weir.make_partition(next);
  end if;
  perform setval('weir.job_id_seq', next::bigint << 32);
  update weir.job_partition p set opened_at = clock_timestamp() where p.number = next;
end $$;
comment on function weir.open_next_partition() is 'Internal. Moves the sequence to the first id of the next partition.';

-- One session at a time (turn.sql); the others return at once.
create or replace function weir.keep_partitions(roll_after interval default '5 hours', ahead int default 2)
returns text language plpgsql set lock_timeout = '3s' as $$
declare
  current int;
  opened timestamptz;
begin
  if not weir.try_turn('keep_partitions') then
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
  if opened + roll_after <= clock_timestamp() and exists (select from weir.job j where j.id >= current::bigint << 32
    limit 1) then
    perform weir.open_next_partition();
    return 'rolled';
  end if;
  return 'kept';
end $$;
comment on function weir.keep_partitions(interval, int) is
  'Keeps `ahead` empty partitions ahead of the sequence, and begins the next one when the current is older than '
  'roll_after and not empty. Returns kept, rolled, or busy (another session is doing it). Every node calls it; '
  'any other session may too.';
