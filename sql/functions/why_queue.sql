-- Why the jobs of a queue do not run now: each reason, and how many jobs it holds up. weir.why tells it of one job.

create or replace function weir.why_queue(queue text)
returns table (code text, message text, jobs bigint, detail jsonb) language plpgsql stable as $$
begin
  perform weir.require_queues('reader', array[why_queue.queue]);
  return query select r.code, r.message, r.jobs, r.detail
    from weir.queue_reasons(why_queue.queue, weir.viewer_tenant()) r;
end $$;
comment on function weir.why_queue(text) is
  'The reasons why jobs of a queue do not run now, and how many jobs each holds up, the most specific first. code: '
  'queue_paused, queue_held (by its circuit breaker), no_node, no_worker, waiting (workers have not claimed them yet), '
  'held_line, held_breaker (one row for each of the twenty breakers that hold most), held_dependency, held_signal, '
  'held_timer, held_workflow, scheduled, retry_wait; next: nothing waits. New codes may be added. Counts are bounded '
  'as those of weir.queue_depth; detail has or_more where one of the queue''s counts stopped at its bound. '
  'Errors: WR011.';

-- What holds up the jobs that may be claimed: the first of these that is so counts for all of them. viewer: as of
-- weir.why_job.
create or replace function weir.waiting_reason(q weir.queue, depth jsonb, viewer text, out code text,
  out message text, out detail jsonb) language plpgsql stable as $$
declare
  gate record;
begin
  select * into gate from weir.breaker_reason(null, q.id, viewer);
  detail := jsonb_build_object('oldest_seconds',
    round(extract(epoch from (depth ->> 'oldest_available')::interval), 3));
  if (depth ->> 'paused')::boolean then
    code := 'queue_paused';
    message := 'the queue is paused' || coalesce(': ' || (depth ->> 'pause_reason'), '');
    detail := detail || jsonb_build_object('paused_at', q.paused_at, 'reason', depth -> 'pause_reason',
      'resume_at', depth -> 'resume_at');
  elsif gate.code is not null then
    code := 'queue_held';
    message := gate.message;
    detail := detail || gate.detail;
  elsif (depth ->> 'available')::bigint = 0 then
    return;
  elsif not weir.recently_claimed(q.id, q.name) then
    code := 'no_worker';
    message := 'no worker waits for jobs of the queue, has one, or ended one in the last five minutes';
  else
    code := 'waiting';
    message := 'its workers have not claimed them yet';
    detail := detail || jsonb_build_object('running', depth -> 'running');
  end if;
  detail := jsonb_strip_nulls(detail);
end $$;
comment on function weir.waiting_reason(weir.queue, jsonb, text) is
  'Internal, for weir.why_queue: what holds up the available jobs of a queue. depth: its row of weir.queue_depth.';

create or replace function weir.held_reasons(q weir.queue, viewer text)
returns table (code text, message text, jobs bigint, detail jsonb) language sql stable
set jit = off as $$
  with held as (
    select h.reason, case when h.reason = 'breaker' then h.key end as key, count(*) as jobs
    from (
      select x.reason, x.key from (select y.queue_id, y.reason, y.key from weir.job_held y limit 200000) x
        where x.queue_id = (q).id
      union all  -- jobs that no node has put into their lines yet
      select 'line', null from (select from weir.job_ready r where (q).governed and r.queue_id = (q).id limit 100000) r
    ) h group by 1, 2 order by 3 desc limit 25
  )
  select 'held_' || h.reason,
    case h.reason
      when 'line' then 'they wait for their turn: the limits of the queue let no more run'
      when 'breaker' then format('circuit breaker %s holds them', weir.shown_breaker(h.key, viewer))
      when 'dependency' then 'they are steps that wait for other jobs'
      when 'signal' then 'they are steps that wait for a signal'
      when 'timer' then 'they are steps that wait for a time'
      else 'they are steps that wait for the end of a workflow' end,
    h.jobs,
    case h.reason
      when 'line' then jsonb_strip_nulls(jsonb_build_object('limits', (q).limits, 'in_flight',
        (select count(*) from weir.job_lease l where l.queue_id = (q).id)))
      when 'breaker' then (select jsonb_strip_nulls(jsonb_build_object('breaker', weir.shown_breaker(b.name, viewer),
          'state', b.state, 'since', b.changed_at, 'next_probe_at', b.next_probe_at, 'pinned', b.pinned))
        from weir.breaker b where b.name = h.key) end
  from held h order by array_position('{line,breaker,dependency,signal,timer,workflow}'::text[], h.reason), h.jobs desc
$$;
comment on function weir.held_reasons(weir.queue, text) is
  'Internal, for weir.why_queue: what the held jobs of a queue wait for.';

create or replace function weir.queue_reasons(queue text, viewer text)
returns table (code text, message text, jobs bigint, detail jsonb) language plpgsql stable
set jit = off as $$
#variable_conflict use_column
declare
  q weir.queue;
  depth record;
  waiting record;
  found_any boolean := false;
  overdue bigint;
  more jsonb := '{}';  -- beside each count, where one stopped at its bound
begin
  select * into q from weir.queue x where x.name = queue_reasons.queue and x.deleted_at is null;
  if not found then
    perform weir.refuse_queue(queue_reasons.queue);
  end if;
  select * into depth from weir.queue_depth d where d.queue = q.name;
  if not depth.exact then
    more := '{"or_more": true}';
  end if;
  select * into waiting from weir.waiting_reason(q, to_jsonb(depth), viewer);
  if waiting.code is not null then
    return query select waiting.code, waiting.message, depth.available, waiting.detail || more;
    found_any := true;
  end if;
  return query select h.code, h.message, h.jobs, nullif(coalesce(h.detail, '{}') || more, '{}')
    from weir.held_reasons(q, viewer) h;
  found_any := found_any or found;
  overdue := (select count(*) from (select s.queue_id from weir.job_scheduled s
    where s.run_at < clock_timestamp() - interval '10 s' order by s.run_at limit 200000) s where s.queue_id = q.id);
  if overdue > 0 then
    return query select 'no_node', 'they are due, but no running node makes them available', overdue,
      nullif(more, '{}');
  end if;
  if depth.scheduled > 0 then
    return query select 'scheduled', 'they wait for their time', depth.scheduled,
      jsonb_build_object('next_run_at', depth.next_run_at) || more;
  end if;
  if depth.retryable > 0 then
    return query select 'retry_wait', 'an attempt failed, and the next one waits for its time', depth.retryable,
      jsonb_build_object('next_run_at', depth.next_run_at) || more;
  end if;
  if not found_any and overdue = 0 and depth.scheduled = 0 and depth.retryable = 0 then
    return query select 'next', 'no job waits: the next one is claimed at once', 0::bigint, null::jsonb;
  end if;
end $$;
comment on function weir.queue_reasons(text, text) is
  'Internal, for weir.why_queue: the reasons. viewer: the tenant that the caller is bound to, as of weir.why_job. '
  'Errors: WR011.';
