-- Webhooks: HTTPS receivers of events, and their settings.
--
-- A change of a job writes nothing for webhooks. Instead each webhook has a cursor in the stream of events, and every
-- event before the cursor has its delivery. One transaction creates deliveries and moves the cursor, so none is lost
-- when a node dies. Events that may still appear behind the cursor (weir.settled) are scanned again; those that have a
-- delivery are recognised by the id of the event, made of job, event, attempt and time. A webhook has about 10,000
-- pending deliveries at most; then its cursor waits.

create or replace function weir.refuse_unknown_webhook(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR040', message = format('there is no webhook %L', refuse_unknown_webhook.name),
    hint = 'weir.webhooks lists those there are; weir.set_webhook makes one.';
end $$;
comment on function weir.refuse_unknown_webhook(text) is 'Internal. Raises WR040 webhook_not_found.';

-- Locks: the webhook's row.
create or replace function weir.lock_webhook(name text, tenant text, must_exist boolean default true)
returns weir.webhook language plpgsql as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.caller_bounds();
  w weir.webhook;
begin
  select x.* into w from weir.webhook x where x.name = lock_webhook.name
    and coalesce(x.tenant, '') = coalesce(weir.owner_of(bounds, tenant), '') for update;
  if must_exist and (w.id is null or w.tenant <> tenant or not weir.reaches(bounds, w.tenant, w.queues)) then
    perform weir.refuse_unknown_webhook(name);
  end if;
  return w;
end $$;
comment on function weir.lock_webhook(text, text, boolean) is
  'Internal. Locks a webhook of the caller for a change. Raises WR040.';

create or replace function weir.url_problem(url jsonb) returns text language sql immutable as $$
  select case
    when url is null or jsonb_typeof(url) = 'null' then null
    when jsonb_typeof(url) <> 'string' or length(url #>> '{}') > 2000
      then 'must be a string of at most 2000 characters'
    when url #>> '{}' !~ '^https://' then 'must begin with https://'
    when url #>> '{}' !~ '^https://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][^[:space:]#]*)?$'
      then 'must be https:// with a host, without a user, fragment or spaces' end
$$;
comment on function weir.url_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or the URL of a receiver, or null.';

create or replace function weir.webhook_problem(settings jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(settings) is distinct from 'object' then array['settings', 'must be a JSON object']
    when settings - '{url,events,queues,kinds,timeout_seconds,disable_after_seconds,error_text}'::text[] <> '{}' then
      array[weir.first_key(settings
        - '{url,events,queues,kinds,timeout_seconds,disable_after_seconds,error_text}'::text[]),
        'is no setting of a webhook']
    else (select array[p.field, p.problem] from (values
      ('url', weir.url_problem(settings -> 'url')),
      ('events', coalesce(weir.names_problem(settings -> 'events', 50), case
        when jsonb_typeof(settings -> 'events') = 'array' then case
        when settings -> 'events' = '[]' then 'must name at least one event'
        when exists (select from jsonb_array_elements_text(settings -> 'events') e
          where e <> all (array['enqueued', 'completed', 'cancelled', 'dead']
            || enum_range(null::weir.event_kind)::text[])) then
          'knows only ' || array_to_string(array['enqueued', 'completed', 'cancelled', 'dead']
            || enum_range(null::weir.event_kind)::text[], ', ') end end)),
      ('queues', weir.names_problem(settings -> 'queues', 128)),
      ('kinds', weir.names_problem(settings -> 'kinds', 200)),
      ('error_text', case when jsonb_typeof(settings -> 'error_text') not in ('boolean', 'null')
        then 'must be true or false' end),
      ('timeout_seconds', weir.integer_problem(settings -> 'timeout_seconds', 1, 30)),
      ('disable_after_seconds', weir.integer_problem(settings -> 'disable_after_seconds', 60, 2592000))) p(field,
        problem) where p.problem is not null limit 1)
  end
$$;
comment on function weir.webhook_problem(jsonb) is
  'Internal. The first setting of a webhook that is invalid, and why; null: none.';

create or replace function weir.new_secret() returns text language sql volatile as $$
  select 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64')
$$;
comment on function weir.new_secret() is 'Internal. A secret of 32 bytes.';

-- A key that sees no texts of errors must not have them sent either: it would choose the address. What it edits is sent
-- without them from then on, events that are pending too.
create or replace function weir.set_webhook(name text, settings jsonb, make boolean default null,
  tenant text default null, secret text default null) returns text
language plpgsql as $$
#variable_conflict use_variable
declare
  problem text[] := weir.webhook_problem(settings);
  bounds jsonb := weir.caller_bounds();
  owner text := weir.owner_of(bounds, tenant);
  w weir.webhook;
  wanted text[];
  new_secret text;
  made bigint;
begin
  if weir.is_queue_name(set_webhook.name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  if weir.caller_redacts() then
    if settings -> 'error_text' = 'true' then
      perform weir.refuse_argument('error_text', 'is not for a key that sees no texts of errors');
    end if;
    settings := settings || '{"error_text": false}';
  end if;
  w := weir.lock_webhook(set_webhook.name, set_webhook.tenant, must_exist => make is false);
  wanted := case when jsonb_typeof(settings -> 'queues') = 'array'
    then array(select jsonb_array_elements_text(settings -> 'queues')) else coalesce(w.queues, '{}') end;
  if bounds -> 'queues' is not null and wanted = '{}' then
    perform weir.refuse_argument('queues', 'must be named by a caller who is bound to some');
  end if;
  perform weir.refuse_queues_beyond(bounds, wanted);
  if w.id is not null and (make is not true) and weir.reaches(bounds, w.tenant, w.queues) then
    update weir.webhook x set
      url = coalesce(settings ->> 'url', x.url),
      events = case when jsonb_typeof(settings -> 'events') = 'array'
        then array(select distinct e from jsonb_array_elements_text(settings -> 'events') e order by e)
        else x.events end,
      queues = wanted,
      kinds = case when jsonb_typeof(settings -> 'kinds') = 'array'
        then array(select jsonb_array_elements_text(settings -> 'kinds')) else x.kinds end,
      timeout_seconds = coalesce((settings ->> 'timeout_seconds')::numeric::int, x.timeout_seconds),
      disable_after_seconds = coalesce((settings ->> 'disable_after_seconds')::numeric::int, x.disable_after_seconds),
      error_text = coalesce((settings ->> 'error_text')::boolean, x.error_text)
    where x.id = w.id;
    if w.error_text and not coalesce((settings ->> 'error_text')::boolean, true) then
      update weir.webhook_delivery d set body = d.body #- '{error,message}' where d.webhook_id = w.id
        and d.state = 'pending';
    end if;
    return null;
  end if;
  if settings ->> 'url' is null then
    perform weir.refuse_argument('url', 'is required');
  elsif settings ->> 'events' is null then
    perform weir.refuse_argument('events', 'is required');
  end if;
  new_secret := coalesce(secret, weir.new_secret());
  insert into weir.webhook as x (tenant, name, url, events, queues, kinds, timeout_seconds, disable_after_seconds,
    error_text,
    cursor_seq)
  values (owner, set_webhook.name, settings ->> 'url', array(select distinct e
    from jsonb_array_elements_text(settings -> 'events') e order by e),
    wanted,
    array(select jsonb_array_elements_text(case when jsonb_typeof(settings -> 'kinds') = 'array' then
      settings -> 'kinds' else '[]' end)),
    coalesce((settings ->> 'timeout_seconds')::numeric::int, 10),
      coalesce((settings ->> 'disable_after_seconds')::numeric::int, 259200),
    coalesce((settings ->> 'error_text')::boolean, false),
    coalesce(pg_sequence_last_value('weir.job_id_seq'), 0))
  on conflict do nothing returning x.id into made;
  if not found then
    raise exception using errcode = 'WR041', message = format('there is a webhook %L already', set_webhook.name),
      hint = 'Choose another name, or change the one that is there.';
  end if;
  insert into weir_auth.webhook_secret (webhook_id, secret) values (made, new_secret);
  return new_secret;
end $$;
comment on function weir.set_webhook(text, jsonb, boolean, text, text) is
  'Creates a webhook, or changes the given settings: {url, events, queues, kinds, timeout_seconds, '
  'disable_after_seconds, error_text}; a new one needs url and events. make => true: it must not exist; false: it '
  'must exist. Returns the secret of a new one, which is not shown again, or null. tenant: whose it is; it gets '
  'only events of that tenant''s jobs. secret: internal, one that a node made and encrypted. '
  'Errors: WR010, WR011, WR040, WR041.';

create or replace function weir.delete_webhook(name text, tenant text default null) returns void language plpgsql as $$
declare
  gone bigint := (weir.lock_webhook(delete_webhook.name, delete_webhook.tenant)).id;
begin
  delete from weir.webhook w where w.id = gone;
  delete from weir.webhook_delivery d where d.webhook_id = gone;
  delete from weir_auth.webhook_secret s where s.webhook_id = gone;
end $$;
comment on function weir.delete_webhook(text, text) is 'Deletes a webhook and its deliveries. Errors: WR040.';

create or replace function weir.rotate_webhook_secret(name text, keep_old interval default '1 day',
  tenant text default null, secret text default null) returns text
language plpgsql as $$
#variable_conflict use_column
declare
  made text := coalesce(rotate_webhook_secret.secret, weir.new_secret());
  rotated bigint;
begin
  if keep_old is null or keep_old < interval '0' or keep_old > interval '30 days' then
    perform weir.refuse_argument('keep_old', 'must be from 0 to 30 days');
  end if;
  update weir.webhook w set old_secret_until = clock_timestamp() + keep_old
    where w.id = (select (l).id from weir.lock_webhook(rotate_webhook_secret.name, rotate_webhook_secret.tenant) l)
    returning w.id into rotated;
  update weir_auth.webhook_secret s set old_secret = s.secret, secret = made where s.webhook_id = rotated;
  return made;
end $$;
comment on function weir.rotate_webhook_secret(text, interval, text, text) is
  'Gives a webhook a new secret and returns it. The old one signs too for keep_old, at most 30 days. secret: '
  'internal, one that a node made and encrypted. Errors: WR010, WR040.';

-- Locks: the webhook's row, then its pending deliveries.
create or replace function weir.disable_webhook(name text, reason text default null, tenant text default null)
returns void language plpgsql as $$
declare
  ended bigint;
begin
  if length(reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  end if;
  update weir.webhook w set disabled_at = clock_timestamp(), disabled_reason = coalesce(reason, 'by hand')
  where w.id = (select (l).id from weir.lock_webhook(disable_webhook.name, disable_webhook.tenant) l)
    and w.disabled_at is null returning w.id into ended;
  update weir.webhook_delivery d set state = 'failed', error = coalesce(d.error, 'the webhook was disabled')
    where d.webhook_id = ended and d.state = 'pending' and d.job_id is not null;
end $$;
comment on function weir.disable_webhook(text, text, text) is
  'Stops deliveries to a webhook; pending ones fail. Errors: WR010, WR040.';

create or replace function weir.enable_webhook(name text, tenant text default null) returns void language sql as $$
  update weir.webhook w set disabled_at = null, disabled_reason = null, failing_since = null,
    cursor_at = clock_timestamp(), scanned_at = clock_timestamp(),
    cursor_seq = coalesce(pg_sequence_last_value('weir.job_id_seq'), 0)
  where w.id = (select (l).id from weir.lock_webhook(enable_webhook.name, enable_webhook.tenant) l)
    and w.disabled_at is not null
$$;
comment on function weir.enable_webhook(text, text) is
  'Resumes deliveries to a disabled webhook, of events from now on. Errors: WR040.';
