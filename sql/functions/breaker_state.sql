-- How a circuit breaker changes its state: by the outcomes of jobs and reported calls. Changes by hand are in
-- breaker_change.sql.
--
-- A sample is evaluated when the transaction that wrote it commits (docs/decisions/0010-breakers.md). Changes that are
-- due at a time are in breaker_flow.sql.

-- Every change of state goes through here. The caller holds the breaker's lock, and has read b while it held it.
create or replace function weir.set_breaker_state(b weir.breaker, new_state text, by text, reason text,
  detail jsonb default null, wait_seconds float8 default null) returns weir.breaker
language plpgsql as $$
declare
  was text := b.state;
  now_at timestamptz := clock_timestamp();
begin
  if new_state = 'open' then
    -- A breaker that opens again before it was closed for a whole window had not recovered.
    b.openings := case when was <> 'closed' or b.gated or b.openings > 0
      and now_at < b.changed_at + make_interval(secs => b.window_seconds) then b.openings + 1 else 1 end;
    wait_seconds := coalesce(wait_seconds, least(b.max_open_seconds, b.open_seconds * 2.0 ^ least(b.openings - 1, 60))
      * (1 - 0.2 * random()));
    b.opened_at := case when was = 'closed' then now_at else b.opened_at end;
    b.next_probe_at := case when b.pinned is null then now_at + make_interval(secs => wait_seconds) end;
    detail := coalesce(detail, '{}') || case when b.pinned is null
      then jsonb_build_object('wait_seconds', round(wait_seconds::numeric, 3)) else '{}' end;
  else
    b.next_probe_at := null;
  end if;
  b.state := new_state;
  b.gated := true;
  b.wants_probes := false;
  b.version := nextval('weir.job_id_seq');
  b.changed_at := now_at;
  b.release_from := now_at;
  b.released := 0;
  b.release_after := '{}';
  update weir.breaker x set state = b.state, gated = b.gated, wants_probes = b.wants_probes, version = b.version,
    changed_at = b.changed_at, release_from = b.release_from, released = b.released,
    release_after = b.release_after, openings = b.openings, opened_at = b.opened_at, next_probe_at = b.next_probe_at,
    pinned = b.pinned, pinned_until = b.pinned_until,
    deleted_at = null,  -- jobs that name it may wait while it is hidden: see name.sql
    changes = x.changes + 1, times_opened = x.times_opened + case when b.state = 'open' then 1 else 0 end
  where x.id = b.id;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by, reason, detail)
  values (b.id, b.name, case new_state when 'open' then 'opened' when 'half_open' then 'half_opened' else 'closed' end,
    was, new_state, by, reason, detail);
  perform weir.wake(array(select q.name from weir.queue q where q.breaker_id = b.id));
  return b;
end $$;
comment on function weir.set_breaker_state(weir.breaker, text, text, text, jsonb, float8) is
  'Internal. Changes the state of a breaker. The caller holds its lock. Returns it as it is then.';

create or replace function weir.is_counted_failure(counts jsonb, error jsonb) returns boolean
  language sql immutable as $$
  select case
    when counts = '{}' then coalesce(error ->> 'type', '') <> 'lost'
    when counts -> 'except_types' ? coalesce(error ->> 'type', '') then false
    when counts -> 'types' ? coalesce(error ->> 'type', '') then true
    when coalesce(error ->> 'type', '') = 'lost' then false
    when counts ? 'pattern' then left(coalesce(error ->> 'message', ''), 1000) ~ (counts ->> 'pattern')
      or left(coalesce(error ->> 'type', ''), 1000) ~ (counts ->> 'pattern')
    else not counts ? 'types'
  end
$$;
comment on function weir.is_counted_failure(jsonb, jsonb) is
  'Internal. Whether an error counts as a failure: it has one of the types or matches the pattern, if either is set, '
  'and has none of except_types. A lost lease counts only if types has lost.';

-- Acks of many callers share a transaction, and a hostile pattern may take tens of milliseconds for one message. So all
-- patterns of a statement together have a tenth of a second, and one match more.
create or replace function weir.counted_failures(breaker_ids int[], errors jsonb[]) returns boolean[] language plpgsql
set jit = off as $$
declare
  told jsonb := (select jsonb_object_agg(b.id, b.counts) from weir.breaker b where b.id = any (breaker_ids));
  until_at timestamptz;
  counts jsonb;
  error jsonb;
  counted boolean[] := '{}';
begin
  foreach error in array errors loop
    until_at := coalesce(until_at, clock_timestamp() + interval '100 ms');
    counts := told -> breaker_ids[cardinality(counted) + 1]::text;
    counted := counted || weir.is_counted_failure(case when clock_timestamp() > until_at
      then counts - '{pattern,types}'::text[] else counts end, error);
  end loop;
  return counted;
end $$;
comment on function weir.counted_failures(int[], jsonb[]) is
  'Internal. weir.is_counted_failure for each of these breakers and errors. When a tenth of a second is over, it '
  'counts the rest without patterns and types: each is a failure, unless except_types has its type or it is a lost '
  'lease.';

-- Called in the transaction that ends attempts whose leases name a breaker. It appends rows. Locks: rows of
-- breaker_probe of these jobs.
create or replace function weir.record_breaker_outcomes(job_ids bigint[], breaker_ids int[],
  errors jsonb[] default null) returns void language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  counted boolean[];
begin
  if errors is not null and exists (select from weir.breaker b where b.id = any (breaker_ids)
    and b.counts ? 'pattern') then
    counted := weir.counted_failures(breaker_ids, errors);
  end if;
  if errors is null and not exists (select from weir.breaker_probe) then
    insert into weir.breaker_sample (breaker_id, ok, failed)
    select u.breaker_id, count(*), 0 from unnest(breaker_ids) u(breaker_id) group by u.breaker_id;
  else
    with probes as (
      delete from weir.breaker_probe p where p.job_id = any (job_ids) returning p.job_id, p.breaker_id, p.version
    ), told as materialized (
      select b.id, b.counts from weir.breaker b where b.id = any (breaker_ids)
    )
    insert into weir.breaker_sample (breaker_id, ok, failed, version)
    select c.breaker_id, count(*) filter (where c.failed is null), count(*) filter (where c.failed), p.version
    from (
      select u.job_id, u.breaker_id,
        case when counted is not null then counted[u.n]
          when errors is not null then weir.is_counted_failure(b.counts, u.error) end as failed
      from unnest(job_ids, breaker_ids, errors) with ordinality u(job_id, breaker_id, error, n)
      join told b on b.id = u.breaker_id) c
    left join probes p on p.job_id = c.job_id and p.breaker_id = c.breaker_id
    where c.failed is not false
    group by c.breaker_id, p.version;
  end if;
  if errors is null and exists (select from weir.breaker b
    where b.id = any (breaker_ids) and b.while_open ->> 'policy' = 'complete_last_result') then
    perform weir.record_results(job_ids, breaker_ids);
  end if;
end $$;
comment on function weir.record_breaker_outcomes(bigint[], int[], jsonb[]) is
  'Internal. Records for their breakers how attempts of these jobs ended: completed, or with these errors.';

-- Reads the breaker as the caller's statement sees it. Of a change that is not called for, all columns are null.
create or replace function weir.change_called_for(b weir.breaker, out state text, out reason text, out detail jsonb)
language plpgsql set jit = off set enable_seqscan = off as $$
declare
  since timestamptz;
  ok bigint;
  failed bigint;
begin
  if b.pinned is not null or b.state = 'open' then
    return;
  elsif b.state = 'half_open' then
    select coalesce(sum(s.ok), 0), coalesce(sum(s.failed), 0) into ok, failed from weir.breaker_sample s
    where s.breaker_id = b.id and s.at >= b.changed_at and s.version = b.version;
    if failed > 0 then
      state := 'open';
      reason := 'a probe failed';
    elsif ok >= b.close_after then
      state := 'closed';
      reason := format('%s %s succeeded', ok, case ok when 1 then 'probe' else 'probes' end);
    end if;
  else
    -- a variable, because an index cannot be searched for a volatile value
    since := greatest(clock_timestamp() - make_interval(secs => b.window_seconds), b.changed_at);
    select coalesce(sum(s.ok), 0), coalesce(sum(s.failed), 0) into ok, failed from weir.breaker_sample s
      where s.breaker_id = b.id and s.at > since and s.version is null;
    if failed >= b.failure_threshold
       or failed > 0 and ok + failed >= b.min_calls and failed >= b.failure_ratio * (ok + failed) then
      state := 'open';
      reason := format('%s of %s calls failed within %s seconds', failed, ok + failed, b.window_seconds);
    end if;
  end if;
  detail := case when state is not null then jsonb_build_object('ok', ok, 'failed', failed) end;
end $$;
comment on function weir.change_called_for(weir.breaker) is
  'Internal. The state that the samples of a breaker call for, if it is not the one that it has, and why.';

-- A change must rest on what is committed, so there is none in stricter isolation levels. Locks: the breaker's row,
-- skip locked, and only where a change is called for: most samples call for none, and write nothing.
create or replace function weir.evaluate_breaker(breaker_id int) returns boolean language plpgsql
set jit = off set enable_seqscan = off as $$
declare
  b weir.breaker;
  change record;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    return false;
  end if;
  select * into b from weir.breaker x where x.id = evaluate_breaker.breaker_id;
  if (weir.change_called_for(b)).state is null then
    return false;
  end if;
  select * into b from weir.breaker x where x.id = evaluate_breaker.breaker_id for no key update skip locked;
  if not found then
    return false;
  end if;
  change := weir.change_called_for(b);
  if change.state is null then
    return false;
  end if;
  perform weir.set_breaker_state(b, change.state, null, change.reason, change.detail);
  return true;
end $$;
comment on function weir.evaluate_breaker(int) is
  'Internal. Opens or closes a breaker if its samples call for it, and no other session is changing it. Returns '
  'whether it did.';

create or replace function weir.evaluate_breaker_sample() returns trigger language plpgsql as $$
begin
  perform weir.evaluate_breaker(new.breaker_id);
  return null;
end $$;
comment on function weir.evaluate_breaker_sample() is
  'Internal. The trigger that evaluates a breaker at the commit of a sample that may change its state.';

create or replace function weir.report_breaker(name text, outcome text, error jsonb default null, calls int default 1)
  returns text language plpgsql set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  b weir.breaker := weir.breaker_by_name(report_breaker.name, '{operator,worker}');
  counted boolean;
begin
  if outcome is null or outcome not in ('success', 'failure') then
    perform weir.refuse_argument('outcome', 'must be success or failure');
  elsif calls is null or calls not between 1 and 1000000 then
    perform weir.refuse_argument('calls', 'must be from 1 to 1000000');
  end if;
  counted := outcome = 'success' or weir.is_counted_failure(b.counts, coalesce(weir.bounded_error(error), '{}'));
  if counted then
    insert into weir.breaker_sample (breaker_id, ok, failed, version)
    values (b.id, case when outcome = 'success' then calls else 0 end, case when outcome = 'failure' then calls
      else 0 end, case when b.state = 'half_open' then b.version end);
  end if;
  return b.state;
end $$;
comment on function weir.report_breaker(text, text, jsonb, int) is
  'Reports outcomes of calls of a dependency made outside jobs: outcome success or failure, the error as {message, '
  'type}, and the number of calls. Returns the state of the breaker before. Errors: WR010, WR065.';

-- Locks: the rows, skip locked.
create or replace function weir.sweep_breakers(most int default 10000) returns int language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  b record;
  now_at timestamptz := clock_timestamp();
  tids tid[];
  swept int := 0;
begin
  -- Breakers with samples: a loose scan, from one id to the next in the index.
  for b in
    with recursive sampled (id) as (
      (select s.breaker_id from weir.breaker_sample s order by s.breaker_id limit 1)
      union all
      select (select s.breaker_id from weir.breaker_sample s where s.breaker_id > w.id order by s.breaker_id limit 1)
        from sampled w where w.id is not null
    )
    select w.id from sampled w where w.id is not null
  loop
    delete from weir.breaker_sample s where s.breaker_id = b.id and s.at < now_at - interval '1 hour 1 minute';
    tids := array(select s.ctid from weir.breaker_sample s
      where s.breaker_id = b.id and s.at < now_at - interval '2 s' and s.at > now_at - interval '1 minute'
      and s.summed is null limit most for update skip locked);
    continue when cardinality(tids) < 20;
    with gone as (
      delete from weir.breaker_sample s where s.ctid = any (tids) returning s.*
    )
    insert into weir.breaker_sample (breaker_id, at, ok, failed, version, summed)
    select g.breaker_id, max(g.at), sum(g.ok), sum(g.failed), g.version, true from gone g
      group by g.breaker_id, date_trunc('second', g.at), g.version;
    swept := swept + cardinality(tids);
  end loop;
  delete from weir.breaker_event e where e.id = any (array(select x.id from weir.breaker_event x
    where x.at < now_at - interval '90 days' limit most for update skip locked));
  return swept;
end $$;
comment on function weir.sweep_breakers(int) is
  'Sums the samples of breakers by the second, and removes samples older than an hour and events older than 90 days. '
  'Every node calls it every few seconds. Returns how many it summed.';
