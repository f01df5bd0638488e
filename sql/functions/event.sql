-- Recent events, read from facts, leases, outcomes and events, which all carry their times. Nothing is written for
-- readers.

-- A row's time is from before its commit, so "everything later than what I have seen" misses rows. A reader that
-- polls reads weir.settled first, then what came after the settled_at of the time before, and leaves out what it
-- knows.
--
-- A page ends where `most` or `most_bytes` cuts it. The next one starts at the time of its last row, with the key of
-- that row: the id of the job or workflow, the event, the attempt and the step, if there is one, with spaces between.
create or replace function weir.events_since(after_at timestamptz, after_id bigint, most int default null,
  until_at timestamptz default 'infinity', after_key text default null,
  filter jsonb default '{}', most_bytes int default null)
returns table (at timestamptz, event text, job_id bigint, queue text, kind text, attempt smallint, worker text,
  run_at timestamptz, error jsonb, workflow_id bigint, step text, tenant text)
language plpgsql stable set jit = off set enable_seqscan = off set enable_hashjoin = off
  set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  low timestamptz := case when after_key is null then after_at else after_at - interval '1 us' end;
  of_job bigint := (filter ->> 'job_id')::bigint;
  of_workflow bigint := (filter ->> 'workflow_id')::bigint;
  of_queue text := filter ->> 'queue';
  of_kind text := filter ->> 'kind';
  bounds jsonb := filter -> 'bounds';
  among text[] := array(select jsonb_array_elements_text(filter -> 'events'));
  -- otherwise no event of a workflow matches
  of_jobs boolean := of_job is null and of_queue is null and of_kind is null and bounds -> 'queues' is null;
begin
  if cardinality(among) = 0 then
    among := null;
  end if;
  return query
  with moments as materialized (
    select j.created_at as at, 'enqueued' as event, j.id as job_id, 0::smallint as attempt, null::text as worker,
      j.run_at, null::jsonb as error
    from weir.job j where j.id > after_id and j.created_at > low and j.created_at <= until_at
      and (of_job is null or j.id = of_job)
    union all
    select l.leased_at, 'started', l.job_id, l.attempt, l.worker, null, null
    from weir.job_lease l where l.expires_at > low and l.leased_at > low and l.leased_at <= until_at
      and (of_job is null or l.job_id = of_job)
    union all
    select e.at, e.kind::text, e.job_id, e.attempt, e.worker, e.run_at, case
      when e.kind in ('failed', 'timed_out', 'lost') then e.detail end
    from weir.job_event e where e.at > low and e.at <= until_at and (of_job is null or e.job_id = of_job)
    union all
    select o.finished_at, o.state::text, o.job_id, o.attempt, o.worker, null, o.error
    from weir.job_outcome o where o.finished_at > low and o.finished_at <= until_at
      and (of_job is null or o.job_id = of_job)
  ), of_workflows as materialized (
    select w.created_at as at, 'workflow_submitted' as event, null::jsonb as error, w.id as workflow_id,
      null::text as step, w.tenant
    from weir.workflow w where w.id > after_id and w.created_at > low and w.created_at <= until_at
    union all
    select e.at, 'workflow_' || e.event, null, e.workflow_id, e.name,
      (select w.tenant from weir.workflow w where w.id = e.workflow_id)
    from weir.workflow_event e where e.at > low and e.at <= until_at
    union all
    select w.finished_at, 'workflow_' || w.state, w.failure, w.id, null, w.tenant from weir.workflow w
      where w.finished_at > low
      and w.finished_at <= until_at
  ), passing as (
    select m.at, m.event, m.job_id, q.name as queue, j.kind, m.attempt, m.worker, m.run_at, m.error, j.workflow_id,
      j.step, j.tenant
    from moments m
    join weir.job j on j.id = m.job_id
    join weir.queue q on q.id = j.queue_id
    where (among is null or m.event = any (among)) and (of_queue is null or q.name = of_queue)
      and (of_kind is null or j.kind = of_kind)
      and (of_workflow is null or j.workflow_id = of_workflow)
      and (bounds is null or weir.is_within(bounds, j.tenant, q.name, j.principal))
    union all
    select w.at, w.event, null, null, null, null, null, null, w.error, w.workflow_id, w.step, w.tenant
    from of_workflows w
    where of_jobs and (bounds is null or w.tenant = bounds ->> 'tenant') and (among is null or w.event = any (among))
      and (of_workflow is null or w.workflow_id = of_workflow)
  ), page as (
    select p.*, concat_ws(' ', coalesce(p.job_id, p.workflow_id), p.event, coalesce(p.attempt, 0),
      p.step) collate "C" as key from passing p
    where after_key is null or p.at > after_at or concat_ws(' ', coalesce(p.job_id, p.workflow_id), p.event,
      coalesce(p.attempt, 0), p.step) collate "C" > after_key
    order by p.at, key limit most
  ), measured as (
    select p.*, row_number() over (order by p.at, p.key) as n,
      sum(octet_length(p.error::text)) over (order by p.at, p.key rows unbounded preceding) as bytes from page p
  )
  select m.at, m.event, m.job_id, m.queue, m.kind, m.attempt, m.worker, m.run_at, m.error, m.workflow_id, m.step,
    m.tenant from measured m
  where most_bytes is null or m.n = 1 or coalesce(m.bytes, 0) <= most_bytes order by m.at, m.key;
end $$;
comment on function weir.events_since(timestamptz, bigint, int, timestamptz, text, jsonb, int) is
  'What happened to jobs after a time and up to until_at, oldest first: enqueued (only ids above after_id), started '
  '(while it still runs), completed, cancelled, dead, or a weir.event_kind; and to workflows (then there is no job): '
  'workflow_submitted, workflow_completed, workflow_failed, workflow_cancelled, or one of weir.workflow_event. '
  'Of a caller of a node who is bound to queues, no events of workflows. '
  'filter: {queue, kind, job_id, workflow_id, events, bounds (of such a caller)}, all optional. It returns at most '
  '`most` rows, and ends early '
  'after most_bytes of errors; null: no bound. To go on from a row, pass its time and, as after_key, its job (or '
  'else workflow), event, attempt (or else 0) and step (if it has one) with spaces between.';

-- For readers that poll: what is settled since a position, so each event comes once and in order. A transaction that
-- is open and writes holds back the events from its beginning on, for 15 minutes at most.
--
-- A position is TIME-ID-TIME2-ID2[/KEY]. Up to TIME everything was read (or with a KEY, that of weir.events_since), and
-- no job with an id up to ID was created later. The same will hold for ID2 once everything up to TIME2 was read: ID2
-- was read from the sequence before TIME2, and a job draws its id after it takes its time.
create or replace function weir.events_after(after text default null, filter jsonb default '{}', most int default 1000)
returns jsonb language plpgsql set jit = off as $$
declare
  drawn bigint := coalesce(pg_sequence_last_value('weir.job_id_seq'), 0);
  now_at timestamptz := clock_timestamp();
  until_at timestamptz := weir.settled_now(now_at);
  bounds jsonb := weir.reader_bounds();
  at weir.event_position;
  page jsonb;
  n int;
  bytes bigint;
  upto timestamptz;
begin
  if most is null or most not between 1 and 10000 then
    perform weir.refuse_argument('most', 'must be from 1 to 10000');
  elsif jsonb_typeof(filter) is distinct from 'object'
    or filter - '{queue,kind,job_id,workflow_id,events}'::text[] <> '{}'
    or coalesce(jsonb_typeof(filter -> 'events'), 'array') <> 'array'
    or coalesce(filter ->> 'job_id', filter ->> 'workflow_id', '0') !~ '^[0-9]{1,18}$' then
    perform weir.refuse_argument('filter', 'must be an object with queue, kind, job_id, workflow_id or events');
  end if;
  if exists (select from jsonb_array_elements_text(filter -> 'events') e(name)
      where e.name not like 'workflow\_%' and e.name <> all ('{enqueued,started,completed,cancelled,dead}'::text[]
        || enum_range(null::weir.event_kind)::text[])) then
    perform weir.refuse_argument('filter.events', 'must be events of jobs or workflows',
      'Those of workers and circuit breakers come from a node.');
  end if;
  if after is null then
    return jsonb_build_object('events', '[]'::jsonb, 'more', false,
      'position', weir.print_position((now_at, drawn, now_at, drawn, null)::weir.event_position));
  end if;
  at := weir.read_position(after);
  if at.at < now_at - interval '1 hour' then
    perform weir.refuse_argument('after', 'is more than an hour old', 'Listen without it, and read the jobs instead.');
  end if;
  upto := least(until_at, at.at + interval '1 minute');  -- a page costs no more than the events of a minute
  if upto <= at.at then
    return jsonb_build_object('events', '[]'::jsonb, 'more', false, 'position', after);
  end if;
  select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('at', e.at, 'event', e.event,
      'job_id', e.job_id::text, 'queue', e.queue, 'kind', e.kind, 'attempt', nullif(e.attempt, 0), 'worker', e.worker,
      'run_at', e.run_at, 'workflow_id', e.workflow_id::text, 'step', e.step))
      || case when e.error is not null then jsonb_build_object('error', e.error) else '{}' end
      || jsonb_build_object('position', weir.print_position((e.at, at.id, at.next_at, at.next_id,
        concat_ws(' ', coalesce(e.job_id, e.workflow_id), e.event, coalesce(e.attempt, 0), e.step)
        )::weir.event_position)) order by e.n), '[]'),
    count(*), coalesce(sum(octet_length(e.error::text)), 0) into page, n, bytes
  from weir.events_since(at.at, at.id, most, upto, at.key,
    case when bounds is null then filter else filter || jsonb_build_object('bounds', bounds) end, 4194304)
    with ordinality e(at, event, job_id, queue, kind, attempt, worker, run_at, error, workflow_id, step, tenant, n);
  if n = most or bytes > 3145728 then  -- it may have been cut short
    return jsonb_build_object('events', page, 'more', true, 'position', page -> -1 -> 'position');
  end if;
  if upto >= at.next_at then
    at.id := at.next_id;
    at.next_at := now_at;
    at.next_id := drawn;
  end if;
  return jsonb_build_object('events', page, 'more', upto < until_at,
    'position', weir.print_position((upto, at.id, at.next_at, at.next_id, null)::weir.event_position));
end $$;
comment on function weir.events_after(text, jsonb, int) is
  'What happened after a position, oldest first: {events, position, more}. Call it again with the position; at once if '
  'there is more. after: the position of an answer, or of one of its events; null: from now on, then there are no '
  'events yet. filter: {queue, kind, job_id, workflow_id, events}, all optional. An event comes once, about half a '
  'second after it happened, or when the transactions that wrote before it have ended. READ COMMITTED only. Errors: '
  'WR010.';

-- settled_at of weir.settled is as old as the last tick, this is not. The half second is for the few statements that
-- tell of something without a lock on a hot table. In a later snapshot than this call everything up to it is visible.
create or replace function weir.settled_now(now_at timestamptz) returns timestamptz language plpgsql as $$
declare
  last weir.watermark;
  writers text[];
  since timestamptz;
begin
  if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
    raise exception using errcode = 'WR010', message = 'events_after needs a READ COMMITTED transaction',
      hint = 'Its statements must each see what was committed before they began.';
  end if;
  select * into last from weir.watermark w order by w.tick desc limit 1;
  writers := weir.writers();
  -- As in weir.advance_frontier: one that the last tick did not see began to write after it.
  since := (select min(coalesce(h.since, case when w.name like ':%'
      then least(last.at, (select min(s) from unnest(last.holder_since) s)) else last.at end))
    from unnest(writers) w(name) left join unnest(last.holders, last.holder_since) h(name, since) on h.name = w.name);
  return greatest(least(now_at - interval '500 ms', since), now_at - interval '15 minutes');
end $$;
comment on function weir.settled_now(timestamptz) is 'Internal. Every event up to this time is visible.';

create or replace function weir.reader_bounds() returns jsonb language plpgsql stable as $$
declare
  a weir_auth.sql_access;
begin
  if weir.is_owner() then
    return null;
  end if;
  a := weir.login_as('reader');
  return nullif(jsonb_strip_nulls(jsonb_build_object('tenant', a.tenant,
    'queues', case when a.patterns <> '{%}' then to_jsonb(a.patterns) end)), '{}');
end $$;
comment on function weir.reader_bounds() is
  'Internal. The bounds of the session''s login as a reader, as weir.is_within takes them; null: it has none.';

create or replace function weir.print_position(p weir.event_position) returns text language sql immutable as $$
  select concat_ws('-', (extract(epoch from p.at) * 1000000)::bigint, p.id,
    (extract(epoch from p.next_at) * 1000000)::bigint, p.next_id) || coalesce('/' || p.key, '')
$$;
comment on function weir.print_position(weir.event_position) is 'Internal. A position as text.';

create or replace function weir.read_position(given text) returns weir.event_position language plpgsql immutable as $$
declare
  part text[] := regexp_match(given, '^([0-9]{1,16})-([0-9]{1,18})-([0-9]{1,16})-([0-9]{1,18})(?:/(.+))?$');
begin
  if part is null then
    perform weir.refuse_argument('after', 'must be the position of an event');
  end if;
  return ('epoch'::timestamptz + part[1]::bigint * interval '1 us', part[2]::bigint,
    'epoch'::timestamptz + part[3]::bigint * interval '1 us', part[4]::bigint, part[5])::weir.event_position;
end $$;
comment on function weir.read_position(text) is 'Internal. A position from its text. Errors: WR010.';
