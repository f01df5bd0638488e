-- Epochs: they keep a token of one history of the database from fencing a lease of another.
--
-- A token is made of the job's place in its queue (job_ready.seq) and the epoch. Places alone are not enough. A
-- standby that lags behind its primary, or a restore to an earlier time, goes on from a state in which some leases do
-- not exist yet; it would hand out the same places again, and a worker of the lost history could complete a job of
-- the new one.
--
-- So the epoch rises with the timeline of the write-ahead log, which PostgreSQL itself raises at every promotion and
-- point-in-time restore. A claim reads the timeline at the moment it hands out tokens: no row has to be changed
-- first, so no claim can come too early. What has no timeline of its own, a restored dump, is seen by
-- weir.advance_frontier. docs/decisions/0017-timelines.md has the argument and the measurements.

-- Volatile, as pg_current_wal_lsn is: then the call is inlined and costs half a microsecond.
create or replace function weir.wal_timeline() returns int language sql volatile as $$
  select ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
$$;
comment on function weir.wal_timeline() is
  'Internal. The timeline of the write-ahead log: 1 in a new cluster, one more after each promotion or point-in-time '
  'restore. Fails on a standby.';

-- The tables get new oids when a dump is restored, and keep them when files are copied.
create or replace function weir.database_origin() returns text language sql stable as $$
  select c.system_identifier || '/' || 'weir.watermark'::regclass::oid from pg_control_system() c
$$;
comment on function weir.database_origin() is
  'Internal. The cluster, and the copy of the tables in it. It changes when a dump is restored and when a database '
  'moves to another cluster.';

-- Before the first tick after a change, the stored epoch is the one before; the difference of the timelines makes up
-- for it.
create or replace function weir.claim_epoch(stored_epoch int, stored_timeline int) returns int
language sql volatile as $$
  select stored_epoch + weir.wal_timeline() - stored_timeline
$$;
comment on function weir.claim_epoch(int, int) is
  'Internal. The epoch of tokens handed out now, from the epoch and wal_timeline of weir.watermark.';

-- The upper 15 bits are the epoch, the lower 48 the place without its shard, which is the same for all jobs of a
-- database. So the tokens of a job grow from lease to lease and from epoch to epoch; 32,768 epochs later they start
-- again.
create or replace function weir.lease_token(seq bigint, epoch int) returns bigint language sql immutable as $$
  select (seq & 281474976710655) | ((epoch & 32767)::bigint << 48)
$$;
comment on function weir.lease_token(bigint, int) is
  'Internal. The fencing token of a lease, from its place in the queue and the epoch.';

-- Called by weir.advance_frontier, which holds its lock, when the history has changed. Moves the sequence to the next
-- partition, so that ids which the lost history gave out do not come again. Locks: the partitions, without waiting.
create or replace function weir.begin_epoch(last weir.watermark, out epoch int, out wal_timeline int, out origin text)
language plpgsql as $$
begin
  epoch := last.epoch; wal_timeline := last.wal_timeline; origin := last.origin;
  if not weir.try_turn('keep_partitions') then
    return;  -- the next tick tries again
  end if;
  perform weir.open_next_partition();
  wal_timeline := weir.wal_timeline();
  origin := weir.database_origin();
  epoch := case when origin = last.origin then weir.claim_epoch(last.epoch, last.wal_timeline) else last.epoch + 1 end;
end $$;
comment on function weir.begin_epoch(weir.watermark) is
  'Internal. The epoch, timeline and origin that the next watermark has after the database went on from an earlier '
  'state; those of the last one while another session keeps the partitions.';
