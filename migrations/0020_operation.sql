-- Operations: work on many rows that is asked for in one call and done in batches, by one worker at a time.
--
-- A batch and the note of it are one transaction, so an operation that is cut off goes on where it was. next_at is when its next batch is due: an
-- operation without an end that is overdue has nobody at it.
--
-- +goose Up
create table weir.operation (
  id bigint generated always as identity constraint operation_pkey primary key,
  kind text not null constraint operation_is_known check (kind in ('redrive_dead', 'purge_dead', 'bulk_cancel', 'bulk_retry', 'bulk_reprioritise', 'export_jobs')),
  state text not null default 'pending' constraint operation_state_is_known check (state in ('pending', 'running', 'completed', 'cancelled')),
  filter jsonb not null,
  keep_attempts boolean not null default false,
  options jsonb not null default '{}',
  requested_by text,
  rate_per_second float8 constraint rate_is_one_a_day_to_100_thousand_a_second check (rate_per_second between 1.0 / 86400 and 100000),
  total bigint not null,
  done bigint not null default 0,
  failed bigint not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  next_at timestamptz not null default clock_timestamp(),
  passed_at timestamptz not null default 'epoch',
  passed_id bigint not null default 0,
  until_id bigint not null default 0
);
create index operation_under_way on weir.operation (next_at) where finished_at is null;
comment on table weir.operation is 'Work on many rows, done in batches: which, how far, how fast. Kept for 30 days after its end.';
comment on column weir.operation.id is 'Names it.';
comment on column weir.operation.kind is 'redrive_dead: runs dead letters again. purge_dead: removes them. bulk_cancel, bulk_retry, bulk_reprioritise: does so to jobs. export_jobs: writes them down, in weir.operation_result.';
comment on column weir.operation.state is 'pending, running, then completed or cancelled.';
comment on column weir.operation.filter is 'Which dead letters, of those that died before created_at (see weir.count_dead), or which jobs, of those up to until_id (see weir.count_jobs).';
comment on column weir.operation.options is 'What else was asked for: {priority} of bulk_reprioritise, {reset_attempts} of bulk_retry, {format, limit} of export_jobs.';
comment on column weir.operation.keep_attempts is 'With redrive_dead: the attempts so far count.';
comment on column weir.operation.requested_by is 'Who asked for it, if they said.';
comment on column weir.operation.rate_per_second is 'At most so many a second; null: as fast as they can be done.';
comment on column weir.operation.total is 'How many there were when it was asked for, as far as they could be counted within two seconds.';
comment on column weir.operation.done is 'How many are done.';
comment on column weir.operation.failed is 'At its end: how many of total it did not find any more, because somebody else was quicker.';
comment on column weir.operation.created_at is 'When it was asked for.';
comment on column weir.operation.started_at is 'When its first batch began.';
comment on column weir.operation.finished_at is 'When it was completed or cancelled.';
comment on column weir.operation.next_at is 'When its next batch is due.';
comment on column weir.operation.passed_at is 'It has passed all letters that died before then.';
comment on column weir.operation.passed_id is 'Of those that died just then, or of all jobs, it has passed the ids up to this one.';
comment on column weir.operation.until_id is 'It is about jobs up to this id: those that were there when it was asked for.';

create table weir.operation_result (
  operation_id bigint not null,
  n int not null,
  body text not null,
  constraint operation_result_pkey primary key (operation_id, n)
);
comment on table weir.operation_result is 'What an export wrote, in pieces. Kept for a day after its end.';
comment on column weir.operation_result.operation_id is 'weir.operation.id';
comment on column weir.operation_result.n is 'The place of the piece: 1, 2, …';
comment on column weir.operation_result.body is 'Whole lines.';

-- +goose StatementBegin
create function weir.job_filter_problem(filter jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(filter) is distinct from 'object' then array['filter', 'must be an object']
    when filter - '{state,queue,kind,tenant,tag,worker,parent_id,workflow_id,priority,created_after,created_before,finished_after,finished_before,min_attempts,has_error,q}'::text[] <> '{}' then
      array['filter.' || weir.first_key(filter - '{state,queue,kind,tenant,tag,worker,parent_id,workflow_id,priority,created_after,created_before,finished_after,finished_before,min_attempts,has_error,q}'::text[]), 'is no filter of jobs']
    else (
      select array['filter.' || p.field, p.problem] from (
        select f.field, case when filter ->> f.field is not null and (jsonb_typeof(filter -> f.field) <> 'string' or length(filter ->> f.field) not between 1 and 200)
          then 'must be a string of 1 to 200 characters' end
        from unnest('{queue,kind,tenant,tag,worker,q}'::text[]) f(field)
        union all select f.field, case when filter ->> f.field is not null then weir.time_problem(filter -> f.field) end
        from unnest('{created_after,created_before,finished_after,finished_before}'::text[]) f(field)
        union all select 'min_attempts', weir.integer_problem(filter -> 'min_attempts', 1, 100)
        union all select 'priority', weir.integer_problem(filter -> 'priority', 1, 10)
        union all select 'has_error', case when filter ->> 'has_error' is not null and jsonb_typeof(filter -> 'has_error') <> 'boolean' then 'must be true or false' end
        union all select 'parent_id', case when filter ->> 'parent_id' is not null and filter ->> 'parent_id' !~ '^[0-9]{1,18}$' then 'must be the id of a job' end
        union all select 'workflow_id', case when filter ->> 'workflow_id' is not null and filter ->> 'workflow_id' !~ '^[0-9]{1,18}$' then 'must be the id of a workflow' end
        union all select 'state', case when filter ->> 'state' is not null and filter ->> 'state' <> all (enum_range(null::weir.job_state)::text[]) then 'must be a state of a job' end
      ) p(field, problem) where p.problem is not null limit 1)
  end
$$;

-- Ids in rising order from the place that a filter narrows most: a parent, or a state.
create function weir.job_candidates(filter jsonb, after_id bigint, until_id bigint, most int) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  state text := filter ->> 'state';
begin
  if filter ->> 'workflow_id' is not null then
    return array(select s.job_id from weir.workflow_step s where s.workflow_id = (filter ->> 'workflow_id')::bigint and s.job_id > after_id and s.job_id <= until_id order by s.job_id limit most);
  elsif filter ->> 'parent_id' is not null then
    return array(select j.id from weir.job j where j.parent_id = (filter ->> 'parent_id')::bigint and j.id > after_id and j.id <= until_id order by j.id limit most);
  elsif state = 'running' then
    return array(select l.job_id from weir.job_lease l where l.job_id > after_id and l.job_id <= until_id order by l.job_id limit most);
  elsif state in ('scheduled', 'retryable') then
    return array(select s.job_id from weir.job_scheduled s where s.job_id > after_id and s.job_id <= until_id and s.retryable = (state = 'retryable') order by s.job_id limit most);
  elsif state = 'held' then
    return array(select h.job_id from weir.job_held h where h.job_id > after_id and h.job_id <= until_id order by h.job_id limit most);
  elsif state = 'dead' then
    return array(select d.job_id from weir.job_dead d where d.job_id > after_id and d.job_id <= until_id order by d.job_id limit most);
  elsif state in ('completed', 'cancelled') then
    return array(select o.job_id from weir.job_outcome o where o.job_id > after_id and o.job_id <= until_id order by o.job_id limit most);
  end if;
  return array(select j.id from weir.job j where j.id > after_id and j.id <= until_id order by j.id limit most);
end $$;

create function weir.jobs_passing(job_ids bigint[], filter jsonb, states text[] default null) returns setof bigint language plpgsql stable
set jit = off set enable_seqscan = off as $$
declare
  asked weir.job_state := (filter ->> 'state')::weir.job_state;
  created_after timestamptz := (filter ->> 'created_after')::timestamptz;
  created_before timestamptz := (filter ->> 'created_before')::timestamptz;
  finished_after timestamptz := (filter ->> 'finished_after')::timestamptz;
  finished_before timestamptz := (filter ->> 'finished_before')::timestamptz;
  has_error boolean := (filter ->> 'has_error')::boolean;
  words text := lower(filter ->> 'q');
begin
  return query
  select j.id from weir.jobs j
  where j.id = any (job_ids) and (asked is null or j.state = asked) and (states is null or j.state::text = any (states))
    and (filter ->> 'queue' is null or j.queue = filter ->> 'queue') and (filter ->> 'kind' is null or j.kind = filter ->> 'kind')
    and (filter ->> 'tenant' is null or j.tenant = filter ->> 'tenant') and (filter ->> 'tag' is null or filter ->> 'tag' = any (j.tags))
    and (filter ->> 'worker' is null or j.worker = filter ->> 'worker') and (filter ->> 'parent_id' is null or j.parent_id = (filter ->> 'parent_id')::bigint)
    and (filter ->> 'workflow_id' is null or j.workflow_id = (filter ->> 'workflow_id')::bigint)
    and (filter ->> 'priority' is null or j.priority = (filter ->> 'priority')::numeric) and (filter ->> 'min_attempts' is null or j.attempt >= (filter ->> 'min_attempts')::numeric)
    and (created_after is null or j.created_at >= created_after) and (created_before is null or j.created_at < created_before)
    and (finished_after is null or j.finished_at >= finished_after) and (finished_before is null or j.finished_at < finished_before)
    and (has_error is null or (j.errors is not null) = has_error)
    and (words is null or strpos(lower(concat_ws(' ', j.kind, j.args::text, j.error::text, j.errors::text)), words) > 0);
end $$;

-- The states that jobs may be in for an operation, where its filter names none.
create function weir.bulk_states(kind text) returns text[] language sql immutable as $$
  select case kind
    when 'bulk_cancel' then '{available,scheduled,retryable,held,running}'
    when 'bulk_retry' then '{dead,cancelled}'
    when 'bulk_reprioritise' then '{available,scheduled,retryable,held}' end::text[]
$$;

create function weir.count_jobs(filter jsonb default '{}', kind text default null, seconds float8 default 2, out total bigint, out exact boolean) language plpgsql stable as $$
#variable_conflict use_variable
declare
  problem text[] := weir.job_filter_problem(filter);
  began timestamptz := clock_timestamp();
  ids bigint[];
  last bigint := 0;
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  total := 0;
  exact := true;
  loop
    ids := weir.job_candidates(filter, last, 9223372036854775807, 2000);
    total := total + (select count(*) from weir.jobs_passing(ids, filter, case when filter ->> 'state' is null then weir.bulk_states(kind) end));
    last := ids[cardinality(ids)];
    exact := cardinality(ids) < 2000;
    exit when exact or clock_timestamp() > began + make_interval(secs => seconds);
  end loop;
end $$;

create function weir.options_problem(kind text, filter jsonb, options jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(options) is distinct from 'object' then array['options', 'must be an object']
    when options - case kind when 'bulk_reprioritise' then '{priority}' when 'bulk_retry' then '{reset_attempts}' when 'export_jobs' then '{format,limit}' else '{}' end::text[] <> '{}' then
      array[weir.first_key(options), 'is no option of this operation']
    when kind = 'bulk_reprioritise' and (options ->> 'priority' is null or weir.integer_problem(options -> 'priority', 1, 10) is not null) then array['priority', 'must be a whole number from 1 to 10']
    when jsonb_typeof(options -> 'reset_attempts') not in ('boolean', 'null') then array['reset_attempts', 'must be true or false']
    when kind = 'export_jobs' and coalesce(options ->> 'format', 'ndjson') not in ('ndjson', 'csv') then array['format', 'must be ndjson or csv']
    when weir.integer_problem(options -> 'limit', 1, 1000000) is not null then array['limit', weir.integer_problem(options -> 'limit', 1, 1000000)]
    when filter ->> 'state' is not null and kind in ('bulk_cancel', 'bulk_reprioritise') and filter ->> 'state' <> all (weir.bulk_states(kind))
      or kind = 'bulk_retry' and filter ->> 'state' not in ('dead', 'cancelled', 'completed', 'scheduled', 'retryable') then
      array['filter.state', 'is none in which jobs can be ' || case kind when 'bulk_cancel' then 'cancelled' when 'bulk_retry' then 'run again' else 'given another priority' end]
  end
$$;

create function weir.start_operation(kind text, filter jsonb default '{}', rate_per_second float8 default null, keep_attempts boolean default false, by text default null,
  options jsonb default '{}') returns bigint language plpgsql as $$
#variable_conflict use_variable
declare
  new_id bigint;
  problem text[];
  of_letters boolean := kind in ('redrive_dead', 'purge_dead');
begin
  if kind is null or kind not in ('redrive_dead', 'purge_dead', 'bulk_cancel', 'bulk_retry', 'bulk_reprioritise', 'export_jobs') then
    perform weir.refuse_argument('kind', 'must be redrive_dead, purge_dead, bulk_cancel, bulk_retry, bulk_reprioritise or export_jobs');
  elsif rate_per_second not between 1.0 / 86400 and 100000 then
    perform weir.refuse_argument('rate_per_second', 'must be from 1/86400 to 100000');
  elsif weir.by_problem(by) is not null then
    perform weir.refuse_argument('by', weir.by_problem(by));
  end if;
  problem := coalesce(case when of_letters then weir.dead_filter_problem(filter) else weir.job_filter_problem(filter) end, weir.options_problem(kind, filter, options));
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  insert into weir.operation as o (kind, filter, keep_attempts, options, requested_by, rate_per_second, total, until_id)
  values (kind, filter, coalesce(keep_attempts, false), options, by, rate_per_second,
    case when of_letters then weir.count_dead(filter) else (select least(c.total, (options ->> 'limit')::numeric) from weir.count_jobs(filter, kind) c) end,
    coalesce(pg_sequence_last_value('weir.job_id_seq'), 0))
  returning o.id into new_id;
  return new_id;
end $$;

create function weir.exported_time(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Lines for these jobs, at most about 8 MiB of them, but one at least. last: the id of the last that is in.
create function weir.export_lines(job_ids bigint[], format text, out lines text, out exported int, out last bigint) language plpgsql stable set jit = off set enable_seqscan = off as $$
begin
  with rows as materialized (
    select j.id, case when format = 'csv' then
      (select string_agg('"' || replace(c, '"', '""') || '"', ',' order by n) from unnest(array[j.id::text, j.kind, j.queue, j.state::text, j.priority::text, j.attempt::text, j.max_attempts::text,
        weir.exported_time(j.created_at), coalesce(weir.exported_time(j.run_at), ''), coalesce(weir.exported_time(j.started_at), ''), coalesce(weir.exported_time(j.finished_at), ''),
        coalesce(j.worker, ''), coalesce(j.tenant, ''), array_to_string(j.tags, ' '), j.args::text, coalesce(j.result::text, ''), coalesce(j.error::text, '')]) with ordinality u(c, n))
      else jsonb_strip_nulls(jsonb_build_object('id', j.id::text, 'kind', j.kind, 'queue', j.queue, 'state', j.state, 'priority', j.priority, 'attempt', j.attempt, 'max_attempts', j.max_attempts,
        'created_at', weir.exported_time(j.created_at), 'run_at', weir.exported_time(j.run_at), 'started_at', weir.exported_time(j.started_at), 'finished_at', weir.exported_time(j.finished_at),
        'worker', j.worker, 'tenant', j.tenant, 'tags', to_jsonb(j.tags)))::text end as line,
      j.args, j.result, j.error, j.metadata
    from weir.jobs j where j.id = any (job_ids)
  ), whole as (
    select r.id, case when format = 'csv' then r.line else  -- payloads as they are: what is null in them stays
      left(r.line, -1) || ', "args": ' || r.args::text || coalesce(', "result": ' || r.result::text, '') || coalesce(', "error": ' || r.error::text, '') || ', "metadata": ' || r.metadata::text || '}' end as line
    from rows r
  ), sized as (
    select w.*, sum(octet_length(w.line)) over (order by w.id) - octet_length(w.line) as before from whole w
  )
  select string_agg(z.line || e'\n', '' order by z.id), count(*)::int, max(z.id) into lines, exported, last from sized z where z.before < 8388608;
end $$;

-- A batch of an operation on jobs. A job that moves meanwhile is left as it is: it counts as failed at the end. The savepoint of each
-- (a PL/pgSQL block with an exception) is why batches are of at most fifty. Locks: those of weir.cancel, weir.retry and weir.edit, one job after the other.
create function weir.work_jobs(op weir.operation, most int, out did int, out passed bigint) language plpgsql as $$
declare
  seen bigint[] := weir.job_candidates(op.filter, op.passed_id, op.until_id, 500);
  states text[] := case when op.filter ->> 'state' is null then weir.bulk_states(op.kind) end;
  ids bigint[];
  one bigint;
  written record;
begin
  did := 0;
  passed := seen[cardinality(seen)];
  most := least(most, case when op.kind = 'export_jobs' then least(500, coalesce((op.options ->> 'limit')::numeric, 1000000) - op.done) else 50 end);
  if passed is null or most <= 0 then
    passed := null;
    return;
  end if;
  ids := array(select p from weir.jobs_passing(seen, op.filter, states) p order by p limit most);
  if cardinality(ids) = most then
    passed := ids[most];
  end if;
  if op.kind = 'export_jobs' then
    if ids <> '{}' then
      select * into written from weir.export_lines(ids, coalesce(op.options ->> 'format', 'ndjson'));
      did := coalesce(written.exported, 0);
      if did < cardinality(ids) and written.last is not null then
        passed := written.last;
      end if;
      insert into weir.operation_result (operation_id, n, body)
      select op.id, coalesce(max(r.n), 0) + 1, written.lines from weir.operation_result r where r.operation_id = op.id having written.lines is not null;
    end if;
    return;
  end if;
  if op.kind <> 'bulk_retry' then
    perform weir.lock_workflows_of(ids);  -- of those that are steps, in their order
  end if;
  foreach one in array ids loop
    begin
      if op.kind = 'bulk_cancel' then
        perform weir.cancel(one);
      elsif op.kind = 'bulk_retry' then
        perform weir.retry(one, coalesce((op.options ->> 'reset_attempts')::boolean, false));
      elsif (select j.priority from weir.jobs j where j.id = one) <> (op.options ->> 'priority')::numeric then  -- others would lose their place
        perform weir.edit(one, jsonb_build_object('priority', op.options -> 'priority'));
      end if;
      did := did + 1;
    exception when sqlstate 'WR002' or sqlstate 'WR003' or sqlstate 'WR004' or sqlstate 'WR005' or serialization_failure then
      null;  -- it has moved
    end;
  end loop;
end $$;

-- A batch of an operation on dead letters. Locks: the rows of the letters.
create function weir.work_letters(op weir.operation, most int, out did int, out passed_at timestamptz, out passed_id bigint) language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  looked record;
  ids bigint[];
  last int;
begin
  did := 0;
  select array_agg(c.job_id order by c.died_at, c.job_id) as ids, array_agg(c.died_at order by c.died_at, c.job_id) as times, count(*)::int as n into looked from (
    select d.job_id, d.died_at from weir.job_dead d where (d.died_at, d.job_id) > (op.passed_at, op.passed_id) and d.died_at < op.created_at
    order by d.died_at, d.job_id limit 2000) c;
  if looked.n = 0 then
    return;
  end if;
  ids := array(select u.id from weir.dead_passing(looked.ids, op.filter) p(id) join unnest(looked.ids) with ordinality u(id, n) on u.id = p.id order by u.n limit most);
  last := case when cardinality(ids) = most then array_position(looked.ids, ids[most]) else looked.n end;
  if op.kind = 'redrive_dead' then
    did := (select count(*) from weir.run_again(ids, 'redriven', not op.keep_attempts, op.requested_by));
  else
    did := weir.drop_letters(ids, op.requested_by);
  end if;
  passed_at := looked.times[last];
  passed_id := looked.ids[last];
end $$;

-- One batch. Whoever comes while another is at it gets over = true, as if there were nothing to do. Locks: the operation's row, then those of the letters or jobs.
create function weir.work_operation(operation_id bigint, most int default 500, out over boolean, out wait_seconds float8)
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  op weir.operation;
  batch int;
  did int;
  to_at timestamptz;
  to_id bigint;
  now_at timestamptz;
begin
  over := true;
  wait_seconds := 0;
  select * into op from weir.operation o where o.id = operation_id and o.finished_at is null for update skip locked;
  if not found then
    return;
  end if;
  over := false;
  now_at := clock_timestamp();
  if op.next_at > now_at then
    wait_seconds := extract(epoch from op.next_at - now_at);
    return;
  end if;
  batch := least(most, greatest(1, ceil(coalesce(op.rate_per_second, 'infinity') / 4)));
  if op.kind in ('redrive_dead', 'purge_dead') then
    select w.did, w.passed_at, w.passed_id into did, to_at, to_id from weir.work_letters(op, batch) w;
  else
    select w.did, w.passed into did, to_id from weir.work_jobs(op, batch) w;
  end if;
  over := to_id is null;
  update weir.operation o set
    state = case when over then 'completed' else 'running' end,
    done = o.done + did,
    total = greatest(o.total, o.done + did),
    failed = case when over then greatest(o.total - o.done - did, 0) else 0 end,
    started_at = coalesce(o.started_at, now_at),
    finished_at = case when over then clock_timestamp() end,
    next_at = case when o.rate_per_second is null or o.started_at is null then now_at else greatest(o.next_at, now_at - interval '0.5 s') end
      + make_interval(secs => coalesce(did / o.rate_per_second, 0)),
    passed_at = coalesce(to_at, o.passed_at),
    passed_id = coalesce(to_id, o.passed_id)
  where o.id = operation_id;
end $$;

create function weir.cancel_operation(operation_id bigint) returns void language plpgsql as $$
declare
  op weir.operation;
begin
  select * into op from weir.operation o where o.id = operation_id for update;
  if not found then
    raise exception using errcode = 'WR020', message = format('there is no operation %s', operation_id), hint = 'Operations are kept for 30 days after their end.';
  elsif op.finished_at is not null then
    raise exception using errcode = 'WR021', message = format('operation %s has ended: it is %s', operation_id, op.state), hint = 'What it did is done.';
  end if;
  update weir.operation o set state = 'cancelled', finished_at = clock_timestamp() where o.id = operation_id;
end $$;

create function weir.sweep_operations(most int default 1000) returns int language sql as $$
  with gone as (
    delete from weir.operation o where o.id = any (array(
      select x.id from weir.operation x where x.finished_at < now() - interval '30 days' limit most for update skip locked)) returning o.id
  )
  select count(*)::int from gone
$$;

create function weir.sweep_exports(most int default 100) returns int language sql as $$
  with gone as (
    delete from weir.operation_result r where (r.operation_id, r.n) in (
      select x.operation_id, x.n from weir.operation_result x left join weir.operation o on o.id = x.operation_id
      where o.id is null or o.finished_at < now() - interval '1 day' limit most) returning 1
  )
  select count(*)::int from gone
$$;
-- +goose StatementEnd
comment on function weir.job_filter_problem(jsonb) is 'Internal. What is wrong with a filter of jobs: its field and why, or null.';
comment on function weir.job_candidates(jsonb, bigint, bigint, int) is 'Internal. Up to `most` ids above one and up to another, in rising order, among which are all jobs of a filter.';
comment on function weir.jobs_passing(bigint[], jsonb, text[]) is 'Internal. Those of these jobs that pass a filter, and are in one of these states.';
comment on function weir.bulk_states(text) is 'Internal. The states that an operation of this kind is about where its filter names none; null: all.';
comment on function weir.options_problem(text, jsonb, jsonb) is 'Internal. What is wrong with the options of an operation on jobs, or with the state that it is to be about: the field and why, or null.';
comment on function weir.exported_time(timestamptz) is 'Internal. A time as exports have it.';
comment on function weir.export_lines(bigint[], text) is 'Internal. Jobs as lines of NDJSON or CSV.';
comment on function weir.work_jobs(weir.operation, int) is 'Internal. Does a batch of an operation on jobs. passed: how far it has come; null: nothing is left.';
comment on function weir.work_letters(weir.operation, int) is 'Internal. Does a batch of an operation on dead letters. passed_id: how far it has come; null: nothing is left.';
comment on function weir.count_jobs(jsonb, text, float8) is
  'How many jobs pass a filter: {state, queue, kind, tenant, tag, worker, parent_id, workflow_id, priority, created_after, created_before, finished_after, finished_before, min_attempts, has_error, '
  'q (text in kind, args or errors)}, all optional. kind: only those that an operation of this kind would be about. exact is false where counting took longer than so many seconds: then there are more. Errors: WR010.';
comment on function weir.start_operation(text, jsonb, float8, boolean, text, jsonb) is
  'Asks for work on many rows, which the service does in the background, the oldest first, at most rate_per_second. redrive_dead, purge_dead: on the dead letters that pass a filter (see weir.count_dead) and died before now. '
  'bulk_cancel, bulk_retry (options {reset_attempts}; without a state in the filter: dead and cancelled jobs), bulk_reprioritise (options {priority}), export_jobs (options {format: ndjson or csv, limit}): on the jobs that are there now '
  'and pass a filter (see weir.count_jobs). Returns the id of its row in weir.operation, which shows how far it is. Errors: WR010.';
comment on function weir.work_operation(bigint, int) is
  'Does the next batch of an operation, of at most `most`. over: there is nothing left to do, or somebody else is at it. wait_seconds: how long to wait before the next batch. '
  'The service calls it.';
comment on function weir.cancel_operation(bigint) is 'Ends an operation; what it did so far stays done. Errors: WR020, WR021.';
comment on function weir.sweep_operations(int) is 'Removes up to `most` operations that ended more than 30 days ago. Returns how many.';
comment on function weir.sweep_exports(int) is 'Removes up to `most` pieces of exports that ended more than a day ago. Returns how many.';

-- +goose Down
drop function weir.sweep_exports(int), weir.sweep_operations(int), weir.cancel_operation(bigint), weir.work_operation(bigint, int), weir.work_letters(weir.operation, int), weir.work_jobs(weir.operation, int),
  weir.export_lines(bigint[], text), weir.exported_time(timestamptz), weir.start_operation(text, jsonb, float8, boolean, text, jsonb), weir.options_problem(text, jsonb, jsonb),
  weir.count_jobs(jsonb, text, float8), weir.bulk_states(text), weir.jobs_passing(bigint[], jsonb, text[]), weir.job_candidates(jsonb, bigint, bigint, int), weir.job_filter_problem(jsonb);
drop table weir.operation_result, weir.operation;
