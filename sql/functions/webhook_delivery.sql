-- Deliveries: one for each event that a webhook receives, with the attempts to send it.

create or replace function weir.event_body(id text, event text, at timestamptz, job_id bigint, queue text, kind text,
  attempt int, worker text, run_at timestamptz, error jsonb, error_text boolean) returns jsonb
language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('id', id, 'event', event, 'at',
    to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'job_id', job_id::text, 'queue', queue,
    'kind', kind, 'attempt', attempt, 'worker', worker, 'run_at',
      to_char(run_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'error', jsonb_build_object('message', case when error_text then left(error ->> 'message', 200) end,
      'type', left(error ->> 'type', 200))))
      - case when error is null then 'error' else '' end
$$;
comment on function weir.event_body(text, text, timestamptz, bigint, text, text, int, text, timestamptz, jsonb,
  boolean) is
  'Internal. An event as webhooks receive it. Of an error they get the type and, with error_text, the first 200 '
  'characters of its message: weir work puts what a command wrote to standard error behind its exit status.';

create or replace function weir.test_webhook(name text, tenant text default null) returns bigint language plpgsql as $$
declare
  w weir.webhook := weir.lock_webhook(test_webhook.name, test_webhook.tenant);
  new_id bigint;
begin
  insert into weir.webhook_delivery as d (webhook_id, event_id, event, body)
  select w.id, e.id, 'test',
    weir.event_body(e.id, 'test', clock_timestamp(), null, null, null, null, null, null, null, false)
  from (select 'test-' || gen_random_uuid() as id) e
  returning d.id into new_id;
  perform weir.record_change('testWebhook', weir.object_path('webhooks', w.name, w.tenant), null,
    jsonb_build_object('delivery', new_id::text));
  return new_id;
end $$;
comment on function weir.test_webhook(text, text) is
  'Sends a webhook an event named test, even while it is disabled. Returns the id of its row in '
  'weir.webhook_delivery, which shows the result. Errors: WR040.';

-- Returns 0 while another session does the same. Locks: the webhook's row. READ COMMITTED only: after it has read
-- up to where all events are visible, it must see all that was committed by then.
create or replace function weir.create_deliveries(webhook_id bigint, most int default 20000, out noted int,
  out behind boolean) language plpgsql
set jit = off set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  w weir.webhook;
  settled_at timestamptz;
  settled_seq bigint;
  now_at timestamptz;
  from_at timestamptz;
  until_at timestamptz;
  to_seq bigint;
  states weir.job_state[];
  event_kinds weir.event_kind[];
  taken record;
begin
  noted := 0;
  behind := false;
  select * into w from weir.webhook x where x.id = create_deliveries.webhook_id
    and x.disabled_at is null for update skip locked;
  if not found or (select count(*) from (select from weir.webhook_delivery d where d.webhook_id = w.id
    and d.state = 'pending' limit 10000) x) >= 10000 then
    return;
  end if;
  select m.settled_at, least(m.seq, (select min(s) from unnest(m.holder_seqs) s)) into settled_at, settled_seq
    from weir.watermark m order by m.tick desc limit 1;
  now_at := clock_timestamp();
  states := array(select e::weir.job_state from unnest(w.events) e where e in ('completed', 'cancelled', 'dead'));
  event_kinds := array(select e::weir.event_kind from unnest(w.events) e
    where e = any (enum_range(null::weir.event_kind)::text[]));
  -- While a long transaction is open, only the last seconds are scanned again. After its end, everything since its
  -- start is.
  from_at := case when settled_at > w.cursor_at then w.cursor_at
    else greatest(w.cursor_at, w.scanned_at - interval '10 s') end;
  until_at := case when settled_at > from_at + interval '1 minute' then from_at + interval '1 minute'
    else 'infinity' end;
  to_seq := w.cursor_seq;
  if 'enqueued' = any (w.events) and settled_seq > w.cursor_seq then
    to_seq := coalesce((select max(x.id) from (select j.id from weir.job j where j.id > w.cursor_seq and j.id <=
      settled_seq order by j.id limit most) x having count(*) = most), settled_seq);
  end if;
  with moments as (
    select o.finished_at as at, o.state::text as event, o.job_id, o.attempt, o.worker, null::timestamptz as run_at,
      o.error
    from weir.job_outcome o where states <> '{}' and o.finished_at >= from_at and o.finished_at < until_at
      and o.state = any (states)
    union all  -- if a job was run again, the event has its earlier end
    select weir.ended_at(e.detail), e.detail ->> 'state', e.job_id, e.attempt, e.detail ->> 'worker', null,
      e.detail -> 'error'
    from weir.job_event e where states <> '{}' and e.kind in ('retried', 'redriven') and weir.ended_at(e.detail) >=
      from_at and weir.ended_at(e.detail) < until_at
      and e.detail ->> 'state' = any (states::text[])
    union all
    select e.at, e.kind::text, e.job_id, e.attempt, e.worker, e.run_at, case
      when e.kind in ('failed', 'timed_out', 'lost') then e.detail end
    from weir.job_event e where event_kinds <> '{}' and e.at >= from_at and e.at < until_at
      and e.kind = any (event_kinds)
  ), matching as (
    select m.*, q.name as queue, j.kind from moments m
    cross join lateral (select f.queue_id, f.kind, f.tenant from weir.job f where f.id = m.job_id offset 0) j
    join weir.queue q on q.id = j.queue_id
    where (w.queues = '{}' or q.name = any (w.queues)) and (w.kinds = '{}' or j.kind = any (w.kinds))
      and (w.tenant is null or j.tenant = w.tenant)
    order by m.at fetch first (most) rows with ties
  ), enqueued as (
    select j.created_at as at, 'enqueued' as event, j.id as job_id, 0::smallint as attempt, null::text as worker,
      j.run_at, null::jsonb as error, q.name as queue, j.kind
    from weir.job j join weir.queue q on q.id = j.queue_id
    where j.id > w.cursor_seq and j.id <= to_seq and 'enqueued' = any (w.events)
      and (w.queues = '{}' or q.name = any (w.queues)) and (w.kinds = '{}' or j.kind = any (w.kinds))
      and (w.tenant is null or j.tenant = w.tenant)
  ), told as (
    insert into weir.webhook_delivery (webhook_id, event_id, event, job_id, body)
    select w.id, x.id, x.event, x.job_id, weir.event_body(x.id, x.event, x.at, x.job_id, x.queue, x.kind, x.attempt,
      x.worker, x.run_at, x.error, w.error_text)
    from (select a.*, format('%s-%s-%s-%s', a.job_id, a.event, a.attempt,
      (date_part('epoch', a.at) * 1000000)::bigint) as id
          from (select * from enqueued union all select m.at, m.event, m.job_id, m.attempt, m.worker, m.run_at,
            m.error, m.queue, m.kind from matching m) a order by a.at, a.job_id) x
    on conflict on constraint webhook_delivery_is_of_one_event do nothing returning 1
  )
  select (select count(*) from told) as told, (select count(*) from matching) as looked,
    (select max(m.at) from matching m) as last into taken;
  noted := taken.told;
  behind := taken.looked >= most or until_at < 'infinity' or to_seq < settled_seq and 'enqueued' = any (w.events);
  until_at := least(settled_at, until_at, case when taken.looked >= most then taken.last end);
  if noted > 0 or behind or to_seq > w.cursor_seq or now_at > w.scanned_at + interval '5 s' then
    update weir.webhook x set cursor_at = greatest(x.cursor_at, until_at), cursor_seq = case
      when 'enqueued' = any (w.events) then to_seq else greatest(x.cursor_seq, settled_seq) end, scanned_at = now_at
    where x.id = w.id;
  end if;
end $$;
comment on function weir.create_deliveries(bigint, int) is
  'Internal. Creates deliveries for the next events of a webhook. behind: more events are there already.';

-- A delivery that River has not worked within five minutes of its time, because its node died, is due again; River's
-- earlier job for it no longer counts. Locks: their rows, skip locked.
create or replace function weir.dispatch_deliveries(most int) returns table (delivery_id bigint, take int)
language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if not exists (select from weir.webhook_delivery x where x.state = 'pending' and x.next_at <= statement_timestamp())
    then
    return;  -- the usual case, checked every second
  end if;
  return query
  with due as (
    update weir.webhook_delivery d set next_at = clock_timestamp() + interval '5 min', takes = d.takes + 1
      where d.id = any (array(
      select x.id from weir.webhook_delivery x where x.state = 'pending' and x.next_at <= statement_timestamp()
        order by x.next_at, x.id limit most for update skip locked))
    returning d.id, d.takes
  )
  select u.id, u.takes from due u order by u.id;
end $$;
comment on function weir.dispatch_deliveries(int) is
  'Internal. Up to `most` deliveries that are due, for River to work.';

-- Locks: the delivery's row, then the webhook's.
create or replace function weir.record_delivery_attempt(delivery_id bigint, ok boolean, status int, error text,
  duration_seconds float8, retry_in interval) returns void language plpgsql as $$
#variable_conflict use_column
declare
  d weir.webhook_delivery;
  w weir.webhook;
begin
  update weir.webhook_delivery x set state = case when ok then 'delivered' when retry_in is null
    or record_delivery_attempt.status = 410 then 'failed' else x.state end, attempts = x.attempts + 1,
    status = record_delivery_attempt.status, error = left(record_delivery_attempt.error, 500),
      duration_seconds = record_delivery_attempt.duration_seconds, tried_at = clock_timestamp(),
    next_at = clock_timestamp() + coalesce(retry_in, '0') + interval '5 min'
  where x.id = delivery_id and x.state = 'pending' returning * into d;
  if d.job_id is null then
    return;  -- it is a test, or no longer pending
  end if;
  if ok then
    update weir.webhook x set failing_since = null where x.id = d.webhook_id and x.failing_since is not null;
    return;
  end if;
  update weir.webhook x set failing_since = clock_timestamp() where x.id = d.webhook_id and x.failing_since is null;
  select * into w from weir.webhook x where x.id = d.webhook_id;
  if record_delivery_attempt.status = 410 then
    perform weir.act_as_engine();
    perform weir.disable_webhook(w.name, 'the receiver answered 410: gone', w.tenant);
  elsif w.failing_since + make_interval(secs => w.disable_after_seconds) <= clock_timestamp() then
    perform weir.act_as_engine();
    perform weir.disable_webhook(w.name, left(format('every attempt has failed since %s; the last one: %s',
      to_char(w.failing_since at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), record_delivery_attempt.error), 500),
      w.tenant);
  end if;
end $$;
comment on function weir.record_delivery_attempt(bigint, boolean, int, text, float8, interval) is
  'Internal. Records an attempt to deliver. retry_in: time until the next attempt, null: there is none.';

create or replace function weir.sweep_deliveries(most int default 10000, kept_for interval default '7 days')
returns int language sql as $$
  with gone as (
    delete from weir.webhook_delivery d where d.id = any (array(
      select x.id from weir.webhook_delivery x where x.created_at < now() - kept_for and x.state <> 'pending'
        order by x.created_at limit most for update skip locked)) returning 1
  )
  select count(*)::int from gone
$$;
comment on function weir.sweep_deliveries(int, interval) is
  'Removes up to `most` deliveries that are not pending and are older than kept_for. Returns how many.';
