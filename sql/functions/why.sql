-- Why a job does not run now. Each kind of reason is one statement in weir.why, which is STABLE, so that all see one
-- moment.

-- Each kind of reason is a statement of its own below: one that comes later adds its own. STABLE, so that all of them
-- see one moment.
create or replace function weir.count_ahead(queue_id int, priority smallint, seq bigint, most int default 100000)
returns int language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  floor_seq bigint := (select w.seq from weir.watermark w order by w.tick desc limit 1);
  after bigint[] := (select f.positions from weir.frontier f where f.queue_id = count_ahead.queue_id
    order by f.tick desc limit 1);
  ahead int := 0;
begin
  for p in reverse 10..count_ahead.priority loop
    ahead := ahead + (select count(*) from (select from weir.job_ready r where r.queue_id = count_ahead.queue_id
      and r.priority = p
      and r.seq > coalesce(after[p], floor_seq) and r.seq < case when p = count_ahead.priority then count_ahead.seq
        else 9223372036854775807 end limit most - ahead) x);
    exit when ahead >= most;
  end loop;
  return ahead;
end $$;
comment on function weir.count_ahead(int, smallint, bigint, int) is
  'Internal. How many available jobs of a queue come before a place in it, counted up to `most`.';

-- Whether a worker waits for jobs of this queue, has one, or ended one in the last five minutes. It reads only the ends
-- of the newest jobs.
create or replace function weir.recently_claimed(queue_id int, name text) returns boolean language sql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select exists (select from weir.parked p where p.queue = name and p.until > clock_timestamp())
    or exists (select from weir.job_lease l where l.queue_id = recently_claimed.queue_id)
    or exists (select from (select o.queue_id, o.worker, o.finished_at from weir.job_outcome o order by o.job_id desc
      limit 10000) o
               where o.queue_id = recently_claimed.queue_id and o.worker is not null
                 and o.finished_at > clock_timestamp() - interval '5 minutes')
$$;
comment on function weir.recently_claimed(int, text) is
  'Internal. Whether a worker waits for jobs of a queue, holds one, or ended one in the last five minutes.';

create or replace function weir.why(job_id bigint) returns table (code text, message text, detail jsonb)
language plpgsql stable as $$
begin
  perform weir.require_job(why.job_id, '{producer,reader,operator}');
  return query select w.code, w.message, w.detail from weir.why_job(why.job_id, weir.sees_one_tenant(why.job_id),
    weir.viewer_tenant()) w;
end $$;
comment on function weir.why(bigint) is
  'The reasons why a job does not run now, the most specific first. code: scheduled, retry_wait, held_dependency, '
  'held_line, held_breaker, held_signal, held_timer, held_workflow, no_node, queue_paused, backlog_ahead (detail: '
  'ahead, counted up to 100,000, or_more), no_worker; next: nothing holds it back; running and ended. New codes may '
  'be added. A login with a tenant is not told how many jobs come before it, or are in flight. Errors: WR002.';

-- of_tenant: the caller may know only of one tenant, so it is told no numbers of jobs, which may be of others. viewer:
-- the tenant that the caller is bound to, so it is told no tenant of its circuit breaker.
create or replace function weir.why_job(job_id bigint, of_tenant boolean, viewer text default null)
returns table (code text, message text, detail jsonb)
language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  job record;
  q weir.queue;
  place bigint;
  ahead int;
  paused boolean;
  gate record;
  in_words constant text := 'YYYY-MM-DD HH24:MI:SS "UTC"';
begin
  select j.id, j.state::text as state, j.held_reason, j.attempt, j.max_attempts, j.priority, j.queue_id, j.run_at,
    j.worker, j.started_at, j.finished_at, j.lease_expires_at, j.breaker
    into job from weir.jobs j where j.id = why_job.job_id;
  if not found then
    perform weir.refuse_stale(why_job.job_id);
  end if;
  select * into q from weir.queue x where x.id = job.queue_id;

  if job.state in ('completed', 'cancelled', 'dead') then
    return query select 'ended', format('it has ended: %s', job.state),
      jsonb_build_object('state', job.state, 'finished_at', job.finished_at);
    return;
  elsif job.state = 'running' then
    return query select 'running', format('worker %s has it: attempt %s of %s', to_json(job.worker), job.attempt,
      job.max_attempts),
      jsonb_build_object('worker', job.worker, 'started_at', job.started_at, 'lease_expires_at', job.lease_expires_at);
    return;
  elsif job.state = 'scheduled' then
    return query select 'scheduled', format('it is scheduled for %s',
      to_char(job.run_at at time zone 'UTC', in_words)), jsonb_build_object('run_at', job.run_at);
  elsif job.state = 'retryable' then
    return query select 'retry_wait', format('attempt %s of %s failed, and the next one waits until %s', job.attempt,
      job.max_attempts, to_char(job.run_at at time zone 'UTC', in_words)),
      jsonb_build_object('run_at', job.run_at, 'attempt', job.attempt);
  elsif job.state = 'held' then
    return query select 'held_' || h.reason, case h.reason when 'dependency'
      then coalesce(weir.why_held(job.id), 'it waits for another job') when 'timer' then 'it waits for a time'
      when 'workflow' then 'it waits for the end of a workflow'
        else 'it waits for a signal' end || coalesce(': ' || h.key, ''),
      jsonb_strip_nulls(jsonb_build_object('key', h.key, 'held_at', h.held_at))
    from weir.job_held h where h.job_id = job.id and h.reason in ('dependency', 'signal', 'timer', 'workflow');
    if coalesce(job.held_reason, 'line') = 'line' then
      return query select 'held_line',
        coalesce(case when not of_tenant then l.message end, 'it waits for its turn in a line'),
        case when not of_tenant then l.detail else l.detail - '{ahead,or_more,limit,allowed,in_flight}'::text[] end
      from weir.why_line(job.id) l;
    end if;
  end if;
  select * into gate from weir.breaker_reason(job.breaker, job.queue_id, viewer);
  if gate.code is not null then
    return query select gate.code, gate.message, gate.detail;
  elsif job.state = 'held' and job.held_reason = 'breaker' then
    return query select 'held_breaker', 'its circuit breaker has just closed', null::jsonb;
  end if;

  if job.run_at < clock_timestamp() - interval '10 s' then
    return query select 'no_node', 'it is due, but no running node makes it available',
      null::jsonb;
  end if;
  paused := q.paused_at is not null and (q.resume_at > clock_timestamp()) is not false;
  if paused then
    return query select 'queue_paused', format('queue %s is paused', q.name)
      || coalesce(' until ' || to_char(q.resume_at at time zone 'UTC', in_words), '')
      || coalesce(': ' || q.pause_reason, ''),
      jsonb_strip_nulls(jsonb_build_object('paused_at', q.paused_at, 'reason', q.pause_reason, 'resume_at',
        q.resume_at));
  end if;
  if job.state = 'available' then
    place := coalesce((select r.seq from weir.job_ready r where r.job_id = job.id), job.id);
    ahead := weir.count_ahead(q.ready_id, job.priority, place);
    if ahead > 0 and of_tenant then
      return query select 'backlog_ahead', 'other jobs of its queue come before it', null::jsonb;
    elsif ahead > 0 then
      return query select 'backlog_ahead', format('%s%s of its queue come before it', case ahead when 1 then '1 job'
        else ahead || ' jobs' end, case when ahead >= 100000 then ' or more' else '' end),
        jsonb_build_object('ahead', ahead, 'or_more', ahead >= 100000);
    end if;
  end if;
  if not weir.recently_claimed(q.id, q.name) then
    return query select 'no_worker',
      format('no worker waits for jobs of queue %s, has one, or ended one in the last five minutes', q.name),
      null::jsonb;
  elsif ahead = 0 and not paused and gate.code is null then
    return query select 'next', 'nothing holds it back: the next claim takes it', null::jsonb;
  end if;
end $$;
comment on function weir.why_job(bigint, boolean, text) is 'Internal, for weir.why: the reasons. Errors: WR002.';
