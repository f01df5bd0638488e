-- API keys: made, changed, rotated and revoked. A key is weir_ID_SECRET: ID is public and names it, and SECRET is 32
-- random bytes and 4 of a checksum, in base64url. Only the SHA-256 of the whole key is kept: a random key of 256 bits
-- needs no slow hash. Every change notifies the channel weir_key, so that all nodes forget what they knew of the key.

create or replace function weir.new_key_id() returns text language sql volatile as $$
  select left(translate(gen_random_uuid()::text, '-', ''), 12) || left(translate(gen_random_uuid()::text, '-', ''), 4)
$$;
comment on function weir.new_key_id() is 'Internal. A random public id of a key.';

create or replace function weir.key_text(key_id text) returns text language sql volatile as $$
  select 'weir_' || key_id || '_'
    || translate(encode(s.bytes || substr(sha256(convert_to('weir_' || key_id, 'UTF8') || s.bytes), 1, 4), 'base64'),
      '+/', '-_')
  from (select sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())
    || uuid_send(gen_random_uuid())) as bytes) s
$$;
comment on function weir.key_text(text) is 'Internal. A new random API key with this public id.';

create or replace function weir.key_hash(key text) returns bytea language sql immutable as $$
  select sha256(convert_to(key, 'UTF8'))
$$;
comment on function weir.key_hash(text) is 'Internal. What is kept of an API key.';

create or replace function weir.refuse_key(key_id text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR080', message = format('there is no key %L', key_id),
    hint = 'The view weir.keys lists all keys. A key that was revoked stays revoked: make a new one.';
end $$;
comment on function weir.refuse_key(text) is 'Internal. Raises WR080 key_not_found.';

-- The patterns of queues are names with * for any characters.
create or replace function weir.key_problem(settings jsonb) returns text[] language sql stable as $$
  select array[p.field, p.problem] from (values
    (weir.first_key(settings - '{name,roles,queues,tenant,redact,rate_per_second,expires_at}'::text[]),
      case when settings - '{name,roles,queues,tenant,redact,rate_per_second,expires_at}'::text[] <> '{}'
        then 'is not a setting of a key' end),
    ('name', case when settings ? 'name' and (jsonb_typeof(settings -> 'name') <> 'string'
      or length(settings ->> 'name') not between 1 and 200) then 'must be a string of 1 to 200 characters' end),
    ('roles', case when settings ? 'roles' and (jsonb_typeof(settings -> 'roles') <> 'array'
      or settings -> 'roles' = '[]' or not settings -> 'roles' <@ '["producer","worker","reader","operator","admin"]')
      then 'must be an array of producer, worker, reader, operator or admin' end),
    ('queues', case when jsonb_typeof(settings -> 'queues') <> 'null' and (jsonb_typeof(settings -> 'queues') <> 'array'
      or jsonb_array_length(settings -> 'queues') not between 1 and 100
      or exists (select from jsonb_array_elements(settings -> 'queues') q where jsonb_typeof(q) <> 'string'
        or q #>> '{}' !~ '^[A-Za-z0-9_.:*-]{1,128}$'))
      then 'must be an array of 1 to 100 names of queues, in which * stands for any characters' end),
    ('tenant', weir.label_problem(settings -> 'tenant')),
    ('redact', case when settings ? 'redact' and jsonb_typeof(settings -> 'redact') <> 'boolean'
      then 'must be true or false' end),
    ('rate_per_second', weir.number_problem(settings -> 'rate_per_second', 0.001, 1000000)),
    ('expires_at', case when settings ->> 'expires_at' is not null then weir.time_problem(settings -> 'expires_at') end)
  ) p(field, problem) where p.problem is not null limit 1
$$;
comment on function weir.key_problem(jsonb) is
  'Internal. The first setting of a key that is invalid, and why; null: none.';

create or replace function weir.create_key(name text, roles text[], queues text[] default null,
  tenant text default null, expires_at timestamptz default null, rate_per_second double precision default null,
  redact boolean default false, created_by text default session_user, kind text default 'key', out id text,
  out key text)
language plpgsql as $$
#variable_conflict use_variable
declare
  problem text[] := weir.key_problem(jsonb_build_object('name', name, 'roles', roles, 'queues', queues,
    'tenant', tenant, 'redact', redact, 'rate_per_second', rate_per_second));
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  elsif expires_at <= clock_timestamp() then
    perform weir.refuse_argument('expires_at', 'must be in the future');
  elsif kind is null or kind not in ('key', 'cert') then
    perform weir.refuse_argument('kind', 'must be key or cert');
  end if;
  id := weir.new_key_id();
  key := case when kind = 'key' then weir.key_text(id) end;
  insert into weir.principal as p (kind, name, roles, queues, tenant, expires_at, rate_per_second, redact, created_by,
    key_id, key_hash)
  values (kind, name, roles, queues, tenant, expires_at, rate_per_second, redact, created_by, id, weir.key_hash(key))
  on conflict do nothing;
  if not found then
    raise exception using errcode = 'WR081', message = format('there is a key %L already', name),
      hint = 'Choose another name, or revoke or rotate that key.';
  end if;
end $$;
comment on function weir.create_key(text, text[], text[], text, timestamptz, double precision, boolean, text, text) is
  'Makes an API key for REST, and returns its id and the key itself, which is not kept: nothing shows it again. With '
  'kind cert there is no key: who shows a client certificate with this name in its subject is let in. roles: '
  'producer, worker, reader, operator or admin. queues: patterns of the queues that it may use, with * for any '
  'characters (null: all). tenant: it sees and makes only what is that tenant''s. expires_at (null: never). '
  'rate_per_second: most calls a second on each node (null: no limit). redact: it sees no args, results and metadata. '
  'Errors: WR010, WR081.';

create or replace function weir.edit_key(id text, settings jsonb) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  problem text[] := weir.key_problem(settings);
begin
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  update weir.principal p set
    roles = case when settings ? 'roles' then array(select jsonb_array_elements_text(settings -> 'roles'))
      else p.roles end,
    queues = case when not settings ? 'queues' then p.queues when settings -> 'queues' <> 'null'
      then array(select jsonb_array_elements_text(settings -> 'queues')) end,
    redact = coalesce((settings ->> 'redact')::boolean, p.redact),
    rate_per_second = case when settings ? 'rate_per_second' then (settings ->> 'rate_per_second')::float8
      else p.rate_per_second end,
    expires_at = case when settings ? 'expires_at' then (settings ->> 'expires_at')::timestamptz else p.expires_at end,
    name = coalesce(settings ->> 'name', p.name),
    tenant = case when settings ? 'tenant' then settings ->> 'tenant' else p.tenant end
  where p.key_id = id and p.revoked_at is null and p.kind <> 'oidc';
  if not found then
    perform weir.refuse_key(id);
  end if;
  perform pg_notify('weir_key', id);
exception when unique_violation then
  raise exception using errcode = 'WR081', message = format('there is a key %L already', settings ->> 'name'),
    hint = 'Choose another name, or revoke that key.';
end $$;
comment on function weir.edit_key(text, jsonb) is
  'Changes the given settings of an API key: name, roles, queues, tenant, redact, rate_per_second, expires_at; null '
  'lifts one. In force on every node within two seconds. A subject of access tokens cannot be changed: its tokens '
  'say what it may do. Errors: WR010, WR080, WR081.';

create or replace function weir.rotate_key(id text, keep_old interval default interval '1 day') returns text
language plpgsql as $$
#variable_conflict use_variable
declare
  fresh text := weir.key_text(id);
begin
  if keep_old is null or keep_old < interval '0' or keep_old > interval '90 days' then
    perform weir.refuse_argument('keep_old', 'must be from 0 to 90 days');
  end if;
  update weir.principal p set old_key_hash = p.key_hash, old_key_until = clock_timestamp() + keep_old,
    key_hash = weir.key_hash(fresh)
  where p.key_id = id and p.revoked_at is null and p.kind = 'key';
  if not found then
    perform weir.refuse_key(id);
  end if;
  perform pg_notify('weir_key', id);
  return fresh;
end $$;
comment on function weir.rotate_key(text, interval) is
  'Gives an API key a new secret, and returns the new key. The one before is accepted for keep_old, at most 90 days; '
  'one before that no more. Errors: WR010, WR080.';

create or replace function weir.revoke_key(id text) returns void language plpgsql as $$
#variable_conflict use_variable
begin
  update weir.principal p set revoked_at = clock_timestamp() where p.key_id = id and p.revoked_at is null;
  if not found then
    perform weir.refuse_key(id);
  end if;
  perform pg_notify('weir_key', id);
end $$;
comment on function weir.revoke_key(text) is
  'Revokes an API key for good, or the right of a certificate''s holder or of a subject of access tokens. No '
  'node accepts it after two seconds. Errors: WR080.';
