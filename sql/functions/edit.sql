-- Editing: changing a job that waits.

create or replace function weir.edit(job_id bigint, changes jsonb) returns text language plpgsql set jit = off
  set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  took record;
  fact weir.job;
  was jsonb;
  problem text[];
  allowed text[] := '{priority,run_at,max_attempts,timeout_seconds,tags}';
  new_run_at timestamptz;
  new_state text;
begin
  perform weir.require_job(edit.job_id, '{operator}');
  if jsonb_typeof(changes) is distinct from 'object' then
    perform weir.refuse_argument('changes', 'must be a JSON object');
  elsif changes = '{}' then
    perform weir.refuse_argument('changes', 'must name something to change');
  elsif changes - allowed <> '{}' then
    perform weir.refuse_argument(weir.first_key(changes - allowed), 'cannot be changed',
      'These can: priority, run_at, max_attempts, timeout_seconds, tags.');
  end if;
  problem := weir.job_problem(changes || '{"kind": "x"}');
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  lock table weir.job_ready in row exclusive mode;
  perform weir.lock_workflows_of(array[edit.job_id]);  -- before its place, if it is a step
  select * into took from weir.take_waiting(edit.job_id);
  if took.was is null then
    if not exists (select from weir.job j where j.id = edit.job_id) then
      perform weir.refuse_stale(edit.job_id);
    end if;
    raise exception using errcode = 'WR004', message = format('job %s is running or has ended', edit.job_id),
      hint = 'Only a job that waits can be changed.';
  end if;
  select jsonb_build_object('priority', j.priority, 'max_attempts', j.max_attempts, 'timeout_seconds',
    j.timeout_seconds, 'tags', j.tags, 'run_at', took.run_at) into was from weir.job j where j.id = edit.job_id;
  update weir.job j set
    priority = coalesce((changes ->> 'priority')::numeric::smallint, j.priority),
    max_attempts = coalesce((changes ->> 'max_attempts')::numeric::smallint, j.max_attempts),
    timeout_seconds = coalesce((changes ->> 'timeout_seconds')::numeric::int, j.timeout_seconds),
    tags = case when jsonb_typeof(changes -> 'tags') = 'array'
      then array(select jsonb_array_elements_text(changes -> 'tags')) else j.tags end
  where j.id = edit.job_id returning * into fact;
  new_run_at := coalesce((changes ->> 'run_at')::timestamptz, took.run_at);
  new_state := case when took.was = 'held' and took.held_reason <> 'line' then 'held'
    when new_run_at > clock_timestamp() then case when took.was = 'retryable' then 'retryable' else 'scheduled' end
    else 'available' end;
  if new_state = 'held' then
    insert into weir.job_held (job_id, held_at, queue_id, priority, attempt, reason, key)
    values (edit.job_id, took.held_at, fact.queue_id, fact.priority, took.attempt, took.held_reason, took.held_key);
  elsif new_state = 'available' then
    -- Its old place cannot be told from a claimed one, so it gets a new one.
    insert into weir.job_ready (queue_id, priority, attempt, seq, job_id)
    values (fact.queue_id, fact.priority, took.attempt, nextval('weir.job_id_seq'), edit.job_id);
    perform weir.wake(array(select q.name from weir.queue q where q.id = fact.queue_id));
    new_state := case when (select q.governed from weir.queue q where q.id = fact.queue_id) then 'held'
      else new_state end;
  else
    insert into weir.job_scheduled (job_id, run_at, queue_id, priority, attempt, retryable)
    values (edit.job_id, new_run_at, fact.queue_id, fact.priority, took.attempt, new_state = 'retryable');
  end if;
  insert into weir.job_event (job_id, kind, attempt, state, run_at, detail)
  values (edit.job_id, 'edited', took.attempt, new_state::weir.job_state, case
    when new_state in ('scheduled', 'retryable') then new_run_at end, changes);
  perform weir.record_change('editJob', 'jobs/' || edit.job_id,
    weir.audited_settings(was, array(select jsonb_object_keys(changes))), changes);
  return new_state;
end $$;
comment on function weir.edit(bigint, jsonb) is
  'Changes a job that waits: {priority, run_at, max_attempts, timeout_seconds, tags}. An available job goes to the '
  'end of its priority. Returns its state. Errors: WR002, WR004, WR010.';
