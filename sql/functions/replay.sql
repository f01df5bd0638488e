-- Replays: a new job that is a copy of another one, in whatever state that is.

create or replace function weir.replay(job_id bigint, changes jsonb default '{}') returns bigint language plpgsql as $$
declare
  copy jsonb;
begin
  perform weir.require_job(replay.job_id, '{operator}');
  copy := weir.replayed_job(replay.job_id, replay.changes);
  if session_user <> current_user then
    perform weir.refuse_forged(replay.changes -> 'args', 'args');
    perform weir.require_replay_queue(copy ->> 'queue');
  end if;
  return weir.store_replay(replay.job_id, copy);
end $$;
comment on function weir.replay(bigint, jsonb) is
  'Enqueues a copy of a job, in any state, and returns its id. It has the kind, args, queue, priority, max_attempts, '
  'timeout_seconds, retry, result_ttl_seconds, tags, metadata, tenant, concurrency_key and breaker; not the unique or '
  'idempotency key, the parent, the workflow and the schedule. changes: {args, queue}, both optional. Both timelines '
  'say replayed. Errors: WR002, WR010, WR011, WR013, WR016, WR018, WR019, WR023.';

create or replace function weir.require_replay_queue(queue text) returns void language plpgsql stable as $$
begin
  if not weir.is_owner() and (queue like any ((weir.login_as('operator')).patterns)) is not true then
    perform weir.refuse_queue(queue);
  end if;
end $$;
comment on function weir.require_replay_queue(text) is
  'Internal. Raises WR011 queue_not_found for a queue that the operator''s login has no access to.';

create or replace function weir.replayed_job(job_id bigint, changes jsonb) returns jsonb language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  j weir.job;
  now record;
begin
  if jsonb_typeof(changes) is distinct from 'object' then
    perform weir.refuse_argument('changes', 'must be a JSON object {args, queue}');
  elsif changes - '{args,queue}'::text[] <> '{}' then
    perform weir.refuse_argument(weir.first_key(changes - '{args,queue}'::text[]), 'cannot be changed',
      'A replay can change args and queue.');
  elsif weir.name_problem(changes -> 'queue') is not null then
    perform weir.refuse_argument('queue', weir.name_problem(changes -> 'queue'));
  elsif weir.size_problem(changes -> 'args', 1048576) is not null then
    perform weir.refuse_argument('args', weir.size_problem(changes -> 'args', 1048576));
  end if;
  select x.* into j from weir.job x where x.id = replayed_job.job_id;
  if not found then
    perform weir.refuse_unknown_job(replayed_job.job_id);
  elsif exists (select from weir.workflow_step s where s.job_id = j.id
    and (s.wait_for is not null or s.workflow is not null)) then
    perform weir.refuse_argument('job_id', 'is a step without a worker, which cannot be replayed');
  end if;
  select v.priority, v.queue into now from weir.jobs v where v.id = j.id;
  return jsonb_build_object('kind', j.kind, 'args', coalesce(changes -> 'args', j.args),
      'queue', coalesce(changes ->> 'queue', now.queue), 'priority', now.priority, 'max_attempts', j.max_attempts,
      'timeout_seconds', j.timeout_seconds)
    || case when j.metadata is not null then jsonb_build_object('metadata', j.metadata) else '{}' end
    || jsonb_strip_nulls(jsonb_build_object('retry', j.retry, 'tags', j.tags, 'tenant', j.tenant, 'breaker', j.breaker,
      'concurrency_key', j.concurrency_key, 'result_ttl_seconds', j.result_ttl_seconds));
end $$;
comment on function weir.replayed_job(bigint, jsonb) is
  'Internal, for weir.replay and nodes: a job as weir.enqueue_batch takes it, with changes. Errors: WR002, WR010.';

-- Locks: those of an enqueue.
create or replace function weir.store_replay(job_id bigint, copy jsonb, principal int default 0) returns bigint
language plpgsql as $$
declare
  made record;
begin
  select b.job_id as id, b.created_at into made
  from weir.enqueue_batch(jsonb_build_array(store_replay.copy), principals => array[store_replay.principal]) b;
  insert into weir.job_event (job_id, at, kind, attempt, detail)
  values (made.id, made.created_at, 'replayed', 0, jsonb_build_object('replay_of', store_replay.job_id::text)),
    (store_replay.job_id, made.created_at, 'replayed', coalesce((select v.attempt from weir.jobs v
      where v.id = store_replay.job_id), 0), jsonb_build_object('job_id', made.id::text));
  perform weir.record_change('replayJob', 'jobs/' || store_replay.job_id, null,
    jsonb_build_object('job_id', made.id::text, 'queue', store_replay.copy ->> 'queue'));
  return made.id;
end $$;
comment on function weir.store_replay(bigint, jsonb, int) is
  'Internal, for weir.replay: enqueues a copy of a job and links the two by events.';

create or replace function weir.replay_as(job_id bigint, changes jsonb, principal int) returns bigint
language plpgsql as $$
begin
  return weir.store_replay(replay_as.job_id, weir.replayed_job(replay_as.job_id, replay_as.changes),
    replay_as.principal);
end $$;
comment on function weir.replay_as(bigint, jsonb, int) is
  'Internal, for nodes: weir.replay for a principal (weir.principal.id; 0: none), which they have checked.';
