-- Targets of alerts: who is told, and by what way. Their secrets lie in weir_auth.alert_secret and are shown nowhere.

create or replace function weir.refuse_alert_target(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR102', message = format('there is no alert target %L', refuse_alert_target.name),
    hint = 'weir.alert_targets lists those there are; weir.set_alert_target makes one.';
end $$;
comment on function weir.refuse_alert_target(text) is 'Internal. Raises WR102 alert_target_not_found.';

-- Locks: the target's row.
create or replace function weir.lock_alert_target(name text, tenant text, must_exist boolean default true)
returns weir.alert_target language plpgsql as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.caller_bounds();
  t weir.alert_target;
begin
  select x.* into t from weir.alert_target x where x.name = lock_alert_target.name
    and coalesce(x.tenant, '') = coalesce(weir.owner_of(bounds, tenant), '') for update;
  if must_exist and (t.id is null or not weir.reaches(bounds - 'queues', t.tenant, '{}')) then
    perform weir.refuse_alert_target(name);
  end if;
  return t;
end $$;
comment on function weir.lock_alert_target(text, text, boolean) is
  'Internal. Locks a target of the caller for a change. Raises WR102.';

create or replace function weir.address_problem(address jsonb) returns text language sql immutable as $$
  select case when address is null or jsonb_typeof(address) = 'null' then null
    when jsonb_typeof(address) <> 'string' or length(address #>> '{}') > 254
      or address #>> '{}' !~ '^[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$'
      then 'must be an e-mail address, as ops@example.com' end
$$;
comment on function weir.address_problem(jsonb) is
  'Internal. What is wrong with a JSON value that should be absent or an e-mail address, or null.';

create or replace function weir.secret_problem(secret jsonb, longest int) returns text language sql immutable as $$
  select case when secret is null or jsonb_typeof(secret) = 'null' then null
    when jsonb_typeof(secret) <> 'string' or length(secret #>> '{}') not between 1 and longest
      or secret #>> '{}' ~ '[\x01-\x1f]' then 'must be a string of 1 to ' || longest || ' characters' end
$$;
comment on function weir.secret_problem(jsonb, int) is
  'Internal. What is wrong with a JSON value that should be absent or a secret, or null.';

create or replace function weir.alert_target_fields(kind text) returns text[] language sql immutable as $$
  select '{kind,events,timeout_seconds}'::text[] || case kind
    when 'webhook' then '{url,secret}'::text[] when 'slack' then '{url}' when 'pagerduty' then '{routing_key,url}'
    when 'email' then '{host,port,tls,username,password,from,to}' else '{}' end
$$;
comment on function weir.alert_target_fields(text) is 'Internal. The settings of a kind of target.';

-- d: settings without their null fields, and with those that a new target must have.
create or replace function weir.alert_target_problem(d jsonb, has text[]) returns text[] language sql stable as $$
  select array[p.field, p.problem] from (
    select 'kind' as field, case when d -> 'kind' is null then 'is required'
      else weir.choice_problem(d -> 'kind', '{webhook,email,slack,pagerduty}') end as problem
    union all select k, 'is no setting of a target of this kind' from jsonb_object_keys(d) k
      where k <> all (weir.alert_target_fields(d ->> 'kind'))
    union all select 'events', coalesce(weir.names_problem(d -> 'events', 20),
      case when jsonb_typeof(d -> 'events') = 'array' and (d -> 'events' = '[]'
        or not d -> 'events' <@ '["opened", "acknowledged", "resolved"]')
      then 'must be some of opened, acknowledged and resolved' end)
    union all select 'timeout_seconds', weir.integer_problem(d -> 'timeout_seconds', 1, 30)
    union all select 'url', weir.url_problem(d -> 'url')
    union all select 'secret', case when d ->> 'secret' is not null and (jsonb_typeof(d -> 'secret') <> 'string'
      or d ->> 'secret' !~ '^whsec_[A-Za-z0-9+/]{32,86}={0,2}$')
      then 'must be whsec_ and 24 to 64 bytes in base64' end
    union all select 'routing_key', weir.secret_problem(d -> 'routing_key', 200)
    union all select 'password', weir.secret_problem(d -> 'password', 500)
    union all select 'username', weir.secret_problem(d -> 'username', 254)
    union all select 'host', case when d ->> 'host' is not null and (jsonb_typeof(d -> 'host') <> 'string'
      or d ->> 'host' !~ '^([A-Za-z0-9][A-Za-z0-9.-]{0,252}|[0-9A-Fa-f:.]{2,45})$')
      then 'must be the name of a host' end
    union all select 'port', weir.integer_problem(d -> 'port', 1, 65535)
    union all select 'tls', weir.choice_problem(d -> 'tls', '{starttls,implicit,none}')
    union all select 'from', weir.address_problem(d -> 'from')
    union all select 'to', case when d -> 'to' is null then null when jsonb_typeof(d -> 'to') <> 'array'
        or jsonb_array_length(d -> 'to') not between 1 and 20 then 'must be a list of 1 to 20 addresses'
      else (select weir.address_problem(a) from jsonb_array_elements(d -> 'to') a
        where weir.address_problem(a) is not null limit 1) end
    union all select f, 'is required' from unnest(case d ->> 'kind' when 'email' then '{host,from,to}'::text[]
      when 'pagerduty' then '{routing_key}' when 'webhook' then '{url}' when 'slack' then '{url}' end) f
      where d -> f is null and f <> all (has)
    union all select 'username', 'and password go together'
      where (d ? 'username' or 'username' = any (has)) <> (d ? 'password' or 'password' = any (has))
    union all select 'tls', 'must not be none where there is a password' where d ->> 'tls' = 'none' and d ? 'username'
  ) p where p.problem is not null limit 1
$$;
comment on function weir.alert_target_problem(jsonb, text[]) is
  'Internal. The first setting of a target that is invalid, and why; null: none. has: fields that are stored already.';

create or replace function weir.set_alert_target(name text, settings jsonb, make boolean default null,
  tenant text default null, secrets jsonb default null) returns text language plpgsql as $$
#variable_conflict use_variable
declare
  owner text := weir.owner_of(weir.caller_bounds(), tenant);
  secret_fields constant text[] := '{url,password,routing_key,secret}';
  max_targets constant int := 200;
  t weir.alert_target := weir.lock_alert_target(set_alert_target.name, set_alert_target.tenant,
    must_exist => make is false);
  kind text := coalesce(t.kind, settings ->> 'kind');
  has text[] := array(select s.field from weir_auth.alert_secret s where s.target_id = t.id);
  d jsonb;
  problem text[];
  shown jsonb;
  given jsonb;
  made text;
begin
  if weir.is_queue_name(name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif jsonb_typeof(settings) is distinct from 'object' then
    perform weir.refuse_argument('settings', 'must be a JSON object');
  elsif t.id is not null and make is true then
    raise exception using errcode = 'WR104', message = format('there is an alert target %L already', name),
      hint = 'Choose another name, or change the one that is there.';
  elsif t.kind <> settings ->> 'kind' then
    perform weir.refuse_argument('kind', 'cannot be changed: make another target');
  end if;
  has := array(select f from unnest(has) f where settings -> f is null or settings -> f <> 'null');
  -- the host of a URL is what is shown of it, and no setting
  d := coalesce(t.settings, '{}') - case when kind = 'email' then '' else 'host' end
    || case when t.id is not null then jsonb_build_object('kind', kind, 'events', t.events) else '{}' end || settings;
  d := coalesce((select jsonb_object_agg(e.key, e.value) from jsonb_each(d) e where e.value <> 'null'), '{}');
  problem := weir.alert_target_problem(d, has);
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  shown := case kind when 'email' then jsonb_build_object('port', 587, 'tls', 'starttls')
    when 'pagerduty' then '{"url": "https://events.pagerduty.com/v2/enqueue"}'
    else jsonb_build_object('host', coalesce(substring(d ->> 'url' from '^https://([^/?]*)'), t.settings ->> 'host'))
    end || '{"timeout_seconds": 10}' || (d - '{kind,events,password,routing_key,secret}'::text[]
    - case when kind in ('webhook', 'slack') then 'url' else '' end);
  given := (select jsonb_object_agg(f, coalesce(secrets -> f, d -> f)) from unnest(secret_fields) f
    where d ? f and not (kind = 'pagerduty' and f = 'url'));
  if kind = 'webhook' and not 'secret' = any (has) and not d ? 'secret' then
    made := weir.new_secret();
    given := given || jsonb_build_object('secret', made);
  end if;
  if t.id is null then
    if (select count(*) from weir.alert_target) >= max_targets then
      perform weir.refuse_argument('name', format('would be one of more than %s alert targets', max_targets));
    end if;
    insert into weir.alert_target as x (name, tenant, kind, settings, events)
    values (name, owner, kind, shown, array(select jsonb_array_elements_text(coalesce(d -> 'events',
      case when kind in ('webhook', 'pagerduty') then '["opened", "acknowledged", "resolved"]'
        else '["opened", "resolved"]' end::jsonb))))
    on conflict do nothing returning x.id into t.id;
    if not found then
      raise exception using errcode = 'WR104', message = format('there is an alert target %L already', name),
        hint = 'Choose another name, or change the one that is there.';
    end if;
  else
    update weir.alert_target x set settings = shown, updated_at = clock_timestamp(),
      events = array(select jsonb_array_elements_text(d -> 'events')) where x.id = t.id;
    delete from weir_auth.alert_secret s where s.target_id = t.id and s.field <> all (has);
  end if;
  insert into weir_auth.alert_secret as s (target_id, field, secret)
  select t.id, g.key, g.value #>> '{}' from jsonb_each(given) g
  on conflict on constraint alert_secret_pkey do update set secret = excluded.secret;
  return made;
end $$;
comment on function weir.set_alert_target(text, jsonb, boolean, text, jsonb) is
  'Creates a target of alerts, or changes the given settings; null removes one. Settings: kind (webhook, email, '
  'slack, pagerduty), events, timeout_seconds, and by kind url, secret, routing_key, host, port, tls, username, '
  'password, from, to; see docs/alerts.md. make => true: it must not exist; false: it must exist. Returns the secret '
  'of the signatures of a new webhook, which is not shown again, or null. tenant: whose rules may name it. secrets: '
  'internal, those that a node has encrypted. For weir''s owner. Errors: WR010, WR102, WR104.';

create or replace function weir.delete_alert_target(name text, tenant text default null) returns void
language plpgsql as $$
declare
  t weir.alert_target := weir.lock_alert_target(delete_alert_target.name, delete_alert_target.tenant);
  used_by text := (select r.name from weir.alert_rule r where t.name = any (r.notify)
    and r.tenant is not distinct from t.tenant order by r.name limit 1);
begin
  if used_by is not null then
    raise exception using errcode = 'WR106',
      message = format('alert rule %L tells the alert target %L', used_by, t.name),
      hint = 'Take it out of the notify of each rule first.';
  end if;
  delete from weir.alert_delivery d where d.target_id = t.id;
  delete from weir_auth.alert_secret s where s.target_id = t.id;
  delete from weir.alert_target x where x.id = t.id;
end $$;
comment on function weir.delete_alert_target(text, text) is
  'Deletes a target of alerts that no rule names, with its deliveries. For weir''s owner. Errors: WR102, WR106.';

create or replace function weir.test_alert_target(name text, tenant text default null) returns bigint
language plpgsql as $$
declare
  t weir.alert_target := weir.lock_alert_target(test_alert_target.name, test_alert_target.tenant);
  new_id bigint;
begin
  if (select count(*) from weir.alert_delivery d where d.target_id = t.id and d.alert_id is null) >= 1000 then
    perform weir.refuse_argument('name', 'names a target that was tested a thousand times this week');
  end if;
  insert into weir.alert_delivery as d (target_id, target, event, body)
  values (t.id, t.name, 'test', jsonb_build_object('event', 'test', 'severity', 'info',
    'summary', 'a test of the alert target ' || t.name, 'opened_at', weir.iso(clock_timestamp())))
  returning d.id into new_id;
  perform weir.record_change('testAlertTarget', weir.object_path('alert-targets', t.name, t.tenant), null,
    jsonb_build_object('delivery', new_id::text));
  return new_id;
end $$;
comment on function weir.test_alert_target(text, text) is
  'Sends a target a test. Returns the id of its row in weir.alert_delivery, which shows the result. For weir''s owner. '
  'Errors: WR010, WR102.';
