-- Circuit breakers: whether the things that jobs depend on are well, and what follows when one is not.
--
--               failures reach the threshold                 the wait is over
--   closed ────────────────────────────────────▶ open ──────────────────────────▶ half_open
--      ▲                                           ▲                                 │   │
--      │                                           └── a probe fails: wait longer ───┘   │
--      └──────────────────────────────── enough probes succeed ──────────────────────────┘
--
-- A breaker is gated while it is open, half_open, or closed with jobs still on their way back: only then do claims look at it (0037_breaker_policy.sql). Every
-- change is made under a transaction-level advisory lock on the breaker, which its holder got by trying, so that one session of all makes it and
-- nobody waits. The lock is held for moments only: samples are judged by a trigger that runs at the commit, however long the transaction was.
--
-- +goose Up
create table weir.breaker (
  id int generated always as identity constraint breaker_pkey primary key,
  name text not null constraint breaker_name_is_unique unique
    constraint breaker_name_is_short_and_plain check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$'),
  failure_threshold int constraint failure_threshold_is_1_to_1_million check (failure_threshold between 1 and 1000000),
  failure_ratio float8 constraint failure_ratio_is_above_0_to_1 check (failure_ratio > 0 and failure_ratio <= 1),
  min_calls int not null default 10 constraint min_calls_is_1_to_1_million check (min_calls between 1 and 1000000),
  window_seconds int not null default 60 constraint window_is_1_second_to_1_hour check (window_seconds between 1 and 3600),
  open_seconds float8 not null default 60 constraint open_is_a_tenth_of_a_second_to_1_day check (open_seconds between 0.1 and 86400),
  max_open_seconds float8 not null default 900 constraint max_open_is_open_to_1_day check (max_open_seconds between open_seconds and 86400),
  half_open_probes int not null default 1 constraint half_open_probes_is_1_to_1000 check (half_open_probes between 1 and 1000),
  close_after int not null default 1 constraint close_after_is_1_to_1000 check (close_after between 1 and 1000),
  counts jsonb not null default '{}',
  while_open jsonb not null default '{"policy": "hold"}',
  ramp_per_second float8 not null default 10 constraint ramp_is_a_tenth_to_100_thousand_a_second check (ramp_per_second between 0.1 and 100000),
  ramp_factor float8 not null default 2 constraint ramp_factor_is_1_to_10 check (ramp_factor between 1 and 10),
  state text not null default 'closed' constraint breaker_state_is_known check (state in ('closed', 'open', 'half_open')),
  gated boolean not null default false,
  version bigint not null default 0,
  changed_at timestamptz not null default clock_timestamp(),
  opened_at timestamptz,
  openings int not null default 0,
  next_probe_at timestamptz,
  wants_probes boolean not null default false,
  times_opened bigint not null default 0,
  changes bigint not null default 0,
  pinned text constraint pinned_open_or_closed check (pinned in ('open', 'closed')),
  pinned_until timestamptz,
  flow_from timestamptz not null default clock_timestamp(),
  flow_count float8 not null default 0,
  flow_after bigint[] not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  deleted_at timestamptz,
  constraint a_threshold_or_a_ratio check ((failure_threshold is null) <> (failure_ratio is null))
);
-- All that a claim asks while every breaker is closed: one probe of an empty index.
create index breaker_gated on weir.breaker (id) where gated;
create index breaker_pinned_until on weir.breaker (pinned_until) where pinned_until is not null;
comment on table weir.breaker is 'One row a circuit breaker: its settings and its state. The view weir.breakers shows both.';
comment on column weir.breaker.id is 'The short name that leases and samples use.';
comment on column weir.breaker.name is 'The dependency: letters, digits, and _ . : - ; at most 128 characters.';
comment on column weir.breaker.failure_threshold is 'It opens at so many failures in the window; null: failure_ratio decides.';
comment on column weir.breaker.failure_ratio is 'It opens when this part of the calls in the window failed, of at least min_calls; null: failure_threshold decides.';
comment on column weir.breaker.min_calls is 'With failure_ratio: fewer calls in the window say nothing.';
comment on column weir.breaker.window_seconds is 'The sliding window. Samples are kept for an hour, so it is no longer than that.';
comment on column weir.breaker.open_seconds is 'How long it stays open before it lets a probe through, the first time; then twice as long each time, less up to a fifth at random,';
comment on column weir.breaker.max_open_seconds is 'but never longer than this.';
comment on column weir.breaker.half_open_probes is 'Half-open it lets so many jobs through at once.';
comment on column weir.breaker.close_after is 'It closes when so many probes have succeeded.';
comment on column weir.breaker.counts is 'Which errors count as failures: {types, pattern, except_types}; see weir.set_breaker.';
comment on column weir.breaker.while_open is 'What becomes of its jobs while it is open: {policy, …}; see weir.set_breaker.';
comment on column weir.breaker.ramp_per_second is 'When it has closed, the jobs that were held come back at this rate,';
comment on column weir.breaker.ramp_factor is 'which is multiplied by this each second.';
comment on column weir.breaker.state is 'closed, open or half_open.';
comment on column weir.breaker.gated is 'Claims ask before they hand out its jobs: it is not closed, or jobs that were held are still coming back.';
comment on column weir.breaker.version is 'Drawn from job_id_seq at each change of state. Jobs that are let through carry it (weir.job_ready.let_through), and have places above it.';
comment on column weir.breaker.changed_at is 'When it came into its state.';
comment on column weir.breaker.opened_at is 'When it last opened after having been closed.';
comment on column weir.breaker.openings is 'How often it has opened in a row; the wait grows with it. It is in the same row until it has stayed closed for a window.';
comment on column weir.breaker.next_probe_at is 'While it is open: when it becomes half_open; null while it is pinned.';
comment on column weir.breaker.wants_probes is 'It is half_open and lacks jobs to probe with, so that those to come are held for a moment whatever the policy.';
comment on column weir.breaker.times_opened is 'How often it has opened.';
comment on column weir.breaker.changes is 'How often it has changed its state.';
comment on column weir.breaker.pinned is 'Somebody has fixed its state: open or closed, whatever the samples say.';
comment on column weir.breaker.pinned_until is 'When the pin ends by itself; null: it does not.';
comment on column weir.breaker.flow_from is 'Since when jobs are let through at a rate,';
comment on column weir.breaker.flow_count is 'how many of those that were due since then have been let through,';
comment on column weir.breaker.flow_after is 'and how far in the line of each priority, 1 to 10.';
comment on column weir.breaker.created_at is 'When its first job, or its settings, came.';
comment on column weir.breaker.deleted_at is 'Set by delete_breaker: hidden, settings back to the defaults; the next job that names it brings it back.';

create table weir.breaker_sample (
  breaker_id int not null,
  at timestamptz not null default clock_timestamp(),
  ok int not null,
  failed int not null,
  version bigint,
  summed boolean
) with (autovacuum_vacuum_scale_factor = 0.05);
create index breaker_sample_at on weir.breaker_sample (breaker_id, at);
create index breaker_sample_failed on weir.breaker_sample (at) where failed > 0;  -- who has something to judge?
comment on table weir.breaker_sample is 'How calls of a dependency went: appended, one row a breaker and batch; sweep_breakers sums up those of a second, and removes them after an hour.';
comment on column weir.breaker_sample.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_sample.at is 'When it was written; of a sum, when its last was.';
comment on column weir.breaker_sample.ok is 'Calls that went well.';
comment on column weir.breaker_sample.failed is 'Calls that failed with an error that counts.';
comment on column weir.breaker_sample.version is 'Of probes and reports: the half-open state that they are about (weir.breaker.version).';
comment on column weir.breaker_sample.summed is 'It is the sum of those of a second; null: it is not.';

create table weir.breaker_probe (
  breaker_id int not null,
  job_id bigint not null,
  version bigint not null,
  sent_at timestamptz not null default clock_timestamp(),
  constraint breaker_probe_pkey primary key (job_id, breaker_id)
);
create index breaker_probe_of_breaker on weir.breaker_probe (breaker_id, version);
comment on table weir.breaker_probe is 'Jobs that are let through to see whether the dependency is well again, until they have ended.';
comment on column weir.breaker_probe.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_probe.job_id is 'weir.job.id';
comment on column weir.breaker_probe.version is 'The half-open state that it is a probe of (weir.breaker.version).';
comment on column weir.breaker_probe.sent_at is 'When it was let through.';

create table weir.breaker_event (
  id bigint generated always as identity constraint breaker_event_pkey primary key,
  at timestamptz not null default clock_timestamp(),
  breaker_id int not null,
  breaker text not null,
  event text not null constraint breaker_event_is_known check (event in ('opened', 'half_opened', 'closed', 'recovered', 'pinned', 'unpinned', 'set', 'deleted')),
  from_state text not null,
  state text not null,
  by text,
  reason text,
  detail jsonb
);
create index breaker_event_of_breaker on weir.breaker_event (breaker, id);
create index breaker_event_at on weir.breaker_event (at);
comment on table weir.breaker_event is 'The history of the breakers: each change, who made it and why. Kept for 90 days.';
comment on column weir.breaker_event.id is 'Grows with time.';
comment on column weir.breaker_event.at is 'When it happened.';
comment on column weir.breaker_event.breaker_id is 'weir.breaker.id';
comment on column weir.breaker_event.breaker is 'The breaker''s name.';
comment on column weir.breaker_event.event is 'opened, half_opened, closed, recovered (all jobs that were held are back), pinned, unpinned, set (its settings), deleted.';
comment on column weir.breaker_event.from_state is 'Its state before.';
comment on column weir.breaker_event.state is 'Its state since.';
comment on column weir.breaker_event.by is 'Who did it, if somebody did and said so.';
comment on column weir.breaker_event.reason is 'Why, in words.';
comment on column weir.breaker_event.detail is 'More: ok and failed of the window, wait_seconds, settings.';

-- +goose StatementBegin
create function weir.refuse_breaker(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR065', message = format('there is no breaker %L', refuse_breaker.name),
    hint = 'A breaker comes into being with its first job, or with weir.set_breaker.';
end $$;

create function weir.breaker_key(id int) returns bigint language sql immutable as $$
  select hashtextextended('weir.breaker ' || id, 0)
$$;

-- Called by enqueueing. As weir.ensure_queues: no lock on a breaker that exists.
create function weir.ensure_breakers(names text[]) returns void language plpgsql as $$
begin
  if (select count(*) from weir.breaker b where b.name = any (names) and b.deleted_at is null) < cardinality(names) then
    insert into weir.breaker as b (name, failure_threshold)
    select n, 5 from unnest(names) n where not exists (select from weir.breaker x where x.name = n and x.deleted_at is null) order by n
    on conflict (name) do update set deleted_at = null, created_at = clock_timestamp() where b.deleted_at is not null;
  end if;
end $$;

create function weir.pattern_problem(pattern text) returns text language plpgsql immutable as $$
begin
  if length(pattern) not between 1 and 1000 then
    return 'must be a regular expression of 1 to 1000 characters';
  end if;
  perform '' ~ pattern;
  return null;
exception when invalid_regular_expression then
  return 'must be a regular expression';
end $$;

create function weir.counts_problem(counts jsonb) returns text[] language plpgsql immutable as $$
begin
  if counts is null or jsonb_typeof(counts) = 'null' then
    return null;
  elsif jsonb_typeof(counts) <> 'object' then
    return array['counts', 'must be an object {types, pattern, except_types}'];
  elsif counts - '{types,pattern,except_types}'::text[] <> '{}' then
    return array['counts.' || weir.first_key(counts - '{types,pattern,except_types}'::text[]), 'is unknown: counts has types, pattern and except_types'];
  elsif counts ? 'types' and not weir.tags_are_good(counts -> 'types') then
    return array['counts.types', 'must be an array of at most 50 strings of 1 to 200 characters'];
  elsif counts ? 'except_types' and not weir.tags_are_good(counts -> 'except_types') then
    return array['counts.except_types', 'must be an array of at most 50 strings of 1 to 200 characters'];
  elsif counts ? 'pattern' and jsonb_typeof(counts -> 'pattern') <> 'string' then
    return array['counts.pattern', 'must be a regular expression'];
  elsif weir.pattern_problem(counts ->> 'pattern') is not null then
    return array['counts.pattern', weir.pattern_problem(counts ->> 'pattern')];
  end if;
  return null;
end $$;

create function weir.while_open_problem(way jsonb) returns text[] language plpgsql stable as $$
declare
  policy text := way ->> 'policy';
  fields text[];
begin
  if way is null or jsonb_typeof(way) = 'null' then
    return null;
  elsif jsonb_typeof(way) <> 'object' then
    return array['while_open', 'must be an object {policy, …}'];
  elsif jsonb_typeof(way -> 'policy') is distinct from 'string'
     or policy not in ('hold', 'reroute', 'complete_last_result', 'complete_default', 'degraded', 'throttle', 'postpone') then
    return array['while_open.policy', 'must be hold, reroute, complete_last_result, complete_default, degraded, throttle or postpone'];
  end if;
  fields := '{policy}'::text[] || case policy when 'hold' then '{}'::text[] when 'reroute' then '{queue,until,for_seconds}' when 'complete_last_result' then '{result,until,for_seconds}'
    when 'complete_default' then '{result,until,for_seconds}' when 'degraded' then '{until,for_seconds}' when 'throttle' then '{per_second,until,for_seconds}' else '{delay_seconds,until,for_seconds}' end;
  if way - fields <> '{}' then
    return array['while_open.' || weir.first_key(way - fields), 'does not go with policy ' || policy];
  elsif policy = 'reroute' and (jsonb_typeof(way -> 'queue') is distinct from 'string' or way ->> 'queue' !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$') then
    return array['while_open.queue', 'must be the name of a queue: policy reroute needs one'];
  elsif policy = 'complete_default' and not way ? 'result' then
    return array['while_open.result', 'is what policy complete_default needs: any JSON'];
  elsif pg_column_size(way -> 'result') > 65536 then
    return array['while_open.result', 'must be at most 64 KiB'];
  elsif policy = 'throttle' and (way ->> 'per_second' is null or weir.number_problem(way -> 'per_second', 0.001, 100000) is not null) then
    return array['while_open.per_second', 'must be a number from 0.001 to 100000: policy throttle needs one'];
  elsif policy = 'postpone' and (way ->> 'delay_seconds' is null or weir.number_problem(way -> 'delay_seconds', 0.1, 604800) is not null) then
    return array['while_open.delay_seconds', 'must be a number from 0.1 to 604800: policy postpone needs one'];
  elsif way ->> 'until' is not null and weir.time_problem(way -> 'until') is not null then
    return array['while_open.until', weir.time_problem(way -> 'until')];
  elsif weir.number_problem(way -> 'for_seconds', 0.1, 31536000) is not null then
    return array['while_open.for_seconds', weir.number_problem(way -> 'for_seconds', 0.1, 31536000)];
  elsif way ->> 'until' is not null and way ->> 'for_seconds' is not null then
    return array['while_open.until', 'and for_seconds exclude each other'];
  end if;
  return null;
end $$;

create function weir.breaker_problem(settings jsonb) returns text[] language plpgsql stable as $$
declare
  known constant text[] := '{failure_threshold,failure_ratio,min_calls,window_seconds,open_seconds,max_open_seconds,half_open_probes,close_after,counts,while_open,ramp_per_second,ramp_factor}';
begin
  if jsonb_typeof(settings) is distinct from 'object' then
    return array['settings', 'must be a JSON object'];
  elsif settings - known <> '{}' then
    return array[weir.first_key(settings - known), 'is no setting of a breaker'];
  elsif settings ->> 'failure_threshold' is not null and settings ->> 'failure_ratio' is not null then
    return array['failure_ratio', 'and failure_threshold exclude each other'];
  end if;
  return coalesce(
    (select array[p.field, p.problem] from (values
      ('failure_threshold', weir.integer_problem(settings -> 'failure_threshold', 1, 1000000)),
      ('failure_ratio', case when weir.number_problem(settings -> 'failure_ratio', 0, 1) is not null or (settings ->> 'failure_ratio')::numeric <= 0
        then 'must be a number above 0, at most 1' end),
      ('min_calls', weir.integer_problem(settings -> 'min_calls', 1, 1000000)),
      ('window_seconds', case when weir.integer_problem(settings -> 'window_seconds', 1, 3600) is not null
        then 'must be a whole number from 1 to 3600: samples are kept for an hour' end),
      ('open_seconds', weir.number_problem(settings -> 'open_seconds', 0.1, 86400)),
      ('max_open_seconds', weir.number_problem(settings -> 'max_open_seconds', 0.1, 86400)),
      ('half_open_probes', weir.integer_problem(settings -> 'half_open_probes', 1, 1000)),
      ('close_after', weir.integer_problem(settings -> 'close_after', 1, 1000)),
      ('ramp_per_second', weir.number_problem(settings -> 'ramp_per_second', 0.1, 100000)),
      ('ramp_factor', weir.number_problem(settings -> 'ramp_factor', 1, 10))
    ) p(field, problem) where p.problem is not null limit 1),
    weir.counts_problem(settings -> 'counts'), weir.while_open_problem(settings -> 'while_open'));
end $$;

-- Where jobs of a queue would go, if every breaker on the way were open. Those who set what leads somewhere take turns, so that two of them cannot close a circle together.
create function weir.refuse_reroute_circle(field text) returns void language plpgsql as $$
declare
  circle text;
begin
  with recursive onward (first, at, way) as (
    select q.name, q.name, q.name from weir.queue q where q.breaker_id is not null
    union all
    select o.first, b.while_open ->> 'queue', o.way || ' -> ' || (b.while_open ->> 'queue')
    from onward o join weir.queue q on q.name = o.at join weir.breaker b on b.id = q.breaker_id
    where b.while_open ->> 'policy' = 'reroute' and (o.way = o.first or o.at <> o.first) and length(o.way) < 10000
  )
  select o.way into circle from onward o where o.at = o.first and o.way <> o.first limit 1;
  if circle is not null then
    perform weir.refuse_argument(field, 'leads back to the same queue: ' || circle, 'A job would go round for as long as the breaker is open.');
  end if;
end $$;

create function weir.breaker_by_name(name text) returns weir.breaker language plpgsql set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  select * into b from weir.breaker x where x.name = breaker_by_name.name and x.deleted_at is null;
  if not found then
    perform weir.refuse_breaker(breaker_by_name.name);
  end if;
  return b;
end $$;

-- For what people do: waits for whoever changes the breaker at the moment.
create function weir.lock_breaker(name text) returns weir.breaker language plpgsql as $$
begin
  perform pg_advisory_xact_lock(weir.breaker_key((weir.breaker_by_name(lock_breaker.name)).id));
  return weir.breaker_by_name(lock_breaker.name);
end $$;

create function weir.check_words(by text, reason text) returns void language plpgsql immutable as $$
begin
  if weir.by_problem(check_words.by) is not null then
    perform weir.refuse_argument('by', weir.by_problem(check_words.by));
  elsif length(check_words.reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  end if;
end $$;

-- Locks: the breaker (advisory), then its row.
create function weir.set_breaker(name text, settings jsonb default '{}', replace boolean default false, by text default null) returns void language plpgsql set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  problem text[] := weir.breaker_problem(settings);
  b weir.breaker;
  now_at timestamptz := clock_timestamp();
begin
  if set_breaker.name is null or set_breaker.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$' then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2], 'docs/breakers.md lists the settings. Nothing was changed.');
  end if;
  perform weir.check_words(by, null);
  perform weir.ensure_breakers(array[set_breaker.name]);
  b := weir.lock_breaker(set_breaker.name);
  if replace then
    settings := '{"failure_threshold": 5, "failure_ratio": null, "min_calls": 10, "window_seconds": 60, "open_seconds": 60, "half_open_probes": 1, "close_after": 1, "counts": {},
      "while_open": {"policy": "hold"}, "ramp_per_second": 10, "ramp_factor": 2}'::jsonb
      || jsonb_build_object('max_open_seconds', greatest(900, (settings ->> 'open_seconds')::float8)) || jsonb_strip_nulls(settings);
  end if;
  b.failure_ratio := case when settings ->> 'failure_ratio' is not null then (settings ->> 'failure_ratio')::float8
    when settings ->> 'failure_threshold' is not null then null else b.failure_ratio end;
  b.failure_threshold := case when settings ->> 'failure_ratio' is not null then null else coalesce((settings ->> 'failure_threshold')::numeric::int, b.failure_threshold) end;
  b.min_calls := coalesce((settings ->> 'min_calls')::numeric::int, b.min_calls);
  b.window_seconds := coalesce((settings ->> 'window_seconds')::numeric::int, b.window_seconds);
  b.open_seconds := coalesce((settings ->> 'open_seconds')::float8, b.open_seconds);
  b.max_open_seconds := coalesce((settings ->> 'max_open_seconds')::float8, b.max_open_seconds);
  b.half_open_probes := coalesce((settings ->> 'half_open_probes')::numeric::int, b.half_open_probes);
  b.close_after := coalesce((settings ->> 'close_after')::numeric::int, b.close_after);
  b.counts := case when jsonb_typeof(settings -> 'counts') = 'object' then settings -> 'counts' else b.counts end;
  b.while_open := case when jsonb_typeof(settings -> 'while_open') = 'object' then settings -> 'while_open' else b.while_open end;
  b.ramp_per_second := coalesce((settings ->> 'ramp_per_second')::float8, b.ramp_per_second);
  b.ramp_factor := coalesce((settings ->> 'ramp_factor')::float8, b.ramp_factor);
  if b.max_open_seconds < b.open_seconds then
    perform weir.refuse_argument('max_open_seconds', format('must be at least open_seconds, %s', b.open_seconds));
  end if;
  update weir.breaker x set failure_threshold = b.failure_threshold, failure_ratio = b.failure_ratio, min_calls = b.min_calls, window_seconds = b.window_seconds, open_seconds = b.open_seconds,
    max_open_seconds = b.max_open_seconds, half_open_probes = b.half_open_probes, close_after = b.close_after, counts = b.counts, while_open = b.while_open,
    ramp_per_second = b.ramp_per_second, ramp_factor = b.ramp_factor,
    flow_from = case when x.state = 'open' then now_at else x.flow_from end, flow_count = case when x.state = 'open' then 0 else x.flow_count end
  where x.id = b.id;
  if b.while_open ->> 'policy' = 'reroute' then
    perform pg_advisory_xact_lock(hashtext('weir'), hashtext('reroute'));
    perform weir.ensure_queues(array[b.while_open ->> 'queue']);
    perform weir.refuse_reroute_circle('while_open.queue');
  end if;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by, detail) values (b.id, b.name, 'set', b.state, b.state, by, settings #- '{while_open,result}');
end $$;

create function weir.delete_breaker(name text, by text default null) returns void language plpgsql set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  perform weir.check_words(by, null);
  b := weir.lock_breaker(delete_breaker.name);
  if b.state <> 'closed' or b.gated or exists (select from weir.queue q where q.breaker_id = b.id)
     or exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name) then
    raise exception using errcode = 'WR066', message = format('breaker %L is in use', b.name),
      hint = 'Only one that is closed, holds no jobs and is no queue''s can be deleted.';
  end if;
  perform weir.set_breaker(b.name, '{}', replace => true, by => delete_breaker.by);
  update weir.breaker x set deleted_at = clock_timestamp(), pinned = null, pinned_until = null, openings = 0 where x.id = b.id;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by) values (b.id, b.name, 'deleted', 'closed', 'closed', delete_breaker.by);
end $$;
-- +goose StatementEnd
comment on function weir.refuse_breaker(text) is 'Internal. Raises WR065 breaker_not_found.';
comment on function weir.breaker_key(int) is 'Internal. The advisory lock of a breaker; transaction level only.';
comment on function weir.ensure_breakers(text[]) is 'Internal. Makes the breakers of these distinct names that do not exist yet.';
comment on function weir.pattern_problem(text) is 'Internal. What is wrong with a regular expression, or null.';
comment on function weir.counts_problem(jsonb) is 'Internal. What is wrong with a breaker''s counts: its field and why, or null.';
comment on function weir.while_open_problem(jsonb) is 'Internal. What is wrong with a breaker''s while_open: its field and why, or null.';
comment on function weir.breaker_problem(jsonb) is 'Internal. What is wrong with the settings of a breaker: the field and why, or null.';
comment on function weir.refuse_reroute_circle(text) is 'Internal. Raises WR010 where breakers would route jobs of a queue back to it.';
comment on function weir.breaker_by_name(text) is 'Internal. A breaker. Raises WR065.';
comment on function weir.lock_breaker(text) is 'Internal. A breaker, once nobody else changes it, until the transaction ends. Raises WR065.';
comment on function weir.check_words(text, text) is 'Internal. Raises WR010 where who or why is too long.';
comment on function weir.set_breaker(text, jsonb, boolean, text) is
  'Makes a breaker or changes its settings: {failure_threshold, or failure_ratio with min_calls; window_seconds, open_seconds, max_open_seconds, half_open_probes, close_after, '
  'ramp_per_second, ramp_factor, counts: {types, pattern, except_types}, while_open: {policy: hold, reroute {queue}, complete_last_result {result}, complete_default {result}, degraded, '
  'throttle {per_second} or postpone {delay_seconds}, each but hold with until or for_seconds}}. What is not named keeps its value, or with replace => true goes back to the default. Errors: WR010.';
comment on function weir.delete_breaker(text, text) is 'Hides a breaker that is closed, holds no jobs and is no queue''s, and puts its settings back; the next job that names it brings it back. Errors: WR010, WR065, WR066.';

-- +goose Down
drop function weir.delete_breaker(text, text), weir.set_breaker(text, jsonb, boolean, text), weir.check_words(text, text), weir.lock_breaker(text), weir.breaker_by_name(text),
  weir.refuse_reroute_circle(text), weir.breaker_problem(jsonb), weir.while_open_problem(jsonb), weir.counts_problem(jsonb), weir.pattern_problem(text), weir.ensure_breakers(text[]),
  weir.breaker_key(int), weir.refuse_breaker(text);
drop table weir.breaker_event, weir.breaker_probe, weir.breaker_sample, weir.breaker;
