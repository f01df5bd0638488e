-- Webhooks: HTTPS receivers of events, and their settings.
--
-- A change of a job writes nothing for webhooks. Instead each webhook has a cursor in the stream of events, and every
-- event before the cursor has its delivery. One transaction creates deliveries and moves the cursor, so none is lost
-- when a node dies. Events that may still appear behind the cursor (weir.settled) are scanned again; those that have a
-- delivery are recognised by the id of the event, made of job, event, attempt and time. A webhook has about 10,000
-- pending deliveries at most; then its cursor waits.

create or replace function weir.webhook_id(name text) returns bigint language plpgsql stable as $$
declare
  found_id bigint := (select w.id from weir.webhook w where w.name = webhook_id.name);
begin
  if found_id is null then
    raise exception using errcode = 'WR040', message = format('there is no webhook %L', webhook_id.name),
      hint = 'weir.webhooks lists those there are; weir.set_webhook makes one.';
  end if;
  return found_id;
end $$;
comment on function weir.webhook_id(text) is 'Internal. The id of a webhook. Raises WR040 webhook_not_found.';

create or replace function weir.webhook_problem(settings jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(settings) is distinct from 'object' then array['settings', 'must be a JSON object']
    when settings - '{url,events,queues,kinds,timeout_seconds,disable_after_seconds}'::text[] <> '{}' then
      array[weir.first_key(settings - '{url,events,queues,kinds,timeout_seconds,disable_after_seconds}'::text[]),
        'is no setting of a webhook']
    else (select array[p.field, p.problem] from (values
      ('url', case
        when settings ->> 'url' is null then null
        when jsonb_typeof(settings -> 'url') <> 'string' or length(settings ->> 'url') > 2000
          then 'must be a string of at most 2000 characters'
        when settings ->> 'url' !~ '^https://' then 'must begin with https://'
        when settings ->> 'url' !~ '^https://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?([/?][^[:space:]#]*)?$'
          then 'must be https:// with a host, without a user, fragment or spaces' end),
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

create or replace function weir.set_webhook(name text, settings jsonb, make boolean default null) returns text
language plpgsql as $$
#variable_conflict use_variable
declare
  problem text[] := weir.webhook_problem(settings);
  new_secret text;
  texts text[];
begin
  if weir.is_queue_name(set_webhook.name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  if make is false or make is null and exists (select from weir.webhook w where w.name = set_webhook.name) then
    update weir.webhook w set
      url = coalesce(settings ->> 'url', w.url),
      events = case when jsonb_typeof(settings -> 'events') = 'array'
        then array(select distinct e from jsonb_array_elements_text(settings -> 'events') e order by e)
        else w.events end,
      queues = case when jsonb_typeof(settings -> 'queues') = 'array'
        then array(select jsonb_array_elements_text(settings -> 'queues')) else w.queues end,
      kinds = case when jsonb_typeof(settings -> 'kinds') = 'array'
        then array(select jsonb_array_elements_text(settings -> 'kinds')) else w.kinds end,
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
  insert into weir.webhook as w (name, url, events, queues, kinds, timeout_seconds, disable_after_seconds, secret,
    cursor_seq)
  values (set_webhook.name, settings ->> 'url', array(select distinct e
    from jsonb_array_elements_text(settings -> 'events') e order by e),
    array(select jsonb_array_elements_text(case when jsonb_typeof(settings -> 'queues') = 'array' then
      settings -> 'queues' else '[]' end)),
    array(select jsonb_array_elements_text(case when jsonb_typeof(settings -> 'kinds') = 'array' then
      settings -> 'kinds' else '[]' end)),
    coalesce((settings ->> 'timeout_seconds')::numeric::int, 10),
      coalesce((settings ->> 'disable_after_seconds')::numeric::int, 259200), new_secret,
    coalesce(pg_sequence_last_value('weir.job_id_seq'), 0))
  on conflict on constraint webhook_name_is_unique do nothing;
  if not found then
    raise exception using errcode = 'WR041', message = format('there is a webhook %L already', set_webhook.name),
      hint = 'Choose another name, or change the one that is there.';
  end if;
  return new_secret;
end $$;
comment on function weir.set_webhook(text, jsonb, boolean) is
  'Creates a webhook, or changes the given settings: {url, events, queues, kinds, timeout_seconds, '
  'disable_after_seconds}; a new one needs url and events. make => true: it must not exist; false: it must exist. '
  'Returns the secret of a new one, which is not shown again, or null. Errors: WR010, WR040, WR041.';

create or replace function weir.delete_webhook(name text) returns void language plpgsql as $$
declare
  gone bigint := weir.webhook_id(delete_webhook.name);
begin
  delete from weir.webhook w where w.id = gone;
  delete from weir.webhook_delivery d where d.webhook_id = gone;
end $$;
comment on function weir.delete_webhook(text) is 'Deletes a webhook and its deliveries. Errors: WR040.';

create or replace function weir.rotate_webhook_secret(name text, keep_old interval default '1 day') returns text
language plpgsql as $$
declare
  made text := weir.new_secret();
begin
  if keep_old is null or keep_old < interval '0' or keep_old > interval '30 days' then
    perform weir.refuse_argument('keep_old', 'must be from 0 to 30 days');
  end if;
  update weir.webhook w set old_secret = w.secret, old_secret_until = clock_timestamp() + keep_old, secret = made
    where w.id = weir.webhook_id(rotate_webhook_secret.name);
  return made;
end $$;
comment on function weir.rotate_webhook_secret(text, interval) is
  'Gives a webhook a new secret and returns it. The old one signs too for keep_old, at most 30 days. Errors: WR010, '
  'WR040.';

-- Locks: the webhook's row, then its pending deliveries.
create or replace function weir.disable_webhook(name text, reason text default null) returns void language plpgsql as $$
declare
  ended bigint;
begin
  if length(reason) not between 1 and 500 then
    perform weir.refuse_argument('reason', 'must have 1 to 500 characters');
  end if;
  update weir.webhook w set disabled_at = clock_timestamp(), disabled_reason = coalesce(reason, 'by hand')
  where w.id = weir.webhook_id(disable_webhook.name) and w.disabled_at is null returning w.id into ended;
  update weir.webhook_delivery d set state = 'failed', error = coalesce(d.error, 'the webhook was disabled')
    where d.webhook_id = ended and d.state = 'pending' and d.job_id is not null;
end $$;
comment on function weir.disable_webhook(text, text) is
  'Stops deliveries to a webhook; pending ones fail. Errors: WR010, WR040.';

create or replace function weir.enable_webhook(name text) returns void language sql as $$
  update weir.webhook w set disabled_at = null, disabled_reason = null, failing_since = null,
    cursor_at = clock_timestamp(), scanned_at = clock_timestamp(),
    cursor_seq = coalesce(pg_sequence_last_value('weir.job_id_seq'), 0)
  where w.id = weir.webhook_id(enable_webhook.name) and w.disabled_at is not null
$$;
comment on function weir.enable_webhook(text) is
  'Resumes deliveries to a disabled webhook, of events from now on. Errors: WR040.';
