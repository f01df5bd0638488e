-- Cancelling: a waiting job ends at once, a running one is asked to stop.

-- Takes a waiting job out of its place. Returns where it was: scheduled, retryable, held, available; or null.
-- Locks: its one row, which is gone then.
create or replace function weir.take_waiting(job_id bigint, out was weir.job_state, out attempt smallint,
  out run_at timestamptz,
  out held_at timestamptz, out held_reason text, out held_key text)
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  fact record;
  place int;
begin
  delete from weir.job_scheduled s where s.job_id = take_waiting.job_id
    returning case when s.retryable then 'retryable' else 'scheduled' end, s.attempt, s.run_at into was, attempt,
      run_at;
  if found then return; end if;
  delete from weir.job_held h where h.job_id = take_waiting.job_id returning 'held', h.attempt, h.held_at, h.reason,
    h.key into was, attempt, held_at, held_reason, held_key;
  if found then return; end if;
  delete from weir.job_ready r where r.job_id = take_waiting.job_id returning 'available', r.attempt,
    r.queue_id into was, attempt, place;
  if exists (select from weir.queue q where q.admitted_id = place) then
    perform weir.on_admitted_jobs_removed(array[take_waiting.job_id]);
  end if;
  if was is not null then return; end if;
  select j.queue_id, j.priority into fact from weir.job j where j.id = take_waiting.job_id;
  delete from weir.job_ready r where r.queue_id = fact.queue_id and r.priority = fact.priority
    and r.seq = take_waiting.job_id and r.job_id is null
    returning 'available', r.attempt into was, attempt;
end $$;
comment on function weir.take_waiting(bigint) is
  'Internal. Takes a waiting job out of its place and says which that was, or null.';

create or replace function weir.cancel(job_id bigint) returns text language plpgsql set jit = off
  set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  took_from weir.job_state;
  made smallint;
  ended weir.job_state;
  is_step boolean := (select j.workflow_id is not null from weir.job j where j.id = cancel.job_id);
  locked boolean := false;
begin
  perform weir.require_job(cancel.job_id, '{operator}');
  if is_step is null then
    perform weir.refuse_stale(cancel.job_id);
  end if;
  for round in 1..case when is_step then 25 else 5 end loop
    -- For a waiting step, the workflow is locked before its place. For a running one, the lease would have to come
    -- first, but the caller may hold the workflow from an earlier call: so this never waits for a lease, because a
    -- session that ends the step waits for the workflow.
    if is_step and not locked and not exists (select from weir.job_lease l where l.job_id = cancel.job_id) then
      perform weir.lock_workflows_of(array[cancel.job_id]);
      locked := true;
    end if;
    if locked or not is_step then
      select t.was, t.attempt into took_from, made from weir.take_waiting(cancel.job_id) t;
    end if;
    if took_from is not null then
      insert into weir.job_outcome (job_id, queue_id, state, attempt)
      select j.id, j.queue_id, 'cancelled', made from weir.job j where j.id = cancel.job_id;
      perform weir.on_jobs_ended(weir.jobs_with_followers(array[cancel.job_id]));
      perform weir.record_change('cancelJob', 'jobs/' || cancel.job_id, jsonb_build_object('state', took_from),
        '{"state": "cancelled"}');
      return 'cancelled';
    end if;
    if is_step then
      perform from weir.job_lease l where l.job_id = cancel.job_id for update skip locked;
      if not found and exists (select from weir.job_lease l where l.job_id = cancel.job_id) then
        perform pg_sleep(0.01);
        continue;
      end if;
    end if;
    with asked as (
      update weir.job_lease l set cancel_requested_at = coalesce(l.cancel_requested_at, clock_timestamp())
        where l.job_id = cancel.job_id returning l.*
    )
    insert into weir.job_event (job_id, kind, attempt, state, worker) select a.job_id, 'cancel_requested', a.attempt,
      'running', a.worker from asked a;
    if found then
      perform weir.record_change('cancelJob', 'jobs/' || cancel.job_id, '{"state": "running"}',
        '{"state": "running", "cancel_requested": true}');
      return 'running';
    end if;
    select o.state into ended from weir.job_outcome o where o.job_id = cancel.job_id;
    if found then
      raise exception using errcode = 'WR003', message = format('job %s has ended: it is %s', cancel.job_id, ended),
        hint = 'Only a job that waits or runs can be cancelled.';
    end if;
  end loop;
  raise exception using errcode = 'serialization_failure', message = format('job %s kept moving', cancel.job_id),
    hint = 'Try again.';
end $$;
comment on function weir.cancel(bigint) is
  'Cancels a job. One that waits is cancelled; one that runs goes on until its worker learns of it at its next '
  'heartbeat, or its lease ends. Returns cancelled or running. Errors: WR002, WR003.';
