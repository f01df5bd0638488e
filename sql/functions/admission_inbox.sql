-- The first half of a pass of the admitter: it collects what changed in the lines of a queue since the last pass.
--
-- Changes come from three places: rows of admission_inbox (enqueues, and jobs that ended); jobs that became available
-- in another way, such as a retry, which stand in job_ready under the queue's own id; and lines whose rate allows a job
-- again. Only weir.admit calls these functions, under its settings and its lock.

create or replace function weir.collect_line_changes(queue weir.queue, inout admission weir.admission,
  snapshot pg_snapshot, overridden boolean,
  out changes weir.line_changes, out changed boolean, out now_at timestamptz, out more boolean) language plpgsql as $$
declare
  most constant int := 2000;
  inbox record;
  entered record;
  rested text[];
  none int;
begin
  select * into inbox from weir.read_inbox(queue, admission, snapshot);
  admission := inbox.admission;
  now_at := clock_timestamp();
  select * into entered from weir.line_up_jobs(queue, most);
  more := inbox.more or entered.taken = most;
  admission.inbox_read_at := case when more then '-infinity' else clock_timestamp() end;
  if overridden or queue.limits ? 'key_rate' then
    rested := array(select l.name from weir.line l
      where l.queue_id = queue.id and l.rest_until > admission.rested_until - interval '1 s' and l.rest_until <= now_at
        order by l.rest_until limit 1000);
    if cardinality(rested) < 1000 then
      admission.rested_until := now_at;
    end if;
  end if;
  none := coalesce(cardinality(rested), 0);
  changes := (
    inbox.names || entered.names || rested,
    inbox.priorities || entered.priorities || array_fill(null::smallint, array[none]),
    inbox.floors || entered.floors || array_fill(null::bigint, array[none]),
    inbox.counts || entered.counts || array_fill(0, array[none]),
    inbox.departed || entered.departed,
    inbox.departed_counts || array_fill(1, array[coalesce(cardinality(entered.departed), 0)]));
  changed := coalesce(cardinality(changes.names), 0) + coalesce(cardinality(changes.departed), 0) > 0;
  admission.in_flight :=
    greatest(admission.in_flight - coalesce((select sum(n) from unnest(changes.departed_counts) n), 0)::int, 0);
end $$;
comment on function weir.collect_line_changes(weir.queue, weir.admission, pg_snapshot, boolean) is
  'Internal. What changed in a queue''s lines since the last pass, at now_at, and whether there was more than one '
  'pass takes.';

-- An inbox row is found by its transaction: it is new if that transaction had not ended when the last pass took its
-- snapshot.
create or replace function weir.read_inbox(queue weir.queue, inout admission weir.admission, snapshot pg_snapshot,
  out names text[], out priorities smallint[], out floors bigint[], out counts int[], out departed text[],
  out departed_counts int[], out more boolean)
language plpgsql as $$
declare
  most constant int := 1000;
  kind constant text := queue.line_by::text;
  inbox record;
begin
  with taken as (
    delete from weir.admission_inbox n where n.ctid = any (array(
      select x.tid from (
        select n.ctid as tid from weir.admission_inbox n where n.queue_id = queue.id and n.xid >= admission.inbox_xmax
        union all
        select n.ctid from weir.admission_inbox n where n.queue_id = queue.id and n.xid = any (admission.inbox_xip)
          and n.xid < admission.inbox_xmax) x
      limit most))
    returning n.*
  ), arrivals as (
    select u.name, u.priority, min(u.floor) as floor, sum(u.n)::int as n
    from taken t cross join unnest(t.arrived, t.priorities, t.floors, t.counts) u(name, priority, floor, n)
      group by u.name, u.priority
  ), departures as (
      -- a job that was in flight before the kind of its line changed counts in the line that it would have now
    select d.name, count(*)::int as n from (
      select case when left(u.name, 1) = kind then u.name
        else (select weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j
          where j.id = u.job_id) end as name
      from taken t cross join unnest(t.departed, t.departed_jobs) u(name, job_id)) d
    group by d.name
  )
  select a.names, a.priorities, a.floors, a.counts, d.names as departed, d.counts as departed_counts, t.n, t.claimed,
    t.claimed_at into inbox
  from (select array_agg(x.name) as names, array_agg(x.priority) as priorities, array_agg(x.floor) as floors,
    array_agg(x.n) as counts from arrivals x) a,
    (select array_agg(x.name) as names, array_agg(x.n) as counts from departures x) d,
    (select array_agg(x.claimed order by x.claimed_at) filter (where x.claimed is not null) as claimed,
      array_agg(x.claimed_at order by x.claimed_at) filter (where x.claimed is not null) as claimed_at, count(*) as n
        from taken x) t;
  names := inbox.names;
  priorities := inbox.priorities;
  floors := inbox.floors;
  counts := inbox.counts;
  departed := inbox.departed;
  departed_counts := inbox.departed_counts;
  more := inbox.n = most;
  if inbox.n between 1 and most - 1 then
    admission.inbox_xmax := pg_snapshot_xmax(snapshot)::text::bigint;
    admission.inbox_xip := array(select x::text::bigint from pg_snapshot_xip(snapshot) x);
  end if;
  if queue.limits ? 'rate' then
    for i in 1..coalesce(cardinality(inbox.claimed), 0) loop
      admission.tokens := weir.queue_tokens(queue, admission.tokens, admission.tokens_at, inbox.claimed_at[i])
        - inbox.claimed[i];
      admission.tokens_at := greatest(admission.tokens_at, inbox.claimed_at[i]);
    end loop;
  else
    admission.tokens := null;
  end if;
  -- A job entered a line of another kind: its transaction had read the queue's limits before they changed.
  if exists (select from unnest(names) n where left(n, 1) <> kind) then
    admission.phase := 'sorting';
    more := true;
  end if;
end $$;
comment on function weir.read_inbox(weir.queue, weir.admission, pg_snapshot) is
  'Internal. Deletes new rows of a queue''s inbox and returns what they say: lines that jobs entered, and lines of '
  'jobs that are no longer in flight. Takes claimed jobs from the queue''s tokens.';

-- Locks: the job_ready rows, skip locked.
create or replace function weir.line_up_jobs(queue weir.queue, most int,
  out names text[], out priorities smallint[], out floors bigint[], out counts int[], out departed text[],
  out taken int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_nestloop = off
  set enable_mergejoin = off as $$
declare
  floor_seq bigint;
  late_seq bigint;
  after bigint[];
  tids tid[];
  ids bigint[];
  attempts smallint[];
  passes bigint[];  -- job_ready.let_through
  lowest bigint;
  highest bigint;
  p smallint;
begin
  taken := 0;
  select w.seq, (select min(h.seq) from unnest(w.holder_seqs) h(seq)) into floor_seq, late_seq from weir.watermark w
    order by w.tick desc limit 1;
  select f.positions into after from weir.frontier f where f.queue_id = queue.id order by f.tick desc limit 1;
  for c in 1..10 loop
    after[c] := least(coalesce(after[c], floor_seq), late_seq);
  end loop;
  for p in select c from generate_series(10, 1, -1) c
    where (select true from weir.job_ready r where r.queue_id = queue.id and r.priority = c and r.seq > after[c]
      limit 1)
  loop
    tids := tids || array(select r.ctid from weir.job_ready r
      where r.queue_id = queue.id and r.priority = p and r.seq > after[p]
      order by r.seq limit most - coalesce(cardinality(tids), 0) for update skip locked);
    exit when cardinality(tids) >= most;
  end loop;
  if coalesce(cardinality(tids), 0) = 0 then
    return;
  end if;
  with gone as (
    delete from weir.job_ready r where r.ctid = any (tids)
      returning coalesce(r.job_id, r.seq) as job_id, r.attempt, r.let_through
  )
  select array_agg(g.job_id), array_agg(g.attempt), array_agg(g.let_through), count(*), min(g.job_id), max(g.job_id)
    into ids, attempts, passes, taken, lowest, highest from gone g;
  -- A job that kept its line while it waited for a retry leaves the jobs in flight. As the oldest it is the first in
  -- its line.
  with gone as (
    delete from weir.line_reservation k where k.job_id = any (ids) returning k.job_id
  )
  select array_agg((select weir.line_name(queue.line_by, j.tenant, j.concurrency_key) from weir.job j
    where j.id = g.job_id)) into departed from gone g;
  with facts as materialized (
    select u.id, u.attempt, u.let_through, j.priority,
      weir.line_name(queue.line_by, j.tenant, j.concurrency_key) as name
    from unnest(ids, attempts, passes) u(id, attempt, let_through) join weir.job j on j.id = u.id
    where j.id = any (ids) and j.id between lowest and highest
  ), placed as (
    insert into weir.job_held (job_id, queue_id, priority, attempt, reason, key, seq, let_through)
    select f.id, queue.id, f.priority, f.attempt, 'line', f.name, f.id, f.let_through from facts f
  )
  select array_agg(l.name), array_agg(l.priority), array_agg(l.floor), array_agg(l.n)
    into names, priorities, floors, counts
  from (select f.name, f.priority, min(f.id) - 1 as floor, count(*)::int as n from facts f
    group by f.name, f.priority) l;
end $$;
comment on function weir.line_up_jobs(weir.queue, int) is
  'Internal. Puts up to `most` jobs of a governed queue that became available by other ways than an enqueue into '
  'their lines.';
