-- The admitter: from the lines of a governed queue (job_held) to where claims look (job_ready under the queue's admitted_id), as the limits allow.
--
-- One pass is one short transaction. Passes of a queue take turns (advisory lock, transaction level), so the rows of weir.line, tenant_share and admission
-- have one writer, and a limit cannot be passed by two sessions at once. Nodes make a pass before they claim for somebody, and from a loop. Nobody else
-- waits for a pass: enqueues and completions only leave word in line_news, and jobs that somebody has locked are left for later.
--
-- In flight is what was admitted and has neither ended nor gone back: what lies in job_ready under the queue's admitted_id, leases with a line, and jobs that keep
-- their line (line_reservation). The counts in weir.line are those rows, and what the news says of such that are gone.
--
-- Which job is next: the tenant with the lowest start in virtual time (one tenant, where none are told apart); of its open lines those with the highest
-- priority, in turn; of a line the highest priority, then the order of enqueueing. A line is open while something waits in it and its own limits have room.
--

-- Of a queue's places in job_ready, the jobs that nobody has claimed, up to so many. Only the admitter puts jobs there, so what it saw last is a bound for good.
create or replace function weir.count_unclaimed(admitted_id int, after bigint[], tip bigint, most int, out unclaimed int, out now_after bigint[]) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
begin
  select coalesce(sum(x.n), 0)::int, array_agg(coalesce(x.lowest - 1, greatest(after[p], tip)) order by p) into unclaimed, now_after
  from generate_series(1, 10) p cross join lateral (
    select count(*) as n, min(r.seq) as lowest from (
      select r.seq from weir.job_ready r where r.queue_id = count_unclaimed.admitted_id and r.priority = p and r.seq > after[p] order by r.seq limit most) r) x;
end $$;

-- What a queue's rate allows at once: a token bucket that claims take from, at the times when they were made.
create or replace function weir.queue_tokens(queue weir.queue, tokens float8, tokens_at timestamptz, now_at timestamptz) returns float8 language sql immutable as $$
  select case when queue.limits ? 'rate' then least(weir.rate_burst(queue.limits -> 'rate'), coalesce(tokens, weir.rate_burst(queue.limits -> 'rate'))
      + (queue.limits #>> '{rate,per_second}')::float8 * greatest(extract(epoch from now_at - tokens_at)::float8, 0)) end
$$;

-- One pass. Locks: the queue's advisory lock until the transaction ends; then as the functions above.
create or replace function weir.admit(queue text, wanted int default null, out admitted int, out waiting int, out held_by text, out next_in float8, out more boolean, out available int) language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_mergejoin = off as $$
#variable_conflict use_variable
declare
  q weir.queue;
  st weir.admission;
  was weir.admission;
  was_tid tid;
  snapshot pg_snapshot;
  now_at timestamptz;
  news record;
  inbox record;
  moved record;
  came text[];
  came_priorities smallint[];
  came_floors bigint[];
  came_counts int[];
  went text[];
  went_counts int[];
  chosen text[];
  rooms int[];
  turns bigint[];
  overridden boolean := false;
  changed boolean := false;
  rested text[];
  unclaimed int;
  target int;
  enough int;
  room int;
  busy boolean;
  kind text;
  tokens float8;
  counted record;
begin
  admitted := 0;
  waiting := 0;
  more := false;
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'admit needs a READ COMMITTED transaction', hint = 'Its statements must each see what was committed before they began.', column = 'queue';
  end if;
  select x.* into q from weir.queue x where x.name = admit.queue;
  if not found then
    return;
  elsif wanted is not null then
    perform pg_advisory_xact_lock(hashtext('weir'), hashtext('admit ' || q.id));
  elsif not pg_try_advisory_xact_lock(hashtext('weir'), hashtext('admit ' || q.id)) then
    return;
  end if;
  select x.* into q from weir.queue x where x.id = q.id;  -- what holds now that it is our turn
  select a.* into st from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1;
  if wanted is null and st.asked_at > clock_timestamp() - interval '1 s' and st.phase = 'open' and st.version = q.limits_version then
    waiting := st.lines_waiting;
    return;  -- those who claim see to it themselves
  end if;
  -- What its rate keeps need not be looked at before the rate allows something, or for a second: a job that is cancelled gives its token back.
  if st.phase = 'open' and st.version = q.limits_version and st.rate_until > clock_timestamp() and st.passed_at > clock_timestamp() - interval '1 s' then
    waiting := st.lines_waiting;
    held_by := 'rate';
    available := 0;
    next_in := extract(epoch from st.rate_until - clock_timestamp());
    return;
  end if;
  was := st;
  kind := q.line_by::text;
  snapshot := pg_current_snapshot();
  if st.queue_id is null then
    if q.line_by is null and not exists (select from weir.line_news n where n.queue_id = q.id) then
      return;
    end if;
    st.queue_id := q.id;
    st.version := -1;
    st.phase := case when q.line_by is null then 'closing' else 'adopting' end;
    st.since := clock_timestamp();
    st.holders := '{?}';
    st.news_after := 0;
    st.news_among := '{}';
    st.in_flight := 0;
    st.lines_waiting := 0;
    st.virtual_time := 0;
    st.passed := array_fill(0::bigint, array[10]);
    st.ready_after := array_fill(0::bigint, array[10]);
    st.tip := 0;
    st.asked_at := '-infinity';
    st.ahead := 16;
    st.rested_until := '-infinity';
    st.passed_at := '-infinity';
    st.admitted := 0;
  end if;
  lock table weir.job_ready in row exclusive mode;

  if st.version <> q.limits_version or st.phase <> 'open' then
    st := weir.readjust(q, st);
    more := st.phase <> 'open';
    if st.phase = 'closing' and not exists (select from weir.job_held h where h.queue_id = q.id and h.reason = 'line')
      and not exists (select from weir.job_ready r where r.queue_id = q.admitted_id) then
      delete from weir.admission a where a.queue_id = q.id;
      more := false;
      return;
    end if;
  end if;

  if st.phase = 'open' then
    -- First what is unclaimed, then the news of claims: one that comes in between counts twice, and not never.
    -- Where claims follow each other quickly, several of them are served by one pass, for much of what one costs does not depend on how much it admits. What it
    -- does not look at in the meantime is a tenth of a second old at most.
    busy := wanted > 0 and least(st.passed_at, st.asked_at) > clock_timestamp() - interval '100 ms';
    enough := case when busy then least(wanted + wanted / 2, 2000) end;
    target := case when wanted is null then st.ahead else least(case when busy then 5 else 2 end * wanted, 2000) end;
    select * into counted from weir.count_unclaimed(q.admitted_id, st.ready_after, st.tip, greatest(coalesce(enough, target), ceil(weir.rate_burst(q.limits -> 'rate'))::int));
    unclaimed := counted.unclaimed;
    available := unclaimed;
    if unclaimed >= enough then
      waiting := st.lines_waiting;
      return;
    end if;
    st.rate_until := null;
    st.ready_after := counted.now_after;
    with took as (
      delete from weir.line_news n where n.ctid = any (array(
        select x.tid from (
          select n.ctid as tid from weir.line_news n where n.queue_id = q.id and n.xid >= st.news_after
          union all select n.ctid from weir.line_news n where n.queue_id = q.id and n.xid = any (st.news_among) and n.xid < st.news_after) x
        limit 1000))
      returning n.*
    ), came as (
      select u.name, u.priority, min(u.floor) as floor, sum(u.n)::int as n from took t cross join unnest(t.came, t.priorities, t.floors, t.counts) u(name, priority, floor, n) group by u.name, u.priority
    ), went as (
      select w.name, count(*)::int as n from (
        select case when left(u.name, 1) = kind then u.name else (select weir.line_name(q.line_by, j.tenant, j.concurrency_key) from weir.job j where j.id = u.job_id) end as name
        from took t cross join unnest(t.went, t.went_jobs) u(name, job_id)) w
      group by w.name
    )
    select c.names as came, c.priorities, c.floors, c.counts, w.names as went, w.counts as went_counts, t.claimed, t.claimed_at, t.n into news
    from (select array_agg(x.name) as names, array_agg(x.priority) as priorities, array_agg(x.floor) as floors, array_agg(x.n) as counts from came x) c,
      (select array_agg(x.name) as names, array_agg(x.n) as counts from went x) w,
      (select array_agg(x.claimed order by x.claimed_at) filter (where x.claimed is not null) as claimed, array_agg(x.claimed_at order by x.claimed_at) filter (where x.claimed is not null) as claimed_at,
        count(*) as n from took x) t;
    if news.n < 1000 then
      if news.n > 0 then
        st.news_after := pg_snapshot_xmax(snapshot)::text::bigint;
        st.news_among := array(select x::text::bigint from pg_snapshot_xip(snapshot) x);
      end if;
    else
      more := true;
    end if;
    now_at := clock_timestamp();
    if q.limits ? 'rate' then
      for i in 1..coalesce(cardinality(news.claimed), 0) loop
        st.tokens := weir.queue_tokens(q, st.tokens, st.tokens_at, news.claimed_at[i]) - news.claimed[i];
        st.tokens_at := greatest(st.tokens_at, news.claimed_at[i]);
      end loop;
    else
      st.tokens := null;
    end if;
    -- Into a line of another kind: from a transaction that read the queue's limits before they changed.
    if exists (select from unnest(news.came) c where left(c, 1) <> kind) then
      st.phase := 'sorting';
      more := true;
    end if;
    select * into inbox from weir.take_inbox(q, 2000);
    more := more or inbox.taken = 2000;
    st.passed_at := case when not more then clock_timestamp() else '-infinity' end;
    overridden := q.line_by in (1, 3) and exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'key');
    if overridden or q.limits ? 'key_rate' then
      rested := array(select l.name from weir.line l where l.queue_id = q.id and l.rest_until > st.rested_until - interval '1 s' and l.rest_until <= now_at order by l.rest_until limit 1000);
      if cardinality(rested) < 1000 then
        st.rested_until := now_at;
      end if;
    end if;
    came := news.came || inbox.names || rested;
    came_priorities := news.priorities || inbox.priorities || array_fill(null::smallint, array[coalesce(cardinality(rested), 0)]);
    came_floors := news.floors || inbox.floors || array_fill(null::bigint, array[coalesce(cardinality(rested), 0)]);
    came_counts := news.counts || inbox.counts || array_fill(0, array[coalesce(cardinality(rested), 0)]);
    went := news.went || inbox.went;
    went_counts := news.went_counts || array_fill(1, array[coalesce(cardinality(inbox.went), 0)]);
    changed := coalesce(cardinality(came), 0) + coalesce(cardinality(went), 0) > 0;
    st.in_flight := greatest(st.in_flight - coalesce((select sum(n) from unnest(went_counts) n), 0)::int, 0);
  end if;

  if st.phase = 'open' and (st.lines_waiting > 0 or changed) then
    if wanted is null then
      st.ahead := case when unclaimed = 0 then least(st.ahead * 2, 2000) when unclaimed >= st.ahead / 2 then greatest(st.ahead / 2, 16) else st.ahead end;
    end if;
    tokens := weir.queue_tokens(q, st.tokens, st.tokens_at, now_at) - unclaimed;
    if changed then
      select * into moved from weir.note_lines(q, overridden, now_at, came, came_priorities, came_floors, came_counts, went, went_counts);
      st.lines_waiting := st.lines_waiting + moved.more_waiting;
      if q.line_by >= 2 then
        perform weir.touch_tenants(q, st.virtual_time, moved.tenants, moved.more_open, moved.more_flying);
        st.virtual_time := weir.next_start(q.id, st.virtual_time);
      end if;
    end if;
    for round in 1..100 loop
      room := greatest(least(target - unclaimed - admitted, (q.limits ->> 'concurrency')::int - st.in_flight, floor(tokens + 1e-6)::int), 0);
      exit when room = 0 or st.lines_waiting = 0;
      chosen := array[''];
      rooms := array[room];
      if q.line_by >= 2 then
        select c.chosen, c.rooms into chosen, rooms from weir.choose_tenants(q, st.virtual_time, room) c;
        exit when rooms is null;
      end if;
      select * into moved from weir.serve_lines(q, overridden, now_at, chosen, rooms, case when q.line_by < 2 then st.passed end);
      exit when moved.tried = 0;
      admitted := admitted + moved.admitted;
      st.in_flight := st.in_flight + moved.admitted;
      st.lines_waiting := st.lines_waiting + moved.more_waiting;
      tokens := tokens - moved.admitted;
      if q.line_by >= 2 then
        perform weir.touch_tenants(q, st.virtual_time, moved.tenants, moved.more_open, moved.served, moved.served, moved.passed_priorities, moved.passed_turns);
        st.virtual_time := weir.next_start(q.id, st.virtual_time);
      elsif moved.passed_turns[1] is not null then
        turns := st.passed;
        turns[moved.passed_priorities[1]] := greatest(turns[moved.passed_priorities[1]], moved.passed_turns[1]);
        st.passed := turns;
      end if;
    end loop;
    st.admitted := st.admitted + admitted;
    available := unclaimed + admitted;
    if admitted > 0 then
      st.tip := currval('weir.job_id_seq');
      st.asked_at := case when wanted > 0 then now_at else st.asked_at end;
    end if;
    held_by := case when st.lines_waiting = 0 then null
      when room <= 0 and (q.limits ->> 'concurrency')::int <= st.in_flight then 'concurrency'
      when room <= 0 and tokens < 1 - 1e-6 then 'rate'
      when room > 0 then 'line' end;
    if held_by = 'rate' then
      -- Not for each token: with many a second that would be a pass of each node for each of them. A quarter of a burst is soon enough.
      next_in := greatest(1 - tokens, least(0.02 * (q.limits #>> '{rate,per_second}')::float8, weir.rate_burst(q.limits -> 'rate') / 4)) / (q.limits #>> '{rate,per_second}')::float8;
      st.rate_until := now_at + make_interval(secs => next_in);
    end if;
  end if;
  if overridden or q.limits ? 'key_rate' then
    next_in := least(next_in, (select greatest(extract(epoch from l.rest_until - clock_timestamp()), 0.001)::float8 from weir.line l
      where l.queue_id = q.id and l.rest_until > st.rested_until and l.priorities <> '{}' order by l.rest_until limit 1));
  end if;
  waiting := st.lines_waiting;
  if st is distinct from was then
    delete from weir.admission a where a.queue_id = q.id and a.tick = was.tick;
    st.tick := nextval('weir.line_tick');
    insert into weir.admission values (st.*);
  end if;
  if admitted > 0 and wanted is null then
    perform weir.wake(array[q.name]);
  end if;
end $$;

-- Which queues a node is to make a pass of, and which are governed at all.
create or replace function weir.admissions(out queue text, out governed boolean, out busy boolean) returns setof record language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if not exists (select from weir.queue q where q.governed) and not exists (select from weir.admission) and not exists (select from weir.line_news) then
    return;  -- as in most installations, ten times a second
  end if;
  return query
  select q.name, q.governed,
    a.queue_id is null or a.version <> q.limits_version or a.phase <> 'open' or a.lines_waiting > 0
      or exists (select from weir.line_news n where n.queue_id = q.id and (n.xid >= a.news_after or n.xid = any (a.news_among)))
      or exists (select from generate_series(1, 10) p where (select true from weir.job_ready r where r.queue_id = q.id and r.priority = p
        and r.seq > least(coalesce(f.positions[p], w.seq), (select min(s) from unnest(w.holder_seqs) s)) limit 1))
  from weir.queue q
  cross join lateral (select * from weir.watermark x order by x.tick desc limit 1) w
  left join lateral (select * from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1) a on true
  left join lateral (select * from weir.frontier x where x.queue_id = q.id order by x.tick desc limit 1) f on true
  where q.governed or a.queue_id is not null or exists (select from weir.line_news n where n.queue_id = q.id);
end $$;
comment on function weir.count_unclaimed(int, bigint[], bigint, int) is 'Internal. How many jobs of a governed queue are admitted and not claimed, at most so many a priority, and where to look from the next time.';
comment on function weir.queue_tokens(weir.queue, float8, timestamptz, timestamptz) is 'Internal. What a queue''s rate allows at once; null: it has none.';
comment on function weir.admit(text, int) is
  'One pass of a governed queue: takes note of what came and ended, and admits what its limits allow, so that about `wanted` jobs can be claimed at once (null: some, and only if nobody else is '
  'at it). Nodes call it; where none runs, call it before you claim. Commit soon: others wait for it. Returns how many it admitted, in how many lines something still waits, which limit '
  'keeps it (concurrency, rate, or line: of a key or tenant), when a rate allows the next one, in seconds, whether to call it again at once, and how many can be claimed as far as it has counted (null: it has not). Errors: WR010 in a REPEATABLE READ transaction.';
comment on function weir.admissions() is 'Internal, for a node: the governed queues, and those among them (or lately so) that have something for weir.admit to do.';
