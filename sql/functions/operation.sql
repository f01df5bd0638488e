-- Operations: one call asks for work on many rows, and one node at a time does it in batches.
--
-- A batch and its progress are one transaction, so an interrupted operation continues where it stopped. next_at is when
-- the next batch is due: an unfinished operation that is overdue has lost its node.

create or replace function weir.bulk_states(kind text) returns text[] language sql immutable as $$
  select case kind
    when 'bulk_cancel' then '{available,scheduled,retryable,held,running}'
    when 'bulk_retry' then '{dead,cancelled}'
    when 'bulk_reprioritise' then '{available,scheduled,retryable,held}' end::text[]
$$;
comment on function weir.bulk_states(text) is
  'Internal. The states that a kind of operation applies to if its filter names none; null: all.';

create or replace function weir.options_problem(kind text, filter jsonb, options jsonb) returns text[]
language sql stable as $$
  select case
    when jsonb_typeof(options) is distinct from 'object' then array['options', 'must be an object']
    when options - case kind when 'bulk_reprioritise' then '{priority}' when 'bulk_retry' then '{reset_attempts}'
      when 'export_jobs' then '{format,limit}' else '{}' end::text[] <> '{}' then
      array[weir.first_key(options), 'is not an option of this operation']
    when kind = 'bulk_reprioritise' and (options ->> 'priority' is null
      or weir.integer_problem(options -> 'priority', 1, 10) is not null)
      then array['priority', 'must be a whole number from 1 to 10']
    when jsonb_typeof(options -> 'reset_attempts') not in ('boolean', 'null')
      then array['reset_attempts', 'must be true or false']
    when kind = 'export_jobs' and coalesce(options ->> 'format', 'ndjson') not in ('ndjson', 'csv')
      then array['format', 'must be ndjson or csv']
    when weir.integer_problem(options -> 'limit', 1, 1000000) is not null
      then array['limit', weir.integer_problem(options -> 'limit', 1, 1000000)]
    when not weir.texts_of(filter -> 'state') <@ case when kind in ('bulk_cancel', 'bulk_reprioritise')
      then weir.bulk_states(kind) when kind = 'bulk_retry' then '{dead,cancelled,completed,scheduled,retryable}' end
      then
      array['filter.state', 'is not a state in which jobs can be ' || case kind when 'bulk_cancel' then 'cancelled'
        when 'bulk_retry' then 'run again' else 'given another priority' end]
  end
$$;
comment on function weir.options_problem(text, jsonb, jsonb) is
  'Internal. The first invalid option, or the state in the filter that the operation cannot apply to, and why; null: '
  'none.';

create or replace function weir.start_operation(kind text, filter jsonb default '{}',
  rate_per_second float8 default null, keep_attempts boolean default false, by text default null,
  options jsonb default '{}') returns bigint language plpgsql as $$
#variable_conflict use_variable
declare
  new_id bigint;
  counted record;
  problem text[];
  on_dead_letters boolean := kind in ('redrive_dead', 'purge_dead');
begin
  if kind is null or kind not in ('redrive_dead', 'purge_dead', 'bulk_cancel', 'bulk_retry', 'bulk_reprioritise',
    'export_jobs') then
    perform weir.refuse_argument('kind',
      'must be redrive_dead, purge_dead, bulk_cancel, bulk_retry, bulk_reprioritise or export_jobs');
  elsif rate_per_second not between 1.0 / 86400 and 100000 then
    perform weir.refuse_argument('rate_per_second', 'must be from 1/86400 to 100000');
  elsif weir.requester_problem(by) is not null then
    perform weir.refuse_argument('by', weir.requester_problem(by));
  end if;
  problem := coalesce(case when on_dead_letters then weir.dead_filter_problem(filter)
    else weir.job_filter_problem(filter) end, weir.options_problem(kind, filter, options));
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  if on_dead_letters then
    select weir.count_dead(filter) as total, true as exact into counted;
  else
    select least(c.total, (options ->> 'limit')::bigint) as total, c.exact
      or c.total >= (options ->> 'limit')::bigint is true as exact into counted from weir.count_jobs(filter, kind) c;
  end if;
  insert into weir.operation as o (kind, filter, bounds, keep_attempts, options, requested_by, rate_per_second, total,
    total_exact, until_id)
  values (kind, filter - 'bounds', filter -> 'bounds', coalesce(keep_attempts, false), options, by, rate_per_second,
    counted.total, counted.exact,
    coalesce(pg_sequence_last_value('weir.job_id_seq'), 0))
  returning o.id into new_id;
  -- q, error and args look for a text in args and errors
  perform weir.record_change(case kind when 'redrive_dead' then 'redriveDeadLetters'
    when 'purge_dead' then 'purgeDeadLetters' when 'export_jobs' then 'exportJobs' else 'changeJobs' end,
    'operations/' || new_id, null, jsonb_strip_nulls(jsonb_build_object(
    'kind', kind, 'filter', filter - '{q,error,args,bounds}'::text[], 'options', options,
    'keep_attempts', keep_attempts, 'rate_per_second', rate_per_second, 'by', by, 'total', counted.total)));
  return new_id;
end $$;
comment on function weir.start_operation(text, jsonb, float8, boolean, text, jsonb) is
  'Starts work on many rows, which the service does in the background, oldest first, at up to rate_per_second rows a '
  'second. redrive_dead, purge_dead: dead letters that match a filter (see weir.count_dead) and died before now. '
  'bulk_cancel, bulk_retry (options {reset_attempts}; without a state in the filter: dead and cancelled jobs; no '
  'dead ones whose letter was purged or routed), '
  'bulk_reprioritise (options {priority}), export_jobs (options {format: ndjson or csv, limit}): jobs that exist now '
  'and match a filter (see weir.count_jobs). Returns the id of its row in weir.operation, which shows its progress. '
  'Errors: WR010.';

-- A batch of an operation on jobs. A job that moves meanwhile is left as it is: it counts as failed at the end.
-- Locks: those of the function for its kind.
create or replace function weir.run_job_batch(op weir.operation, most int, out did int, out passed bigint)
language plpgsql as $$
declare
  states text[] := case when op.filter ->> 'state' is null then weir.bulk_states(op.kind) end;
  step record;
  ids bigint[];
  steps bigint[];
begin
  did := 0;
  most := least(most, 500, case when op.kind = 'export_jobs' then
    coalesce((op.options ->> 'limit')::numeric, 1000000) - op.done end);
  if op.cursor_id >= op.until_id or most <= 0 then
    return;
  end if;
  select s.ids, s.reached into step from weir.search_step(op.filter || case when states is null then '{}'
    else jsonb_build_object('state', states) end, op.cursor_id, 500, true) s;
  passed := least(coalesce(step.reached, op.until_id), op.until_id);
  ids := array(select p from weir.filter_job_ids(step.ids, op.filter, states) p where p <= op.until_id
    order by p limit most);
  if cardinality(ids) = most then
    passed := ids[most];
  end if;
  if op.kind = 'bulk_retry' then
    ids := weir.bulk_retryable(ids);
  end if;
  if op.kind = 'export_jobs' then
    select * into did, passed from weir.run_export_batch(op, ids, passed);
  elsif op.kind = 'bulk_reprioritise' then
    perform weir.lock_workflows_of(ids);  -- of steps, in lock order
    did := weir.reprioritise_jobs(ids, (op.options ->> 'priority')::numeric::int);
  else
    -- What happens to one step of a workflow can decide about the next: they are done one by one, up to fifty.
    steps := array(select s.id from weir.job s where s.id = any (ids) and s.id between ids[1] and passed
      and s.workflow_id is not null order by s.id limit 51);
    if cardinality(steps) > 50 then
      passed := steps[51] - 1;
      steps := steps[:50];
    end if;
    ids := array(select i from unnest(ids) i where i <= passed and i <> all (steps) order by i);
    did := weir.run_step_batch(op, steps) + case when op.kind = 'bulk_cancel' then weir.cancel_jobs(ids)
      else weir.retry_jobs(ids, coalesce((op.options ->> 'reset_attempts')::boolean, false)) end;
  end if;
end $$;
comment on function weir.run_job_batch(weir.operation, int) is
  'Internal. Runs the next batch of an operation on jobs. passed: the id that it has reached; null: nothing is left.';

create or replace function weir.run_export_batch(op weir.operation, ids bigint[], up_to bigint, out did int,
  out passed bigint) language plpgsql as $$
declare
  written record;
begin
  did := 0;
  passed := up_to;
  if ids = '{}' then
    return;
  end if;
  select * into written from weir.export_lines(ids, coalesce(op.options ->> 'format', 'ndjson'));
  did := coalesce(written.exported, 0);
  if did < cardinality(ids) and written.last is not null then
    passed := written.last;
  end if;
  if written.lines is not null then
    insert into weir.operation_result (operation_id, n, body) values (op.id, op.pieces + 1, written.lines);
    update weir.operation o set pieces = op.pieces + 1 where o.id = op.id;
  end if;
end $$;
comment on function weir.run_export_batch(weir.operation, bigint[], bigint) is
  'Internal. Exports these jobs, as many as fit into a piece. passed: the id that it has reached.';

-- The savepoint of each (a PL/pgSQL block with an exception) is why a batch has fifty at most. Locks: the workflows of
-- the steps if it cancels them, then those of weir.cancel or weir.retry, one step after the other.
create or replace function weir.run_step_batch(op weir.operation, steps bigint[]) returns int language plpgsql as $$
declare
  one bigint;
  did int := 0;
begin
  if op.kind = 'bulk_cancel' then
    perform weir.lock_workflows_of(steps);
  end if;
  foreach one in array steps loop
    begin
      if op.kind = 'bulk_cancel' then
        perform weir.cancel(one);
      else
        perform weir.retry(one, coalesce((op.options ->> 'reset_attempts')::boolean, false));
      end if;
      did := did + 1;
    exception when sqlstate 'WR002' or sqlstate 'WR003' or sqlstate 'WR005' or sqlstate 'WR019' or sqlstate 'WR018'
      or serialization_failure then
      null;  -- it has changed state, its tenant is at its quota, or its queue is another tenant's now
    end;
  end loop;
  return did;
end $$;
comment on function weir.run_step_batch(weir.operation, bigint[]) is
  'Internal. Cancels or retries steps of workflows. Returns how many.';

-- A batch of an operation on dead letters. Locks: the rows of the letters.
create or replace function weir.run_dead_letter_batch(op weir.operation, most int, out did int,
  out cursor_at timestamptz, out cursor_id bigint) language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  looked record;
  ids bigint[];
  last int;
begin
  did := 0;
  select array_agg(c.job_id order by c.died_at, c.job_id) as ids,
    array_agg(c.died_at order by c.died_at, c.job_id) as times, count(*)::int as n into looked from (
    select d.job_id, d.died_at from weir.job_dead d where (d.died_at, d.job_id) > (op.cursor_at, op.cursor_id)
      and d.died_at < op.created_at
    order by d.died_at, d.job_id limit 2000) c;
  if looked.n = 0 then
    return;
  end if;
  ids := array(select u.id from weir.filter_dead_letter_ids(looked.ids, op.filter) p(id) join unnest(looked.ids) with
    ordinality u(id, n) on u.id = p.id order by u.n limit most);
  last := case when cardinality(ids) = most then array_position(looked.ids, ids[most]) else looked.n end;
  if op.kind = 'redrive_dead' then
    did := (select count(*) from weir.run_again(weir.charge_again(weir.fitting_jobs(ids, true), true), 'redriven',
      not op.keep_attempts, op.requested_by));
  else
    did := weir.purge_dead_letters(ids, op.requested_by);
  end if;
  cursor_at := looked.times[last];
  cursor_id := looked.ids[last];
end $$;
comment on function weir.run_dead_letter_batch(weir.operation, int) is
  'Internal. Runs the next batch of an operation on dead letters. cursor_id: the id that it has reached; null: '
  'nothing is left.';

-- One batch. A caller that comes while another runs the operation gets over = true, as if there were nothing to do.
-- Locks: the operation's row, then those of the letters or jobs.
create or replace function weir.run_operation(operation_id bigint, most int default 500, out over boolean,
  out wait_seconds float8)
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
  perform weir.act_as_engine();
  now_at := clock_timestamp();
  if op.next_at > now_at then
    wait_seconds := extract(epoch from op.next_at - now_at);
    return;
  end if;
  if op.bounds is not null then
    op.filter := op.filter || jsonb_build_object('bounds', op.bounds);
  end if;
  batch := least(most, greatest(1, ceil(coalesce(op.rate_per_second, 'infinity') / 4)));
  if op.kind in ('redrive_dead', 'purge_dead') then
    select w.did, w.cursor_at, w.cursor_id into did, to_at, to_id from weir.run_dead_letter_batch(op, batch) w;
  else
    select w.did, w.passed into did, to_id from weir.run_job_batch(op, batch) w;
  end if;
  over := to_id is null;
  update weir.operation o set
    state = case when over then 'completed' else 'running' end,
    done = o.done + did,
    total = greatest(o.total, o.done + did),
    total_exact = o.total_exact or over,
    failed = case when over then greatest(o.total - o.done - did, 0) else 0 end,
    started_at = coalesce(o.started_at, now_at),
    finished_at = case when over then clock_timestamp() end,
    next_at = case when o.rate_per_second is null or o.started_at is null then now_at
      else greatest(o.next_at, now_at - interval '0.5 s') end
      + make_interval(secs => coalesce(did / o.rate_per_second, 0)),
    cursor_at = coalesce(to_at, o.cursor_at),
    cursor_id = coalesce(to_id, o.cursor_id)
  where o.id = operation_id;
end $$;
comment on function weir.run_operation(bigint, int) is
  'Runs the next batch of an operation, of up to `most` rows. over: nothing is left to do, or another session runs '
  'it. wait_seconds: time until the next batch. The service calls it.';

create or replace function weir.cancel_operation(operation_id bigint) returns void language plpgsql as $$
declare
  op weir.operation;
begin
  select * into op from weir.operation o where o.id = operation_id for update;
  if not found then
    raise exception using errcode = 'WR020', message = format('there is no operation %s', operation_id),
      hint = 'Operations are kept for 30 days after their end.';
  elsif op.finished_at is not null then
    raise exception using errcode = 'WR021', message = format('operation %s has ended: it is %s', operation_id,
      op.state), hint = 'What it has done stays done.';
  end if;
  update weir.operation o set state = 'cancelled', finished_at = clock_timestamp() where o.id = operation_id;
  perform weir.record_change('cancelOperation', 'operations/' || operation_id, jsonb_build_object('state', op.state),
    '{"state": "cancelled"}');
end $$;
comment on function weir.cancel_operation(bigint) is
  'Ends an operation. What it has done stays done. Errors: WR020, WR021.';

create or replace function weir.sweep_operations(most int default 1000) returns int language sql as $$
  with gone as (
    delete from weir.operation o where o.id = any (array(
      select x.id from weir.operation x where x.finished_at < now() - interval '30 days'
        limit most for update skip locked)) returning o.id
  )
  select count(*)::int from gone
$$;
comment on function weir.sweep_operations(int) is
  'Removes up to `most` operations that ended more than 30 days ago. Returns how many.';
