-- When the backlog of a queue is gone, at the rates of the last minutes.

create or replace function weir.forecast_queue(queue text, window_seconds int default 900,
  out waiting bigint, out exact boolean, out enqueued_per_second float8, out ended_per_second float8,
  out since timestamptz, out until timestamptz, out outlook text, out gone_at timestamptz,
  out gone_without_more_at timestamptz) language plpgsql stable as $$
begin
  perform weir.require_queues('reader', array[forecast_queue.queue]);
  if weir.viewer_tenant() is not null and not exists (select from weir.queue q where q.name = forecast_queue.queue
    and q.tenant = weir.viewer_tenant()) then
    perform weir.refuse_queue(forecast_queue.queue);
  end if;
  select f.* into waiting, exact, enqueued_per_second, ended_per_second, since, until, outlook, gone_at,
    gone_without_more_at from weir.queue_outlook(forecast_queue.queue, window_seconds) f;
end $$;
comment on function weir.forecast_queue(text, int) is
  'When a queue''s backlog is gone. waiting: its jobs that may be claimed, wait in a line for their turn, or run; '
  'counted up to two million (then exact is false). The rates are means from since '
  'to until, the last window_seconds (60 to 86400). outlook: empty, shrinking, growing, stuck (nothing ended in that '
  'time) or paused. gone_at: waiting divided by the difference of the rates, where it shrinks; gone_without_more_at: '
  'divided by ended_per_second, as if no more came. Jobs that wait for a time, a retry or another job are not in '
  'waiting. Errors: WR010, WR011.';

create or replace function weir.queue_outlook(queue text, window_seconds int,
  out waiting bigint, out exact boolean, out enqueued_per_second float8, out ended_per_second float8,
  out since timestamptz, out until timestamptz, out outlook text, out gone_at timestamptz,
  out gone_without_more_at timestamptz) language plpgsql stable set jit = off as $$
declare
  most constant int := 2000000;
  q weir.queue;
  spanned float8;
begin
  if window_seconds is null or window_seconds not between 60 and 86400 then
    perform weir.refuse_argument('window_seconds', 'must be 60 to 86400');
  end if;
  select x.* into q from weir.queue x where x.name = queue_outlook.queue and x.deleted_at is null;
  if not found then
    perform weir.refuse_queue(queue_outlook.queue);
  end if;
  until := least(weir.counted_until(), clock_timestamp());
  since := date_bin('1 minute', until - make_interval(secs => window_seconds), 'epoch');
  spanned := extract(epoch from until - since);
  select sum(r.enqueued + r.rerun) / spanned, sum(r.completed + r.dead + r.cancelled) / spanned
    into enqueued_per_second, ended_per_second from weir.stats_rows(since, until, 60, null, q.name, null) r;
  enqueued_per_second := coalesce(enqueued_per_second, 0);
  ended_per_second := coalesce(ended_per_second, 0);
  waiting := (select count(*) from (select from weir.job_ready r where r.queue_id = q.ready_id limit most) x)
    + (select count(*) from (select from weir.job_ready r where q.governed and r.queue_id = q.id limit most) x)
    + (select count(*) from (select from weir.job_held h where h.queue_id = q.id and h.reason = 'line' limit most) x);
  exact := waiting < most;
  waiting := waiting + (select count(*) from weir.job_lease l where l.queue_id = q.id);
  outlook := case when waiting = 0 then 'empty'
    when q.paused_at is not null and (q.resume_at > clock_timestamp()) is not false then 'paused'
    when ended_per_second = 0 then 'stuck' when ended_per_second > enqueued_per_second then 'shrinking'
    else 'growing' end;
  if outlook in ('shrinking', 'growing') then
    gone_without_more_at := weir.moment_after(until, waiting / ended_per_second);
  end if;
  if outlook = 'shrinking' then
    gone_at := weir.moment_after(until, waiting / (ended_per_second - enqueued_per_second));
  end if;
end $$;
comment on function weir.queue_outlook(text, int) is
  'Internal, for weir.forecast_queue: the forecast. Errors: WR010, WR011.';

create or replace function weir.moment_after(at timestamptz, seconds float8) returns timestamptz language sql immutable
  return case when seconds < 315576000 then at + make_interval(secs => seconds) end;
comment on function weir.moment_after(timestamptz, float8) is
  'Internal. That moment; null: it is ten years away or more.';
