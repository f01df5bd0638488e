-- Admission: a pass of the admitter moves jobs of a governed queue from their lines (job_held) to where claims find
-- them (job_ready under the queue's admitted_id), as far as the limits allow.
--
-- One pass is one short transaction, and passes of a queue take turns (turn.sql). So weir.line,
-- weir.tenant_share and weir.admission have a single writer, and two sessions cannot exceed a limit together. Nodes run
-- a pass before they claim, and from a loop. Nothing else waits for a pass: enqueues and acks only leave rows in
-- admission_inbox, and a pass skips jobs that are locked.
--
-- A job is in flight from its admission until it ends or goes back to its line: while it stands in job_ready under
-- admitted_id, has a lease with a line, or has a reservation (line_reservation). The counts in weir.line are these
-- rows, plus those whose end is still in the inbox.
--
-- The next job is chosen in three steps: first the tenant with the lowest start in virtual time (a single tenant if the
-- limits do not tell tenants apart); then, among its open lines of the highest priority, the one whose turn is lowest;
-- then that line's job with the highest priority and lowest id. A line is open while a job waits in it and its own
-- limits have room.
--
-- The helpers of a pass have no settings of their own unless they need others: they run, and are planned, under those
-- of weir.admit.

create or replace function weir.admit(queue text, wanted int default null,
  out admitted int, out waiting int, out held_by text, out next_in float8, out more boolean, out available int)
  language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  q weir.queue;
  state weir.admission;
  stored weir.admission;  -- the state as the last pass left it
  snapshot pg_snapshot;   -- taken before this pass reads the inbox
  overridden boolean;     -- single keys have limits of their own
  demand record;
  inbox record;
  served record;
begin
  admitted := 0;
  waiting := 0;
  more := false;
  q := weir.begin_pass(admit.queue, wanted is not null);
  if q.id is null then
    return;
  end if;
  select a.* into stored from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1;
  if stored.phase = 'open' and stored.version = q.limits_version then
    if wanted is null and stored.demanded_at > clock_timestamp() - interval '1 s' then
      waiting := stored.lines_waiting;
      return;  -- claims ask for passes of their own
    elsif stored.rate_until > clock_timestamp() and stored.inbox_read_at > clock_timestamp() - interval '1 s' then
      -- The rate allows nothing before rate_until. The inbox is still read every second, because a cancelled job gives
      -- its token back.
      waiting := stored.lines_waiting;
      held_by := 'rate';
      available := 0;
      next_in := extract(epoch from stored.rate_until - clock_timestamp());
      return;
    end if;
  end if;
  snapshot := pg_current_snapshot();
  state := stored;
  if stored.queue_id is null then
    if q.line_by is null and not exists (select from weir.admission_inbox n where n.queue_id = q.id) then
      return;
    end if;
    state := weir.new_admission(q);
  end if;
  lock table weir.job_ready in row exclusive mode;  -- before a seq is drawn: see frontier.sql

  if state.version <> q.limits_version or state.phase <> 'open' then
    state := weir.apply_limit_change(q, state);
    more := state.phase <> 'open';
    if state.phase = 'closing' and weir.lines_are_closed(q) then
      delete from weir.admission a where a.queue_id = q.id;
      more := false;
      return;
    end if;
  end if;
  if state.phase = 'open' then
    -- Count unclaimed jobs before reading which were claimed: a claim in between counts twice rather than never.
    select * into demand from weir.admission_demand(q, state, wanted);
    available := demand.unclaimed;
    if demand.met then
      waiting := state.lines_waiting;
      return;
    end if;
    state.ready_after := demand.ready_after;
    state.rate_until := null;
    overridden := q.line_by in (1, 3)
      and exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'key');
    select * into inbox from weir.collect_line_changes(q, state, snapshot, overridden);
    state := inbox.admission;
    more := inbox.more;
    if state.phase = 'open' and (state.lines_waiting > 0 or inbox.changed) then
      select * into served from weir.admit_jobs(q, state, overridden, inbox.now_at, inbox.changed, inbox.changes,
        wanted, demand.unclaimed, demand.target);
      state := served.admission;
      admitted := served.admitted;
      available := demand.unclaimed + served.admitted;
      held_by := served.held_by;
      next_in := served.next_in;
    end if;
    if overridden or q.limits ? 'key_rate' then
      next_in := least(next_in, weir.next_line_in(q.id, state.rested_until));
    end if;
  end if;

  waiting := state.lines_waiting;
  if state is distinct from stored then
    delete from weir.admission a where a.queue_id = q.id and a.tick = stored.tick;
    state.tick := nextval('weir.line_tick');
    insert into weir.admission values (state.*);
  end if;
  if admitted > 0 and wanted is null then
    perform weir.wake(array[q.name]);
  end if;
end $$;
comment on function weir.admit(text, int) is
  'One pass of a governed queue: records what arrived and ended, and admits what the limits allow, so that about '
  '`wanted` jobs can be claimed at once (null: a few, and nothing if another session is making a pass). Nodes call '
  'it; where no node runs, call it before you claim. Commit soon, because other passes of the queue wait. Returns how '
  'many jobs it admitted; in how many lines jobs still wait; which limit holds them (concurrency, rate, or line: that '
  'of a key or tenant); in how many seconds a rate allows the next job; whether to call it again at once; and how '
  'many jobs can be claimed as far as it counted (null: not counted). Locks: the queue''s turn until the '
  'transaction ends, then rows with SKIP LOCKED. Errors: WR010 in a REPEATABLE READ transaction.';

create or replace function weir.begin_pass(queue text, waits boolean) returns weir.queue language plpgsql as $$
declare
  q weir.queue;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'admit needs a READ COMMITTED transaction', column = 'queue',
      hint = 'Each of its statements must see what was committed before it began.';
  end if;
  select x.* into q from weir.queue x where x.name = begin_pass.queue;
  if not found then
    return null;
  elsif waits then
    perform weir.take_turn('admit', q.id);
  elsif not weir.try_turn('admit', q.id) then
    return null;  -- another session is making a pass
  end if;
  select x.* into q from weir.queue x where x.id = q.id;  -- again, now that no other pass can run
  return q;
end $$;
comment on function weir.begin_pass(text, boolean) is
  'Internal. Takes the turn of a pass and returns the queue. Null: there is no such queue, or, unless it waits, '
  'another session is making a pass. Locks: the queue''s turn until the transaction ends.';

create or replace function weir.new_admission(queue weir.queue) returns weir.admission language plpgsql as $$
declare
  admission weir.admission;
begin
  admission.queue_id := queue.id;
  admission.version := -1;
  admission.phase := case when queue.line_by is null then 'closing' else 'adopting' end;
  admission.since := clock_timestamp();
  admission.holders := '{?}';
  admission.inbox_xmax := 0;
  admission.inbox_xip := '{}';
  admission.in_flight := 0;
  admission.lines_waiting := 0;
  admission.virtual_time := 0;
  admission.served_turns := array_fill(0::bigint, array[10]);
  admission.ready_after := array_fill(0::bigint, array[10]);
  admission.last_seq := 0;
  admission.demanded_at := '-infinity';
  admission.prefetch := 16;
  admission.rested_until := '-infinity';
  admission.inbox_read_at := '-infinity';
  admission.admitted := 0;
  return admission;
end $$;
comment on function weir.new_admission(weir.queue) is 'Internal. The state before the first pass of a queue.';

-- Only passes add admitted jobs, so a position before which none was left stays valid: the next count starts there.
-- When claims come within 100 ms of each other, one pass admits for several of them, because much of its cost does not
-- depend on how many jobs it admits. A pass that is skipped for this delays the inbox by a tenth of a second at most.
create or replace function weir.admission_demand(queue weir.queue, admission weir.admission, wanted int,
  out unclaimed int, out target int, out met boolean, out ready_after bigint[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_sort = off as $$
declare
  frequent constant boolean := wanted > 0 and least(admission.inbox_read_at, admission.demanded_at) > clock_timestamp()
    - interval '100 ms';
  enough constant int := case when frequent then least(wanted + wanted / 2, 2000) end;
  most int;
begin
  target := case when wanted is null then admission.prefetch
    else least(case when frequent then 5 else 2 end * wanted, 2000) end;
  most := greatest(coalesce(enough, target), ceil(weir.rate_burst(queue.limits -> 'rate'))::int);
  select coalesce(sum(x.n), 0)::int, array_agg(coalesce(x.lowest - 1,
    greatest(admission.ready_after[p], admission.last_seq)) order by p)
    into unclaimed, ready_after
  from generate_series(1, 10) p cross join lateral (
    select count(*) as n, min(r.seq) as lowest from (
      select r.seq from weir.job_ready r
      where r.queue_id = queue.admitted_id and r.priority = p and r.seq > admission.ready_after[p] order by r.seq
        limit most) r) x;
  met := coalesce(unclaimed >= enough, false);
end $$;
comment on function weir.admission_demand(weir.queue, weir.admission, int) is
  'Internal. How many admitted jobs are unclaimed (counted up to a bound in each priority), how many there should be '
  '(target), whether there are enough without a pass (met), and from where to count the next time.';

create or replace function weir.queue_tokens(queue weir.queue, tokens float8, tokens_at timestamptz,
  now_at timestamptz) returns float8
language sql immutable as $$
  select case when queue.limits ? 'rate' then
    least(weir.rate_burst(queue.limits -> 'rate'), coalesce(tokens, weir.rate_burst(queue.limits -> 'rate'))
      + (queue.limits #>> '{rate,per_second}')::float8
        * greatest(extract(epoch from now_at - tokens_at)::float8, 0)) end
$$;
comment on function weir.queue_tokens(weir.queue, float8, timestamptz, timestamptz) is
  'Internal. How many jobs the queue''s rate allows at now_at: a token bucket from which claims take at their times; '
  'null: it has no rate.';

create or replace function weir.admissions(out queue text, out governed boolean, out busy boolean) returns setof record
  language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if not exists (select from weir.queue q where q.governed) and not exists (select from weir.admission)
    and not exists (select from weir.admission_inbox) then
    return;  -- most installations, ten times a second
  end if;
  return query
  select q.name, q.governed,
    a.queue_id is null or a.version <> q.limits_version or a.phase <> 'open' or a.lines_waiting > 0
      or exists (select from weir.admission_inbox n where n.queue_id = q.id
        and (n.xid >= a.inbox_xmax or n.xid = any (a.inbox_xip)))
      or exists (select from generate_series(1, 10) p where (select true from weir.job_ready r
        where r.queue_id = q.id and r.priority = p
        and r.seq > least(coalesce(f.positions[p], w.seq), (select min(s) from unnest(w.holder_seqs) s)) limit 1))
  from weir.queue q
  cross join lateral (select * from weir.watermark x order by x.tick desc limit 1) w
  left join lateral (select * from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1) a on true
  left join lateral (select * from weir.frontier x where x.queue_id = q.id order by x.tick desc limit 1) f on true
  where q.governed or a.queue_id is not null or exists (select from weir.admission_inbox n where n.queue_id = q.id);
end $$;
comment on function weir.admissions() is
  'Internal, for a node: the queues with limits, and those that had limits a moment ago; busy: weir.admit has '
  'something to do.';
