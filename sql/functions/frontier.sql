-- Where claims start to look. A claim scans job_ready from its queue's frontier, never from the start, so it does not
-- walk over the dead entries of jobs claimed long ago, which vacuum cannot remove while any transaction holds back
-- the xmin horizon.
--
-- A frontier is not moved by claims. It is looked up again a few times a second (advance_frontier): the place just
-- before the first entry that is still there. A claim that is not committed has not removed its entries yet, so the
-- frontier stays before them.
--
-- One thing could appear behind it: an entry whose transaction drew its seq early and commits late. Such a
-- transaction holds ROW EXCLUSIVE on a hot table from before it draws until it ends, so pg_locks names every such
-- transaction. Each tick of the watermark records them and a seq that bounds their entries from below; when one has
-- ended, the next frontier is looked up from there. Rule for every function that draws a seq: lock job_ready first,
-- or draw in the statement that inserts. docs/decisions/0001-frontier.md has the argument and the measurements.
--
-- Both tables are read "newest first", which costs one index probe however many dead rows lie behind.

create or replace function weir.writers() returns text[] language plpgsql as $$
begin
  return array(
    select distinct coalesce(l.pid::text, '') || ':' || l.virtualtransaction from pg_locks l
    where l.locktype = 'relation' and l.granted and l.mode = 'RowExclusiveLock' and l.pid is distinct
      from pg_backend_pid()
      and l.database = (select d.oid from pg_database d where d.datname = current_database())
      and l.relation = any (array['weir.job_ready'::regclass, 'weir.job_scheduled'::regclass,
        'weir.job_lease'::regclass]::oid[]));
end $$;
comment on function weir.writers() is
  'Internal. The transactions of other sessions that write to a hot table. A prepared one begins with a colon.';

-- One session at a time (turn.sql), and not more often than `every`; the others return the
-- last tick. READ COMMITTED only: each statement must see what was committed before it began.
create or replace function weir.advance_frontier(every interval default '200 ms', out tick bigint,
  out late_tick bigint, out holders int, out fresh boolean, out passed bigint)
language plpgsql set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  last weir.watermark;
  now_at timestamptz := clock_timestamp();
  now_seq bigint;
  now_holders text[];
  now_seqs bigint[];
  now_since timestamptz[];
  low bigint;
  low_since timestamptz;
  moved int;
  waiting int[];
  mine boolean;
  era record;  -- the epoch, and what it was set on
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'advance_frontier needs a READ COMMITTED transaction',
      hint = 'Its statements must each see what was committed before they began.';
  end if;
  mine := weir.try_turn('advance_frontier');
  select * into last from weir.watermark w order by w.tick desc limit 1;
  if not mine or now_at >= last.at and now_at < last.at + every then
    tick := last.tick; late_tick := last.late_tick; holders := cardinality(last.holders); fresh := false; passed := 0;
    return;
  end if;

  -- The order matters: first the sequence, then the transactions that write, then (below, with a later snapshot) what
  -- there is. pg_sequence_last_value, because a plain select from the sequence may see a value up to 32 ahead: it
  -- reads a row that nextval is just writing.
  now_seq := coalesce(pg_sequence_last_value('weir.job_id_seq'), 0);
  now_holders := weir.writers();
  now_seqs := '{}';
  now_since := '{}';
  if last.holders <> '{}' or now_holders <> '{}' then
    select min(h.seq), min(h.since) into low, low_since from unnest(last.holders, last.holder_seqs,
      last.holder_since) h(name, seq, since)
    where h.name <> all (now_holders);
    -- A prepared transaction (it has no pid) was some other holder before: it inherits the lowest of those that are
    -- gone.
    select coalesce(array_agg(coalesce(o.seq, case when n.name like ':%' then least(last.seq, low) else last.seq end)
      order by n.place), '{}'),
           coalesce(array_agg(coalesce(o.since, case when n.name like ':%' then least(last.at, low_since)
             else last.at end) order by n.place), '{}')
      into now_seqs, now_since
    from unnest(now_holders) with ordinality n(name, place)
    left join unnest(last.holders, last.holder_seqs, last.holder_since) o(name, seq, since) on o.name = n.name;
  end if;

  select m.moved, m.passed, m.waiting into moved, passed, waiting from weir.move_frontiers(last, now_seq, low) m;

  select last.epoch, last.wal_timeline, last.origin into era;
  if (last.wal_timeline, last.origin) <> (weir.wal_timeline(), weir.database_origin()) then
    era := weir.begin_epoch(last);
  end if;

  tick := last.tick; late_tick := last.late_tick; holders := cardinality(now_holders); fresh := true;
  if moved > 0 or now_seq <> last.seq or now_holders <> last.holders or now_at > last.at + interval '5 s'
    or era.epoch <> last.epoch then
    tick := last.tick + 1;
    if not last.holders <@ now_holders then
      late_tick := tick;
    end if;
    delete from weir.watermark w where w.tick = last.tick;
    insert into weir.watermark (tick, at, seq, settled_at, late_tick, epoch, wal_timeline, origin, holders,
      holder_seqs, holder_since, waiting)
    values (tick, now_at, now_seq, least(now_at, (select min(s) from unnest(now_since) s)), late_tick, era.epoch,
      era.wal_timeline, era.origin,
      now_holders, now_seqs, now_since, waiting);
  end if;
end $$;
comment on function weir.advance_frontier(interval) is
  'One tick of the watermark: looks up the frontier of every queue again. Every node calls it a few times a second; '
  'where no service runs, claims are as right without it, only slower behind many dead entries. Returns the tick, '
  'the last tick at which a late transaction was found to have ended, how many transactions are writing, whether '
  'that was seen by this call (fresh) or by an earlier one, and by how many places, at most, a frontier moved. '
  'Errors: WR010 in a REPEATABLE READ transaction.';

-- There may be many more queues than are in use. Where few numbers were drawn since the last tick, only these queues
-- can have a frontier that moves: where something waited, and where something has come, as a new job or as one that
-- came back. Null: look at all, as every 300th tick does in any case.
create or replace function weir.queues_to_look_at(last weir.watermark, now_seq bigint, low bigint) returns int[]
language plpgsql as $$
declare
  bound bigint := least(last.seq, low);
begin
  if last.waiting is null or now_seq - bound > 2000 or last.tick % 300 = 0 then
    return null;
  end if;
  return array(
    select u.id from unnest(last.waiting) u(id)
    union select u.id from weir.queue x cross join unnest(array[x.id, x.admitted_id]) u(id) where x.governed
    union select j.queue_id from weir.job j where j.id > bound
    union select r.queue_id from weir.job_ready r where r.seq > bound and coalesce(r.job_id, 0) > 0);
end $$;
comment on function weir.queues_to_look_at(weir.watermark, bigint, bigint) is
  'Internal. The queues (job_ready.queue_id) whose frontiers may move; null: all.';

create or replace function weir.move_frontiers(last weir.watermark, now_seq bigint, low bigint, out moved int,
  out passed bigint, out waiting int[]) language plpgsql as $$
declare
  gone tid[];
  ids int[];
  positions text[];
  few int[] := weir.queues_to_look_at(last, now_seq, low);
begin
  -- Read first, and written only if something moved: no other session writes to this table. A frontier in which nothing
  -- waits any more passed all that was drawn. None passes now_seq: a transaction that began since it was read is not
  -- among the holders, and may commit an entry above it after another has committed a later one.
  select count(*) filter (where x.moved), array_agg(x.tid) filter (where x.moved),
    array_agg(x.id) filter (where x.moved), array_agg(x.seen::text) filter (where x.moved),
    coalesce(max((select max(coalesce(u.seen, now_seq) - coalesce(u.before, last.seq))
      from unnest(x.seen, x.positions) u(seen, before))) filter (where x.moved), 0),
    case when count(*) filter (where x.waits) <= 1000
      then coalesce(array_agg(x.id) filter (where x.waits), '{}') end
    into moved, gone, ids, positions, passed, waiting
  from (
    select y.*, y.seen <> array_fill(null::bigint, array[10]) as waits,
      coalesce(y.positions, array_fill(null::bigint, array[10])) is distinct from y.seen as moved
    from (
      select q.id, f.tid, f.positions, array(select (select least(r.seq - 1, now_seq) from weir.job_ready r
        where r.queue_id = q.id and r.priority = p
        and r.seq > least(coalesce(f.positions[p], last.seq), low) order by r.seq limit 1)
          from generate_series(1, 10) p) as seen
      -- of a governed queue also where its admitted jobs stand
      from (select x.id from weir.queue x where few is null
        union all select x.admitted_id from weir.queue x where x.governed and few is null
        union all select u.id from unnest(few) u(id)) q
      left join lateral (select x.ctid as tid, x.positions from weir.frontier x where x.queue_id = q.id
        order by x.tick desc limit 1) f on true offset 0) y) x
  where x.moved or x.waits;
  if moved > 0 then
    delete from weir.frontier f where f.ctid = any (gone);
    insert into weir.frontier (queue_id, tick, positions) select u.id, last.tick + 1, u.seen::bigint[]
      from unnest(ids, positions) u(id, seen);
  end if;
end $$;
comment on function weir.move_frontiers(weir.watermark, bigint, bigint) is
  'Internal. Looks up the frontier of every queue in use again. low: what bounds the entries of transactions that have '
  'ended since the last tick. Returns how many frontiers moved, by how many places at most, and where something waits '
  '(null: in too many queues to note).';
