-- Webhooks: who is told over HTTPS of what happens to jobs, and what became of telling them.
--
-- Nothing is written for them when jobs move. Each webhook has a cursor: everything before it has been noted as deliveries. A note of the next events
-- and the move of the cursor are one transaction, so a node that dies loses none. What may still become visible behind the cursor (weir.settled) is
-- looked at again, and told apart by the event's id, which is made of the job, the event, the attempt and the time.
-- A webhook whose receiver is slow has its cursor wait: not more than some ten thousand deliveries are pending.
--
-- +goose Up
create table weir.webhook (
  id bigint generated always as identity constraint webhook_pkey primary key,
  name text not null constraint webhook_name_is_unique unique constraint webhook_name_is_short_and_plain check (name ~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$'),
  url text not null constraint webhook_is_told_over_https check (url ~ '^https://'),
  events text[] not null,
  queues text[] not null default '{}',
  kinds text[] not null default '{}',
  timeout_seconds int not null default 10 constraint webhook_timeout_is_1_to_30_seconds check (timeout_seconds between 1 and 30),
  disable_after_seconds int not null default 259200 constraint webhook_is_disabled_after_1_minute_to_30_days check (disable_after_seconds between 60 and 2592000),
  secret text not null,
  old_secret text,
  old_secret_until timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  disabled_reason text,
  failing_since timestamptz,
  cursor_at timestamptz not null default clock_timestamp(),
  cursor_seq bigint not null,
  looked_at timestamptz not null default clock_timestamp()
);
comment on table weir.webhook is 'One row a webhook: whom to tell, of what, and how far they have been told.';
comment on column weir.webhook.id is 'Names it in weir.webhook_delivery.';
comment on column weir.webhook.name is 'What people and programs call it.';
comment on column weir.webhook.url is 'Where to post events, over HTTPS.';
comment on column weir.webhook.events is 'Which events it is told of: enqueued, completed, cancelled, dead, or a weir.event_kind.';
comment on column weir.webhook.queues is 'Only jobs of these queues; empty: of all.';
comment on column weir.webhook.kinds is 'Only jobs of these kinds; empty: of all.';
comment on column weir.webhook.timeout_seconds is 'How long the receiver may take to answer.';
comment on column weir.webhook.disable_after_seconds is 'It is disabled when every attempt has failed for so long.';
comment on column weir.webhook.secret is 'What signatures are made with: whsec_ and 32 random bytes in base64. Whoever reads it can sign.';
comment on column weir.webhook.old_secret is 'The secret before it was rotated, which signs too until old_secret_until.';
comment on column weir.webhook.old_secret_until is 'Until when the old secret signs too.';
comment on column weir.webhook.created_at is 'When it was made.';
comment on column weir.webhook.disabled_at is 'Since when it is told nothing; null: it is told.';
comment on column weir.webhook.disabled_reason is 'Why it is disabled.';
comment on column weir.webhook.failing_since is 'When the first attempt failed after the last that did not; null: the last one did not.';
comment on column weir.webhook.cursor_at is 'All events before then are noted,';
comment on column weir.webhook.cursor_seq is 'and all jobs enqueued up to this id.';
comment on column weir.webhook.looked_at is 'When it was last looked for events.';

create table weir.webhook_delivery (
  id bigint generated always as identity constraint webhook_delivery_pkey primary key,
  webhook_id bigint not null,
  event_id text not null,
  event text not null,
  job_id bigint,
  body jsonb not null,
  state text not null default 'pending' constraint webhook_delivery_state_is_known check (state in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  status int,
  error text,
  duration_seconds float8,
  created_at timestamptz not null default clock_timestamp(),
  next_at timestamptz not null default clock_timestamp(),
  takes int not null default 0,
  tried_at timestamptz,
  constraint webhook_delivery_is_of_one_event unique (webhook_id, event_id)
);
create index webhook_delivery_due on weir.webhook_delivery (next_at, id) where state = 'pending';
create index webhook_delivery_pending on weir.webhook_delivery (webhook_id) where state = 'pending';
create index webhook_delivery_newest on weir.webhook_delivery (webhook_id, id);
create index webhook_delivery_created_at on weir.webhook_delivery (created_at);
comment on table weir.webhook_delivery is 'What a webhook is told, or was in the last week, and what became of it.';
comment on column weir.webhook_delivery.id is 'Grows with the order in which events were noted.';
comment on column weir.webhook_delivery.webhook_id is 'weir.webhook.id';
comment on column weir.webhook_delivery.event_id is 'Names the event; the same in each attempt, and for each webhook that is told of it.';
comment on column weir.webhook_delivery.event is 'What happened.';
comment on column weir.webhook_delivery.job_id is 'To which job; null: it is a test.';
comment on column weir.webhook_delivery.body is 'What is sent.';
comment on column weir.webhook_delivery.state is 'pending, delivered (the receiver answered with a status of 200 to 299), or failed (it did not, and is not tried any more).';
comment on column weir.webhook_delivery.attempts is 'Attempts made.';
comment on column weir.webhook_delivery.status is 'Status of the last answer; null: there was none.';
comment on column weir.webhook_delivery.error is 'Why the last attempt failed.';
comment on column weir.webhook_delivery.duration_seconds is 'How long the last attempt took.';
comment on column weir.webhook_delivery.created_at is 'When the event was noted.';
comment on column weir.webhook_delivery.next_at is 'While it is pending: River works it, or is given it then.';
comment on column weir.webhook_delivery.takes is 'How often it was given to River. Only the last one counts.';
comment on column weir.webhook_delivery.tried_at is 'When the last attempt ended.';

-- +goose StatementBegin
create function weir.webhook_id(name text) returns bigint language plpgsql stable as $$
declare
  found_id bigint := (select w.id from weir.webhook w where w.name = webhook_id.name);
begin
  if found_id is null then
    raise exception using errcode = 'WR040', message = format('there is no webhook %L', webhook_id.name), hint = 'weir.webhooks lists those there are; weir.set_webhook makes one.';
  end if;
  return found_id;
end $$;

create function weir.names_problem(names jsonb, longest int) returns text language sql immutable as $$
  select case
    when names is null or jsonb_typeof(names) = 'null' then null
    when jsonb_typeof(names) <> 'array' then 'must be an array of strings'
    when jsonb_array_length(names) > 100 then 'must name at most 100'
    when exists (select from jsonb_array_elements(names) n where jsonb_typeof(n) <> 'string' or length(n #>> '{}') not between 1 and longest)
      then 'must be an array of strings of 1 to ' || longest || ' characters' end
$$;

create function weir.webhook_problem(settings jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(settings) is distinct from 'object' then array['settings', 'must be a JSON object']
    when settings - '{url,events,queues,kinds,timeout_seconds,disable_after_seconds}'::text[] <> '{}' then
      array[weir.first_key(settings - '{url,events,queues,kinds,timeout_seconds,disable_after_seconds}'::text[]), 'is no setting of a webhook']
    else (select array[p.field, p.problem] from (values
      ('url', case
        when settings ->> 'url' is null then null
        when jsonb_typeof(settings -> 'url') <> 'string' or length(settings ->> 'url') > 2000 then 'must be a string of at most 2000 characters'
        when settings ->> 'url' !~ '^https://' then 'must begin with https://'
        when settings ->> 'url' !~ '^https://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][^[:space:]#]*)?$' then 'must be https:// with a host, without a user, fragment or spaces' end),
      ('events', coalesce(weir.names_problem(settings -> 'events', 50), case when jsonb_typeof(settings -> 'events') = 'array' then case
        when settings -> 'events' = '[]' then 'must name at least one event'
        when exists (select from jsonb_array_elements_text(settings -> 'events') e
          where e <> all (array['enqueued', 'completed', 'cancelled', 'dead'] || enum_range(null::weir.event_kind)::text[])) then
          'knows only ' || array_to_string(array['enqueued', 'completed', 'cancelled', 'dead'] || enum_range(null::weir.event_kind)::text[], ', ') end end)),
      ('queues', weir.names_problem(settings -> 'queues', 128)),
      ('kinds', weir.names_problem(settings -> 'kinds', 200)),
      ('timeout_seconds', weir.integer_problem(settings -> 'timeout_seconds', 1, 30)),
      ('disable_after_seconds', weir.integer_problem(settings -> 'disable_after_seconds', 60, 2592000))) p(field, problem) where p.problem is not null limit 1)
  end
$$;

create function weir.new_secret() returns text language sql volatile as $$
  select 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64')
$$;

create function weir.set_webhook(name text, settings jsonb, make boolean default null) returns text language plpgsql as $$
#variable_conflict use_variable
declare
  problem text[] := weir.webhook_problem(settings);
  new_secret text;
  texts text[];
begin
  if set_webhook.name is null or set_webhook.name !~ '^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$' then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  if make is false or make is null and exists (select from weir.webhook w where w.name = set_webhook.name) then
    update weir.webhook w set
      url = coalesce(settings ->> 'url', w.url),
      events = case when jsonb_typeof(settings -> 'events') = 'array' then array(select distinct e from jsonb_array_elements_text(settings -> 'events') e order by e) else w.events end,
      queues = case when jsonb_typeof(settings -> 'queues') = 'array' then array(select jsonb_array_elements_text(settings -> 'queues')) else w.queues end,
      kinds = case when jsonb_typeof(settings -> 'kinds') = 'array' then array(select jsonb_array_elements_text(settings -> 'kinds')) else w.kinds end,
      timeout_seconds = coalesce((settings ->> 'timeout_seconds')::numeric::int, w.timeout_seconds),
      disable_after_seconds = coalesce((settings ->> 'disable_after_seconds')::numeric::int, w.disable_after_seconds)
    where w.id = weir.webhook_id(set_webhook.name);
    return null;
  end if;
  if settings ->> 'url' is null then
    perform weir.refuse_argument('url', 'is required');
  elsif settings ->> 'events' is null then
    perform weir.refuse_argument('events', 'is required');
  end if;
  new_secret := weir.new_secret();
  insert into weir.webhook as w (name, url, events, queues, kinds, timeout_seconds, disable_after_seconds, secret, cursor_seq)
  values (set_webhook.name, settings ->> 'url', array(select distinct e from jsonb_array_elements_text(settings -> 'events') e order by e),
    array(select jsonb_array_elements_text(case when jsonb_typeof(settings -> 'queues') = 'array' then settings -> 'queues' else '[]' end)),
    array(select jsonb_array_elements_text(case when jsonb_typeof(settings -> 'kinds') = 'array' then settings -> 'kinds' else '[]' end)),
    coalesce((settings ->> 'timeout_seconds')::numeric::int, 10), coalesce((settings ->> 'disable_after_seconds')::numeric::int, 259200), new_secret,
    coalesce(pg_sequence_last_value('weir.job_id_seq'), 0))
  on conflict on constraint webhook_name_is_unique do nothing;
  if not found then
    raise exception using errcode = 'WR041', message = format('there is a webhook %L already', set_webhook.name), hint = 'Choose another name, or change the one that is there.';
  end if;
  return new_secret;
end $$;

create function weir.delete_webhook(name text) returns void language plpgsql as $$
declare
  gone bigint := weir.webhook_id(delete_webhook.name);
begin
  delete from weir.webhook w where w.id = gone;
  delete from weir.webhook_delivery d where d.webhook_id = gone;
end $$;

create function weir.rotate_webhook_secret(name text, keep_old interval default '1 day') returns text language plpgsql as $$
declare
  made text := weir.new_secret();
begin
  if keep_old is null or keep_old < interval '0' or keep_old > interval '30 days' then
    perform weir.refuse_argument('keep_old', 'must be from 0 to 30 days');
  end if;
  update weir.webhook w set old_secret = w.secret, old_secret_until = clock_timestamp() + keep_old, secret = made where w.id = weir.webhook_id(rotate_webhook_secret.name);
  return made;
end $$;

-- Locks: the webhook's row, then its pending deliveries.
create function weir.disable_webhook(name text, reason text default null) returns void language plpgsql as $$
declare
  ended bigint;
begin
  if length(reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  end if;
  update weir.webhook w set disabled_at = clock_timestamp(), disabled_reason = coalesce(reason, 'by hand')
  where w.id = weir.webhook_id(disable_webhook.name) and w.disabled_at is null returning w.id into ended;
  update weir.webhook_delivery d set state = 'failed', error = coalesce(d.error, 'the webhook was disabled') where d.webhook_id = ended and d.state = 'pending' and d.job_id is not null;
end $$;

create function weir.enable_webhook(name text) returns void language sql as $$
  update weir.webhook w set disabled_at = null, disabled_reason = null, failing_since = null, cursor_at = clock_timestamp(), looked_at = clock_timestamp(),
    cursor_seq = coalesce(pg_sequence_last_value('weir.job_id_seq'), 0)
  where w.id = weir.webhook_id(enable_webhook.name) and w.disabled_at is not null
$$;

create function weir.event_body(id text, event text, at timestamptz, job_id bigint, queue text, kind text, attempt int, worker text, run_at timestamptz, error jsonb) returns jsonb
language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('id', id, 'event', event, 'at', to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'job_id', job_id::text, 'queue', queue,
    'kind', kind, 'attempt', attempt, 'worker', worker, 'run_at', to_char(run_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'error', jsonb_build_object('message', error ->> 'message', 'type', error ->> 'type'))) - case when error is null then 'error' else '' end
$$;

create function weir.test_webhook(name text) returns bigint language sql as $$
  insert into weir.webhook_delivery (webhook_id, event_id, event, body)
  select w.id, e.id, 'test', weir.event_body(e.id, 'test', clock_timestamp(), null, null, null, null, null, null, null)
  from (select weir.webhook_id(test_webhook.name) as id) w, (select 'test-' || gen_random_uuid() as id) e
  returning id
$$;

-- The next events of one webhook. Whoever comes while another is at it gets 0. Locks: the webhook's row.
-- READ COMMITTED only: it must see what was committed before it read how far everything is visible.
create function weir.note_deliveries(webhook_id bigint, most int default 20000, out noted int, out behind boolean) language plpgsql
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
  select * into w from weir.webhook x where x.id = note_deliveries.webhook_id and x.disabled_at is null for update skip locked;
  if not found or (select count(*) from (select from weir.webhook_delivery d where d.webhook_id = w.id and d.state = 'pending' limit 10000) x) >= 10000 then
    return;
  end if;
  select m.settled_at, least(m.seq, (select min(s) from unnest(m.holder_seqs) s)) into settled_at, settled_seq from weir.watermark m order by m.tick desc limit 1;
  now_at := clock_timestamp();
  states := array(select e::weir.job_state from unnest(w.events) e where e in ('completed', 'cancelled', 'dead'));
  event_kinds := array(select e::weir.event_kind from unnest(w.events) e where e = any (enum_range(null::weir.event_kind)::text[]));
  -- While a transaction is open for long, only the last seconds are looked at again; when it has ended, all from its beginning.
  from_at := case when settled_at > w.cursor_at then w.cursor_at else greatest(w.cursor_at, w.looked_at - interval '10 s') end;
  until_at := case when settled_at > from_at + interval '1 minute' then from_at + interval '1 minute' else 'infinity' end;
  to_seq := w.cursor_seq;
  if 'enqueued' = any (w.events) and settled_seq > w.cursor_seq then
    to_seq := coalesce((select max(x.id) from (select j.id from weir.job j where j.id > w.cursor_seq and j.id <= settled_seq order by j.id limit most) x having count(*) = most), settled_seq);
  end if;
  with moments as (
    select o.finished_at as at, o.state::text as event, o.job_id, o.attempt, o.worker, null::timestamptz as run_at, o.error
    from weir.job_outcome o where states <> '{}' and o.finished_at >= from_at and o.finished_at < until_at and o.state = any (states)
    union all  -- of a job that was run again since, the event says how it had ended
    select weir.ended_at(e.detail), e.detail ->> 'state', e.job_id, e.attempt, e.detail ->> 'worker', null, e.detail -> 'error'
    from weir.job_event e where states <> '{}' and e.kind in ('retried', 'redriven') and weir.ended_at(e.detail) >= from_at and weir.ended_at(e.detail) < until_at
      and e.detail ->> 'state' = any (states::text[])
    union all
    select e.at, e.kind::text, e.job_id, e.attempt, e.worker, e.run_at, case when e.kind in ('failed', 'timed_out', 'lost') then e.detail end
    from weir.job_event e where event_kinds <> '{}' and e.at >= from_at and e.at < until_at and e.kind = any (event_kinds)
  ), matching as (
    select m.*, q.name as queue, j.kind from moments m
    cross join lateral (select f.queue_id, f.kind from weir.job f where f.id = m.job_id offset 0) j
    join weir.queue q on q.id = j.queue_id
    where (w.queues = '{}' or q.name = any (w.queues)) and (w.kinds = '{}' or j.kind = any (w.kinds))
    order by m.at fetch first (most) rows with ties
  ), enqueued as (
    select j.created_at as at, 'enqueued' as event, j.id as job_id, 0::smallint as attempt, null::text as worker, j.run_at, null::jsonb as error, q.name as queue, j.kind
    from weir.job j join weir.queue q on q.id = j.queue_id
    where j.id > w.cursor_seq and j.id <= to_seq and 'enqueued' = any (w.events)
      and (w.queues = '{}' or q.name = any (w.queues)) and (w.kinds = '{}' or j.kind = any (w.kinds))
  ), told as (
    insert into weir.webhook_delivery (webhook_id, event_id, event, job_id, body)
    select w.id, x.id, x.event, x.job_id, weir.event_body(x.id, x.event, x.at, x.job_id, x.queue, x.kind, x.attempt, x.worker, x.run_at, x.error)
    from (select a.*, format('%s-%s-%s-%s', a.job_id, a.event, a.attempt, (date_part('epoch', a.at) * 1000000)::bigint) as id
          from (select * from enqueued union all select m.at, m.event, m.job_id, m.attempt, m.worker, m.run_at, m.error, m.queue, m.kind from matching m) a order by a.at, a.job_id) x
    on conflict on constraint webhook_delivery_is_of_one_event do nothing returning 1
  )
  select (select count(*) from told) as told, (select count(*) from matching) as looked, (select max(m.at) from matching m) as last into taken;
  noted := taken.told;
  behind := taken.looked >= most or until_at < 'infinity' or to_seq < settled_seq and 'enqueued' = any (w.events);
  until_at := least(settled_at, until_at, case when taken.looked >= most then taken.last end);
  if noted > 0 or behind or to_seq > w.cursor_seq or now_at > w.looked_at + interval '5 s' then
    update weir.webhook x set cursor_at = greatest(x.cursor_at, until_at), cursor_seq = case when 'enqueued' = any (w.events) then to_seq else greatest(x.cursor_seq, settled_seq) end, looked_at = now_at
    where x.id = w.id;
  end if;
end $$;

-- Takes deliveries that are due, for River to work. What River has not worked within five minutes of its time (its node died) is due again, and what it
-- was given before does not count any more. Locks: their rows, skip locked.
create function weir.take_deliveries(most int) returns table (delivery_id bigint, take int) language plpgsql set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if not exists (select from weir.webhook_delivery x where x.state = 'pending' and x.next_at <= statement_timestamp()) then
    return;  -- as nearly always, and this is asked every second
  end if;
  return query
  with due as (
    update weir.webhook_delivery d set next_at = clock_timestamp() + interval '5 min', takes = d.takes + 1 where d.id = any (array(
      select x.id from weir.webhook_delivery x where x.state = 'pending' and x.next_at <= statement_timestamp() order by x.next_at, x.id limit most for update skip locked))
    returning d.id, d.takes
  )
  select u.id, u.takes from due u order by u.id;
end $$;

-- What came of an attempt. Locks: the delivery's row, then the webhook's.
create function weir.note_attempt(delivery_id bigint, ok boolean, status int, error text, duration_seconds float8, retry_in interval) returns void language plpgsql as $$
#variable_conflict use_column
declare
  d weir.webhook_delivery;
  w weir.webhook;
begin
  update weir.webhook_delivery x set state = case when ok then 'delivered' when retry_in is null or note_attempt.status = 410 then 'failed' else x.state end, attempts = x.attempts + 1,
    status = note_attempt.status, error = left(note_attempt.error, 500), duration_seconds = note_attempt.duration_seconds, tried_at = clock_timestamp(),
    next_at = clock_timestamp() + coalesce(retry_in, '0') + interval '5 min'
  where x.id = delivery_id and x.state = 'pending' returning * into d;
  if d.job_id is null then
    return;  -- it is a test, or nobody waits for it any more
  end if;
  if ok then
    update weir.webhook x set failing_since = null where x.id = d.webhook_id and x.failing_since is not null;
    return;
  end if;
  update weir.webhook x set failing_since = clock_timestamp() where x.id = d.webhook_id and x.failing_since is null;
  select * into w from weir.webhook x where x.id = d.webhook_id;
  if note_attempt.status = 410 then
    perform weir.disable_webhook(w.name, 'the receiver answered 410: gone');
  elsif w.failing_since + make_interval(secs => w.disable_after_seconds) <= clock_timestamp() then
    perform weir.disable_webhook(w.name, left(format('every attempt has failed since %s; the last one: %s',
      to_char(w.failing_since at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), note_attempt.error), 500));
  end if;
end $$;

create function weir.sweep_deliveries(most int default 10000, kept_for interval default '7 days') returns int language sql as $$
  with gone as (
    delete from weir.webhook_delivery d where d.id = any (array(
      select x.id from weir.webhook_delivery x where x.created_at < now() - kept_for and x.state <> 'pending' order by x.created_at limit most for update skip locked)) returning 1
  )
  select count(*)::int from gone
$$;
-- +goose StatementEnd

create view weir.webhooks as
select w.name, w.url, w.events, w.queues, w.kinds, w.timeout_seconds, w.disable_after_seconds, w.created_at, w.disabled_at, w.disabled_reason, w.failing_since,
  case when w.old_secret_until > clock_timestamp() then w.old_secret_until end as old_secret_until, w.id,
  (select count(*) from weir.webhook_delivery d where d.webhook_id = w.id and d.state = 'pending') as pending
from weir.webhook w;
comment on view weir.webhooks is 'One row a webhook, without its secret; weir.webhook_delivery says what it was told.';
comment on column weir.webhooks.pending is 'Deliveries that are not made yet.';

comment on function weir.webhook_id(text) is 'Internal. The id of a webhook. Raises WR040 webhook_not_found.';
comment on function weir.names_problem(jsonb, int) is 'Internal. What is wrong with a JSON value that should be absent or an array of names, or null.';
comment on function weir.webhook_problem(jsonb) is 'Internal. What is wrong with settings of a webhook: the field and why, or null.';
comment on function weir.new_secret() is 'Internal. A secret of 32 bytes.';
comment on function weir.set_webhook(text, jsonb, boolean) is
  'Makes a webhook, or changes the settings that are named: {url, events, queues, kinds, timeout_seconds, disable_after_seconds}; url and events are required of a new one. '
  'make => true: there must be none of that name yet; false: there must be one. Returns the secret of a new one, which is not shown again; null where it was there. Errors: WR010, WR040, WR041.';
comment on function weir.delete_webhook(text) is 'Removes a webhook, and what is noted of its deliveries. Errors: WR040.';
comment on function weir.rotate_webhook_secret(text, interval) is 'Gives a webhook a new secret and returns it; the old one signs too for keep_old, at most 30 days. Errors: WR010, WR040.';
comment on function weir.disable_webhook(text, text) is 'Tells a webhook nothing more; what is pending fails. Errors: WR010, WR040.';
comment on function weir.enable_webhook(text) is 'Tells a disabled webhook again, of what happens from now on. Errors: WR040.';
comment on function weir.event_body(text, text, timestamptz, bigint, text, text, int, text, timestamptz, jsonb) is 'Internal. An event as webhooks are told of it.';
comment on function weir.test_webhook(text) is 'Sends a webhook an event named test, even while it is disabled. Returns the id of its row in weir.webhook_delivery, which says what came of it. Errors: WR040.';
comment on function weir.note_deliveries(bigint, int) is 'Internal. Notes the next events that a webhook is to be told of. behind: more are there already.';
comment on function weir.take_deliveries(int) is 'Internal. Up to `most` deliveries that are due, for River to work.';
comment on function weir.note_attempt(bigint, boolean, int, text, float8, interval) is 'Internal. What came of an attempt to deliver; retry_in: when the next one is, null: there is none.';
comment on function weir.sweep_deliveries(int, interval) is 'Removes up to `most` deliveries that are not pending and were noted longer ago than kept_for. Returns how many.';

-- A column of the view that is a column of the table says what that one says.
-- +goose StatementBegin
do $do$
declare
  c record;
begin
  for c in select a.attname as name, col_description(b.attrelid, b.attnum) as description from pg_attribute a join pg_attribute b on b.attname = a.attname
    where a.attrelid = 'weir.webhooks'::regclass and a.attnum > 0 and col_description(a.attrelid, a.attnum) is null and b.attrelid = 'weir.webhook'::regclass
  loop
    execute format('comment on column weir.webhooks.%I is %L', c.name, c.description);
  end loop;
end $do$;
-- +goose StatementEnd

-- +goose Down
drop view weir.webhooks;
drop function weir.sweep_deliveries(int, interval), weir.note_attempt(bigint, boolean, int, text, float8, interval), weir.take_deliveries(int), weir.note_deliveries(bigint, int), weir.test_webhook(text),
  weir.event_body(text, text, timestamptz, bigint, text, text, int, text, timestamptz, jsonb), weir.enable_webhook(text), weir.disable_webhook(text, text), weir.rotate_webhook_secret(text, interval),
  weir.delete_webhook(text), weir.set_webhook(text, jsonb, boolean), weir.new_secret(), weir.webhook_problem(jsonb), weir.names_problem(jsonb, int), weir.webhook_id(text);
drop table weir.webhook_delivery, weir.webhook;
