-- Owners of records: schedules, webhooks and circuit breakers of a tenant are named within it, and a caller who is
-- bound to a tenant or to queues reaches its own only.
--
-- A node says in the setting weir.actor of a change what its caller is bound to, beside who it is (audit.sql); for a
-- login it is what weir.grant_access gave. What is another's does not exist: the error is that of a record that is not
-- there.

-- {tenant, queues (patterns of like)}; null: bound to nothing.
create or replace function weir.caller_bounds(wanted text[] default '{operator}') returns jsonb language plpgsql stable
  set enable_seqscan = off as $$
declare
  given text := nullif(current_setting('weir.actor', true), '');
  a weir_auth.sql_access;
begin
  if weir.is_owner() then
    return case when given <> 'engine' then given::jsonb -> 'bounds' end;
  end if;
  select x.* into a from weir_auth.sql_access x where x.role = weir.login_id() and x.name = session_user
    and x.access = any (wanted) order by x.tenant is not null, x.patterns <> '{%}' limit 1;
  if not found then
    perform weir.refuse_login();
  end if;
  return case when a.tenant is not null or a.patterns <> '{%}' then jsonb_strip_nulls(jsonb_build_object(
    'tenant', a.tenant, 'queues', case when a.patterns <> '{%}' then to_jsonb(a.patterns) end)) end;
end $$;
comment on function weir.caller_bounds(text[]) is
  'Internal. What the caller of a change is bound to: {tenant, queues}; null: nothing. wanted: the kinds of access '
  'that a login may have for it. Errors: 42501.';

create or replace function weir.caller_redacts() returns boolean language plpgsql stable as $$
declare
  given text := nullif(current_setting('weir.actor', true), '');
begin
  return case when given <> 'engine' and weir.is_owner() then (given::jsonb ->> 'redact')::boolean is true
    else false end;
end $$;
comment on function weir.caller_redacts() is 'Internal. Whether the caller of a change sees no texts of errors.';

create or replace function weir.reaches(bounds jsonb, tenant text, queues text[]) returns boolean
language sql immutable as $$
  select bounds is null or (
    (bounds ->> 'tenant' is null or tenant = bounds ->> 'tenant')
    and (bounds -> 'queues' is null or cardinality(queues) > 0 and not exists (select from unnest(queues) q
      where (q like any (array(select jsonb_array_elements_text(bounds -> 'queues')))) is not true))) is true
$$;
comment on function weir.reaches(jsonb, text, text[]) is
  'Internal. Whether a record of a tenant, for jobs of these queues (none: of all), is within the bounds of a caller.';

create or replace function weir.owner_of(bounds jsonb, tenant text) returns text language plpgsql immutable as $$
begin
  if weir.label_problem(to_jsonb(tenant)) is not null then
    perform weir.refuse_argument('tenant', weir.label_problem(to_jsonb(tenant)));
  end if;
  return coalesce(bounds ->> 'tenant', tenant);
end $$;
comment on function weir.owner_of(jsonb, text) is
  'Internal. The tenant of what a caller creates: the one that it is bound to, whatever it says. Errors: WR010.';

create or replace function weir.refuse_queues_beyond(bounds jsonb, queues text[]) returns void language plpgsql as $$
begin
  perform weir.refuse_queue(q) from unnest(queues) q where not weir.reaches(bounds - 'tenant', null, array[q]);
end $$;
comment on function weir.refuse_queues_beyond(jsonb, text[]) is
  'Internal. Raises WR011 queue_not_found for a queue that the caller may not use.';

-- The object of an entry in the audit trail.
create or replace function weir.object_path(noun text, name text, tenant text) returns text language sql immutable as $$
  select noun || '/' || name || coalesce('?tenant=' || tenant, '')
$$;
comment on function weir.object_path(text, text, text) is
  'Internal. The path in REST of a record of a tenant, with the tenant as it is.';
