-- What roles without rights on weir's tables may read: the views of weir, each as weir_read.<name>, with the rows that
-- the session's login has access to. A view with queues shows those of the login. A view with queues and tenants shows
-- a login with a tenant its own rows, a view without tenants shows it none; and a view without queues shows its rows
-- only to a login for all queues and tenants. Schedules, webhooks, workers and alerts are for the logins that may use
-- all of their queues, and a tenant's circuit breakers for its logins for all queues. weir.keys and weir.audit are for
-- weir's owner alone.
do $do$
declare
  v record;
begin
  for v in
    select c.relname as name, bool_or(a.attname = 'queue') as has_queue, bool_or(a.attname = 'tenant') as has_tenant,
      c.relname = any ('{schedules,schedule_runs,webhooks,workers,alerts,alert_rules}') as is_owned
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    where c.relnamespace = 'weir'::regnamespace and c.relkind = 'v' and c.relname <> all ('{keys,audit}')
    group by c.relname
  loop
    execute format('create or replace view weir_read.%1$I with (security_barrier) as
      select v.* from weir.%1$I v where exists (select from weir_auth.reads r where %2$s and %3$s)', v.name,
      case when v.has_queue then 'v.queue like any (r.patterns)' when v.is_owned then '(r.patterns = ''{%}'' or '
        'cardinality(v.queues) > 0 and not exists (select from unnest(v.queues) q '
        'where (q like any (r.patterns)) is not true))'
        else 'r.patterns = ''{%}''' end,
      case when (v.has_queue or v.is_owned or v.name in ('breakers', 'breaker_events')) and v.has_tenant
        then '(r.tenant is null or r.tenant = v.tenant)'
        else 'r.tenant is null' end);
    execute format('comment on view weir_read.%1$I is %2$L', v.name,
      'weir.' || v.name || ', the rows that the session''s login has access to.');
  end loop;
end $do$;

do $do$ begin
  delete from weir_auth.sql_access a where not exists (select from pg_roles r
    where r.oid = a.role and r.rolname = a.name);
  perform weir.apply_access(a.role) from (select distinct x.role from weir_auth.sql_access x) a;
end $do$;
