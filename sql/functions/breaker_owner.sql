-- Owners of circuit breakers: a breaker belongs to a tenant or to none. Its stored name, here its reference, is `name`
-- or `tenant/name`: a name has no slash, so the last one divides.
--
-- A caller who is bound to a tenant means breakers of that tenant, by their names or by their references; others mean
-- what they write. So jobs, held jobs and claims compare one text, and know nothing of tenants. A tenant's breaker
-- serves jobs and queues of that tenant only.

create or replace function weir.breaker_tenant(reference text) returns text language sql immutable as $$
  select substring(reference from '^(.*)/')
$$;
comment on function weir.breaker_tenant(text) is
  'Internal. The tenant of the circuit breaker with this reference; null: none.';

create or replace function weir.breaker_label(reference text) returns text language sql immutable as $$
  select substring(reference from '[^/]*$')
$$;
comment on function weir.breaker_label(text) is 'Internal. The name that a circuit breaker has within its tenant.';

create or replace function weir.breaker_path(reference text) returns text language sql immutable as $$
  select weir.object_path('breakers', weir.breaker_label(reference), weir.breaker_tenant(reference))
$$;
comment on function weir.breaker_path(text) is 'Internal. The path of a circuit breaker in the audit trail.';

create or replace function weir.shown_breaker(reference text, viewer text) returns text language sql immutable as $$
  select case when weir.breaker_tenant(reference) = viewer then weir.breaker_label(reference) else reference end
$$;
comment on function weir.shown_breaker(text, text) is
  'Internal. A circuit breaker as a caller of the tenant `viewer` (null: of none) names it.';

create or replace function weir.shown_detail(detail jsonb, viewer text) returns jsonb language sql immutable as $$
  select case when viewer is null or detail is null then detail else detail
    || case when detail ? 'breaker'
      then jsonb_build_object('breaker', weir.shown_breaker(detail ->> 'breaker', viewer)) else '{}' end
    || case when detail ->> 'reason' = 'breaker' and detail ? 'key'
      then jsonb_build_object('key', weir.shown_breaker(detail ->> 'key', viewer)) else '{}' end end
$$;
comment on function weir.shown_detail(jsonb, text) is
  'Internal. The detail of an event of a job, with its circuit breaker as a caller of the tenant `viewer` names it.';

create or replace function weir.own_breaker(tenant text, reference text) returns text language sql immutable as $$
  select case when tenant is null or weir.breaker_tenant(reference) = tenant then reference
    when weir.breaker_tenant(reference) is null then tenant || '/' || reference end
$$;
comment on function weir.own_breaker(text, text) is
  'Internal. The reference of the circuit breaker that a caller who is bound to this tenant (null: to none) means; '
  'null if it is another tenant''s.';

create or replace function weir.refuse_foreign_name(field text) returns void language plpgsql as $$
begin
  perform weir.refuse_argument(field, 'must be 1 to 128 letters, digits or _ . : -');
end $$;
comment on function weir.refuse_foreign_name(text) is
  'Internal. Raises WR010 for a circuit breaker of another tenant, as for what can be no name.';

-- In jobs, or in steps with the workflows in them. What is no text is left for the checks to refuse.
create or replace function weir.own_breakers(tenant text, jobs jsonb, place text) returns jsonb
language plpgsql immutable as $$
#variable_conflict use_variable
declare
  bad bigint;
begin
  if tenant is null or jsonb_typeof(jobs) is distinct from 'array'
    or not jsonb_path_exists(jobs, '$[*] ? (exists(@.breaker) || exists(@.workflow))') then
    return jobs;
  end if;
  bad := (select e.n from jsonb_array_elements(jobs) with ordinality e(job, n)
    where jsonb_typeof(e.job -> 'breaker') = 'string' and weir.own_breaker(tenant, e.job ->> 'breaker') is null
    order by e.n limit 1);
  if bad is not null then
    perform weir.refuse_foreign_name(format('%s[%s].breaker', place, bad - 1));
  end if;
  return (select jsonb_agg(case when jsonb_typeof(e.job) <> 'object' then e.job else e.job
      || case when jsonb_typeof(e.job -> 'breaker') = 'string'
        then jsonb_build_object('breaker', weir.own_breaker(tenant, e.job ->> 'breaker')) else '{}' end
      || case when jsonb_typeof(e.job #> '{workflow,steps}') = 'array' then jsonb_build_object('workflow',
        (e.job -> 'workflow') || jsonb_build_object('steps', weir.own_breakers(tenant, e.job #> '{workflow,steps}',
          format('%s[%s].workflow.steps', place, e.n - 1)))) else '{}' end end order by e.n)
    from jsonb_array_elements(jobs) with ordinality e(job, n));
end $$;
comment on function weir.own_breakers(text, jsonb, text) is
  'Internal. Jobs or steps, with the references of the circuit breakers that a caller who is bound to this tenant '
  'means. place: the name of the array. Errors: WR010.';

create or replace function weir.own_definition(tenant text, definition jsonb) returns jsonb
language plpgsql immutable as $$
#variable_conflict use_variable
declare
  reference text := weir.own_breaker(tenant, definition #>> '{job,breaker}');
begin
  if tenant is null or jsonb_typeof(definition) is distinct from 'object' then
    return definition;
  end if;
  if jsonb_typeof(definition #> '{job,breaker}') = 'string' then
    if reference is null then
      perform weir.refuse_foreign_name('job.breaker');
    end if;
    definition := jsonb_set(definition, '{job,breaker}', to_jsonb(reference));
  end if;
  if jsonb_typeof(definition #> '{workflow,steps}') = 'array' then
    definition := jsonb_set(definition, '{workflow,steps}',
      weir.own_breakers(tenant, definition #> '{workflow,steps}', 'workflow.steps'));
  end if;
  return definition;
end $$;
comment on function weir.own_definition(text, jsonb) is
  'Internal. The definition of a schedule, or a change of one, with the references of the circuit breakers that a '
  'caller who is bound to this tenant means. Errors: WR010.';

-- Called for jobs as they are stored, with the tenants of their queues. Otherwise the reroute of a tenant's breaker
-- could bring jobs of others into its queues, and its results would go to them.
create or replace function weir.refuse_foreign_breakers(jobs jsonb, place text) returns void
language plpgsql stable as $$
declare
  bad bigint := (select e.n from jsonb_array_elements(jobs) with ordinality e(job, n)
    where weir.breaker_tenant(e.job ->> 'breaker') <> coalesce(e.job ->> 'tenant', '') order by e.n limit 1);
begin
  if bad is not null then
    perform weir.refuse_argument(format('%s[%s].breaker', place, bad - 1), 'is that of another tenant than the job''s');
  end if;
end $$;
comment on function weir.refuse_foreign_breakers(jsonb, text) is
  'Internal. Raises WR010 for the first of these jobs or steps whose circuit breaker belongs to another tenant.';

-- A breaker serves all queues of its tenant, so an access to some queues is none to breakers.
create or replace function weir.breaker_caller(wanted text[] default '{operator}') returns text language plpgsql stable
  set enable_seqscan = off as $$
declare
  bounds jsonb;
  a weir_auth.sql_access;
begin
  if weir.is_owner() then
    bounds := weir.caller_bounds(wanted);
    if bounds -> 'queues' is not null then
      raise insufficient_privilege using
        message = 'a circuit breaker serves all queues, and the caller is bound to some';
    end if;
    return bounds ->> 'tenant';
  end if;
  select x.* into a from weir_auth.sql_access x where x.role = weir.login_id() and x.name = session_user
    and x.access = any (wanted) and x.patterns = '{%}' order by x.tenant is not null limit 1;
  if not found then
    perform weir.refuse_login();
  end if;
  return a.tenant;
end $$;
comment on function weir.breaker_caller(text[]) is
  'Internal. The tenant whose circuit breakers the caller of a change may use; null: all. wanted: as of '
  'weir.caller_bounds. Errors: 42501.';
