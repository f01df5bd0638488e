-- What an enqueue would do, without doing it. The job is enqueued in a subtransaction, explained where it then waits,
-- and taken back. So the checks are those of an enqueue, whatever is added to them, and its locks end with the call.
-- All that is left are numbers of the sequence that were drawn.

create or replace function weir.dry_run(job jsonb) returns jsonb language plpgsql as $$
begin
  return weir.explain_enqueue(weir.impose_on_jobs(jsonb_build_array(dry_run.job)) -> 0, weir.viewer_tenant());
end $$;
comment on function weir.dry_run(jsonb) is
  'What an enqueue of this job, with the fields of weir.enqueue_batch, would do now. It stores nothing. Returns '
  '{valid: true, outcome, job, notes}. outcome: enqueued, duplicate (the job that has its key is in the notes) or '
  'refused (by max_depth or a quota). job: {queue, priority, max_attempts, timeout_seconds, retry, tenant, run_at, '
  'state}. notes: [{code, message, detail}], with queue_is_new, breaker_is_new, duplicate, queue_full, quota_exceeded '
  'and the codes of weir.why. Other refusals are those of an enqueue. Errors: WR006, WR010, WR016, WR018, WR023.';

-- WR099 ends the subtransaction; no caller sees it. A code that ends in 000 would catch its whole class. Variables keep
-- their values.
create or replace function weir.explain_enqueue(job jsonb, viewer text default null) returns jsonb
language plpgsql as $$
declare
  answer jsonb;
begin
  begin
    answer := weir.try_enqueue(explain_enqueue.job, explain_enqueue.viewer);
    raise exception using errcode = 'WR099', message = 'a dry run is taken back';
  exception when sqlstate 'WR099' then
    return answer;
  end;
end $$;
comment on function weir.explain_enqueue(jsonb, text) is
  'Internal, for weir.dry_run and nodes: enqueues a job, explains it and takes it back. viewer: as of weir.why_job. '
  'Errors: WR006, WR010, WR016, WR018, WR023.';

create or replace function weir.dry_run_note(code text, message text, detail jsonb default null) returns jsonb
language sql immutable as $$
  select jsonb_build_array(jsonb_strip_nulls(jsonb_build_object('code', code, 'message', message, 'detail', detail)))
$$;
comment on function weir.dry_run_note(text, text, jsonb) is 'Internal. A note of weir.dry_run, in an array.';

create or replace function weir.try_enqueue(job jsonb, viewer text) returns jsonb language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  queue_name constant text := coalesce(job ->> 'queue', 'default');
  queue_is_new constant boolean := not exists (select from weir.queue q where q.name = queue_name
    and q.deleted_at is null);
  breaker_is_new constant boolean := job ->> 'breaker' is not null and not exists (select from weir.breaker b
    where b.name = job ->> 'breaker' and b.deleted_at is null);
  notes jsonb := '[]';
  job_id bigint; is_duplicate boolean; at timestamptz; state text;  -- null of a job that is refused
  q weir.queue;
  outcome text;
  refusal text; message text; quota text;
begin
  begin
    select b.job_id, b.duplicate, b.run_at, b.state into job_id, is_duplicate, at, state
    from weir.enqueue_batch(jsonb_build_array(job)) b;
    outcome := case when is_duplicate then 'duplicate' else 'enqueued' end;
  exception when sqlstate 'WR013' or sqlstate 'WR019' then
    get stacked diagnostics refusal = returned_sqlstate, message = message_text,
      quota = pg_exception_detail;
    outcome := 'refused';
    perform weir.ensure_queues(array[queue_name]);
  end;
  select * into q from weir.queue x where x.name = queue_name;
  if queue_is_new then
    notes := notes || weir.dry_run_note('queue_is_new', format('there is no queue %s: the job would create it',
      queue_name));
  end if;
  if breaker_is_new then
    notes := notes || weir.dry_run_note('breaker_is_new', format('there is no circuit breaker %s: the job would '
      'create it', weir.shown_breaker(job ->> 'breaker', viewer)));
  end if;
  if outcome = 'duplicate' then
    notes := notes || weir.dry_run_note('duplicate', format('job %s has its key, and would be the answer',
      job_id), jsonb_build_object('job_id', job_id::text));
  elsif outcome = 'refused' then
    notes := notes || weir.dry_run_note(case refusal when 'WR013' then 'queue_full' else 'quota_exceeded' end,
      message, case when quota like '{%' then quota::jsonb end);
  else
    notes := notes || (select coalesce(jsonb_agg(weir.dry_run_note(w.code, w.says, w.detail) -> 0 order by w.n), '[]')
      from weir.why_job(job_id, case when viewer is null then weir.sees_one_tenant(job_id)
        else viewer is distinct from q.tenant end, viewer) with ordinality w(code, says, detail, n));
  end if;
  return jsonb_build_object('valid', true, 'outcome', outcome, 'notes', notes, 'job', jsonb_strip_nulls(
    jsonb_build_object('queue', queue_name, 'tenant', coalesce(q.tenant, job ->> 'tenant'),
      'priority', coalesce((job ->> 'priority')::numeric::int, q.priority),
      'max_attempts', coalesce((job ->> 'max_attempts')::numeric::int, q.max_attempts),
      'timeout_seconds', coalesce((job ->> 'timeout_seconds')::numeric::int, q.timeout_seconds),
      'retry', weir.default_retry() || coalesce(nullif(job -> 'retry', 'null'), q.retry),
      'run_at', case when outcome = 'enqueued' then weir.print_time(at) end,
      'state', case when outcome = 'enqueued' then state end)));
end $$;
comment on function weir.try_enqueue(jsonb, text) is
  'Internal, for weir.explain_enqueue, which takes it back: enqueues a job and reports the outcome. viewer: as of '
  'weir.why_job. Errors: WR006, WR010, WR016, WR018, WR023.';
