-- Access for roles that do not own weir: what a login may do, to which queues, for which tenant.
--
-- Such a role has no right on any table. It calls functions that run with the rights of weir's owner (security
-- definer; sql/access/function.sql), and these ask here who began the session: session_user, which `set role` does not
-- change. The owner's sessions, and so the nodes', are told apart without a look at any table.
--
-- What is another's does not exist: a login that names it gets the error that it would get if it were not there.

-- Callers that run often test session_user <> current_user themselves first: for the owner that is all.
create or replace function weir.is_owner() returns boolean language sql stable
  return session_user = current_user or pg_has_role(session_user, current_user, 'member');
comment on function weir.is_owner() is
  'Internal. Whether the session belongs to weir''s owner, to one of its members or to a superuser; only where '
  'weir''s owner runs the function.';

create or replace function weir.login_id() returns oid language sql stable
  return to_regrole(quote_ident(session_user))::oid;
comment on function weir.login_id() is 'Internal. The role that began the session.';

create or replace function weir.permitted() returns table (access text, function_name text, to_limited boolean)
language sql immutable as $$
  select a.access, f.name, a.to_limited from (values
    ('producer', true, '{dry_run,enqueue,enqueue_many,submit_workflow,timeline,why}'::text[]),
    ('worker', true, '{claim,complete,complete_many,fail,fail_many,snooze,snooze_many,release,release_many,heartbeat,
      log,assert_lease,park,unpark,register_worker,worker_heartbeat,claim_refusal,report_breaker}'),
    ('reader', true, '{events_after,timeline,why,why_queue,forecast_queue,similar_jobs,compare,evaluate_alerts,
      percentile,merge_histograms,time_bucket,preview_schedule,schedule_definition,iso,local_iso,utc_offset,
      current_policy}'),
    ('reader', false, '{workflow_timeline,dependencies,worker_history,worker_stats,pending_failures,
      pending_rollup,count_work,rate_burst,line_tenant,line_key}'),
    ('reader', false, '{job_facets,preset_filter}'),
    ('operator', true, '{pause_queue,resume_queue,purge_queue,count_waiting,delete_queue,cancel,retry,replay,edit,
      redrive,purge_dead,timeline,why,similar_jobs,compare,set_schedule,edit_schedule,delete_schedule,pause_schedule,
      resume_schedule,trigger_schedule,preview_schedule,preview_definition,schedule_definition,iso,local_iso,
      utc_offset,register_worker,edit_worker,pause_worker,resume_worker,drain_worker,remove_worker,set_breaker,
      delete_breaker,
      trip_breaker,reset_breaker,pin_breaker,report_breaker,current_policy,set_alert_rule,delete_alert_rule,
      mute_alert_rule,unmute_alert_rule,acknowledge_alert,evaluate_alerts}'),
    ('operator', false, '{set_queue,set_limit,claim_refusal,worker_history,worker_stats,cancel_workflow,retry_workflow,
      fork_workflow,signal,workflow_timeline,dependencies,count_dead,count_jobs,start_operation,cancel_operation,
      set_tenant_quota,delete_tenant_quota,job_facets,preset_filter,set_preset,delete_preset}')
  ) a (access, to_limited, names) cross join unnest(a.names) f(name)
$$;
comment on function weir.permitted() is
  'Internal. The functions that each access may call. to_limited: also a login that is limited to some queues or a '
  'tenant, because the function keeps it to those.';

-- Errors: 42501, for a role that may call a function by a grant that weir.grant_access did not make.
create or replace function weir.refuse_login() returns void language plpgsql as $$
begin
  raise insufficient_privilege using message = format('role %I has no access to weir of this kind', session_user),
    hint = 'weir.grant_access gives it to the role that logs in, not to one that it is a member of.';
end $$;
comment on function weir.refuse_login() is 'Internal. Raises 42501 for a login without access.';

create or replace function weir.login_as(wanted text) returns weir_auth.sql_access language plpgsql stable
  set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
  a weir_auth.sql_access;
begin
  select x.* into a from weir_auth.sql_access x where x.role = weir.login_id() and x.name = session_user
    and x.access = wanted;
  if not found then
    perform weir.refuse_login();
  end if;
  return a;
end $$;
comment on function weir.login_as(text) is 'Internal. The access of this kind of the session''s login. Errors: 42501.';

create or replace function weir.viewer_tenant() returns text language plpgsql stable set enable_seqscan = off as $$
begin
  return case when not weir.is_owner() then (select min(a.tenant) from weir_auth.sql_access a
    where a.role = weir.login_id() and a.name = session_user and a.access <> 'worker'
    having count(*) = count(a.tenant) and min(a.tenant) = max(a.tenant)) end;
end $$;
comment on function weir.viewer_tenant() is
  'Internal. The tenant whose jobs alone the session''s login reads; null: it reads others too, or is the owner.';

create or replace function weir.login_tenant() returns text language plpgsql stable as $$
begin
  return case when not weir.is_owner() then (weir.login_as('producer')).tenant end;
end $$;
comment on function weir.login_tenant() is
  'Internal. The tenant for which the session''s login enqueues; null: any, or it is the owner. Errors: 42501.';

create or replace function weir.refuse_queue(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR011', message = format('there is no queue %L', refuse_queue.name),
    hint = 'The first job of a queue creates it, and so does weir.set_queue.';
end $$;
comment on function weir.refuse_queue(text) is 'Internal. Raises WR011 queue_not_found.';

create or replace function weir.require_queues(wanted text, queues text[]) returns void language plpgsql stable as $$
declare
  a weir_auth.sql_access;
begin
  if weir.is_owner() then
    return;
  end if;
  a := weir.login_as(wanted);
  perform weir.refuse_queue(n.name) from unnest(queues) n(name) left join weir.queue q on q.name = n.name
  where (n.name like any (a.patterns)) is not true or a.tenant is not null
    and not weir.reaches_queue(a, n.name, q.tenant);
end $$;
comment on function weir.require_queues(text, text[]) is
  'Internal. Raises WR011 queue_not_found for a queue that the session''s login has no access to.';

-- For access to all that is in a queue, as workers and operators have it: by its name in a queue that tenants share, by
-- its tenant in one that belongs to a tenant.
create or replace function weir.reaches_queue(a weir_auth.sql_access, queue text, tenant text) returns boolean
language sql immutable as $$
  select queue like any (a.patterns) and (a.tenant is null or case when tenant is null
    then queue like any (array(select p from unnest(a.patterns) p where p !~ '^%+$')) else tenant = a.tenant end)
$$;
comment on function weir.reaches_queue(weir_auth.sql_access, text, text) is
  'Internal. Whether an access is to all jobs of a queue, which belongs to this tenant or to none.';

create or replace function weir.sees_job(job_id bigint, wanted text[]) returns boolean language plpgsql stable
  set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  return weir.is_owner() or exists (
    select from weir.job j join weir.queue q on q.id = j.queue_id join weir_auth.sql_access a
      on a.role = weir.login_id() and a.name = session_user and a.access = any (wanted)
    where j.id = sees_job.job_id and q.name like any (a.patterns)
      -- the queue is the boundary of a worker
      and case when a.access = 'worker' then weir.reaches_queue(a, q.name, q.tenant)
        else a.tenant is null or a.tenant = j.tenant end);
end $$;
comment on function weir.sees_job(bigint, text[]) is
  'Internal. Whether the session''s login has an access of these kinds to a job.';

create or replace function weir.sees_one_tenant(job_id bigint) returns boolean language plpgsql stable
  set enable_seqscan = off as $$
begin
  return not weir.is_owner() and not exists (
    select from weir.job j join weir.queue q on q.id = j.queue_id join weir_auth.sql_access a
      on a.role = weir.login_id() and a.name = session_user
    where j.id = sees_one_tenant.job_id and q.name like any (a.patterns)
      and case when a.access = 'worker' then weir.reaches_queue(a, q.name, q.tenant)
        else a.tenant is null or a.tenant = q.tenant end);
end $$;
comment on function weir.sees_one_tenant(bigint) is
  'Internal. Whether the session''s login may know of the jobs of one tenant alone in the queue of a job.';

create or replace function weir.require_job(job_id bigint, wanted text[]) returns void language plpgsql stable as $$
begin
  if not weir.sees_job(require_job.job_id, wanted) then
    perform weir.refuse_unknown_job(require_job.job_id);
  end if;
end $$;
comment on function weir.require_job(bigint, text[]) is
  'Internal. Raises WR002 job_not_found for a job that the session''s login has no access to.';

create or replace function weir.refuse_unknown_job(job_id bigint) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR002', message = format('there is no job %s', job_id),
    hint = 'Ids come from weir.enqueue. Ended jobs go when their retention is over.';
end $$;
comment on function weir.refuse_unknown_job(bigint) is 'Internal. Raises WR002 job_not_found.';

-- A value that is no job is left for enqueue_batch to refuse.
create or replace function weir.impose_on_jobs(jobs jsonb, place text default 'jobs') returns jsonb
language plpgsql stable as $$
declare
  a weir_auth.sql_access;
begin
  if weir.is_owner() or jsonb_typeof(jobs) is distinct from 'array' then
    return jobs;
  end if;
  a := weir.login_as('producer');
  perform weir.refuse_forged(e -> 'args', 'args') from jsonb_array_elements(jobs) e where jsonb_typeof(e) = 'object';
  perform weir.refuse_queue(coalesce(e ->> 'queue', 'default')) from jsonb_array_elements(jobs) e
    where jsonb_typeof(e) = 'object' and (coalesce(e ->> 'queue', 'default') like any (a.patterns)) is not true;
  if a.tenant is null then
    return jobs;
  end if;
  return (select coalesce(jsonb_agg(case when jsonb_typeof(e.job) = 'object'
    then e.job || jsonb_build_object('tenant', a.tenant) else e.job end order by e.n), '[]')
    from jsonb_array_elements(weir.own_breakers(a.tenant, jobs, place)) with ordinality e(job, n));
end $$;
comment on function weir.impose_on_jobs(jsonb, text) is
  'Internal. Jobs as the session''s login may enqueue them: with its tenant, whatever they say, and with circuit '
  'breakers of that tenant. place: the name of the array. Errors: WR010, WR011.';

create or replace function weir.impose_on_workflow(definition jsonb) returns jsonb language plpgsql stable as $$
begin
  if weir.is_owner() or jsonb_typeof(definition) is distinct from 'object'
    or jsonb_typeof(definition -> 'steps') is distinct from 'array' then
    return definition;
  end if;
  return definition || jsonb_build_object('steps', (
    select coalesce(jsonb_agg(case when jsonb_typeof(e.step -> 'workflow') = 'object'
      then e.step || jsonb_build_object('workflow', weir.impose_on_workflow(e.step -> 'workflow'))
      else e.step end order by e.n), '[]')
    from jsonb_array_elements(weir.impose_on_jobs(definition -> 'steps', 'steps')) with ordinality e(step, n)));
end $$;
comment on function weir.impose_on_workflow(jsonb) is
  'Internal. weir.impose_on_jobs for the steps of a workflow, and of those in its steps.';

-- A token belongs to one lease, and a lease to one login for as long as it is held. So it does not matter that the
-- lease may end between this look and the ack.
create or replace function weir.own_tokens(job_ids bigint[], tokens bigint[]) returns bigint[] language plpgsql stable
  set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  me oid := weir.login_id();
begin
  if weir.is_owner() then
    return tokens;
  end if;
  return array(select case when exists (select from weir.job_lease l
    where l.job_id = u.id and l.token = u.token and l.login = me) then u.token end
    from unnest(job_ids, tokens) with ordinality u(id, token, n) order by u.n);
end $$;
comment on function weir.own_tokens(bigint[], bigint[]) is
  'Internal. The tokens, but null where the session''s login does not hold the lease.';

create or replace function weir.grant_access(role text, access text, queues text[] default '{*}',
  tenant text default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  login oid := to_regrole(quote_ident(role))::oid;
begin
  if login is null then
    perform weir.refuse_argument('role', 'must be a role of this server: `create role` makes one');
  elsif pg_has_role(login, current_user::regrole::oid, 'member') then
    perform weir.refuse_argument('role', 'is weir''s owner, a member of it or a superuser, and may do everything');
  elsif access is null or access not in ('producer', 'worker', 'reader', 'operator') then
    perform weir.refuse_argument('access', 'must be producer, worker, reader or operator');
  elsif coalesce(cardinality(queues), 0) not between 1 and 100 or exists (select from unnest(queues) q
    where (q ~ '^[A-Za-z0-9_*][A-Za-z0-9_.:*-]{0,127}$') is not true) then
    perform weir.refuse_argument('queues', 'must be 1 to 100 names of queues, in which * stands for any characters');
  elsif weir.label_problem(to_jsonb(tenant)) is not null then
    perform weir.refuse_argument('tenant', weir.label_problem(to_jsonb(tenant)));
  end if;
  insert into weir_auth.sql_access as x (role, name, access, queues, patterns, tenant)
  values (login, role, access, queues,
    array(select replace(replace(q, '_', '\_'), '*', '%') from unnest(queues) with ordinality u(q, n) order by n),
    tenant)
  on conflict on constraint sql_access_pkey do update set name = excluded.name, queues = excluded.queues,
    patterns = excluded.patterns,
    tenant = excluded.tenant, granted_at = excluded.granted_at;
  perform weir.apply_access(login);
end $$;
comment on function weir.grant_access(text, text, text[], text) is
  'Lets a role that logs in use weir: as producer, worker, reader or operator, for queues that match one of these '
  'names (* stands for any characters), and for one tenant (null: all). A role may have several of them. Granting '
  'one again replaces its queues and tenant. For weir''s owner. Errors: WR010.';

create or replace function weir.revoke_access(role text, access text default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  login oid := to_regrole(quote_ident(role))::oid;
begin
  if login is null then
    perform weir.refuse_argument('role', 'must be a role of this server');
  end if;
  delete from weir_auth.sql_access x where x.role = login and x.access = coalesce(revoke_access.access, x.access);
  perform weir.apply_access(login);
end $$;
comment on function weir.revoke_access(text, text) is
  'Takes back what weir.grant_access gave to a role: one kind of access, or all (null). Leases that it holds run out. '
  'For weir''s owner. Errors: WR010.';

create or replace function weir.apply_access(login oid) returns void language plpgsql as $$
declare
  name text := login::regrole::text;
  o record;
begin
  for o in
    select format('function %s', p.oid::regprocedure) as what from pg_proc p cross join aclexplode(p.proacl) x
      where p.pronamespace = 'weir'::regnamespace and x.grantee = login
    union all select format('table %s', c.oid::regclass) from pg_class c cross join aclexplode(c.relacl) x
      where c.relnamespace = 'weir_read'::regnamespace and x.grantee = login
    union all select format('schema %I', n.nspname) from pg_namespace n cross join aclexplode(n.nspacl) x
      where n.nspname in ('weir', 'weir_read') and x.grantee = login
  loop
    execute format('revoke all on %s from %s', o.what, name);
  end loop;
  for o in
    with held as (
      select a.access, a.tenant is not null or a.patterns <> '{%}' as limited from weir_auth.sql_access a
      where a.role = login
    )
    select distinct format('execute on function %s', p.oid::regprocedure) as what
      from held h join weir.permitted() f on f.access = h.access and (f.to_limited or not h.limited)
      join pg_proc p on p.pronamespace = 'weir'::regnamespace and p.proname = f.function_name
    union select format('select on %s', c.oid::regclass) from pg_class c
      where c.relnamespace = 'weir_read'::regnamespace and exists (select from held h
        where h.access = 'reader' and not h.limited
          or c.relname in ('jobs', 'running', 'dead_letters', 'queue_depth', 'job_logs')
          or h.access in ('reader', 'operator') and c.relname in ('schedules', 'schedule_runs', 'webhooks', 'workers',
            'breakers', 'breaker_events', 'alerts', 'alert_rules'))
    union select 'usage on schema ' || n from unnest('{weir,weir_read}'::text[]) n where exists (select from held)
  loop
    execute format('grant %s to %s', o.what, name);
  end loop;
end $$;
comment on function weir.apply_access(oid) is
  'Internal. Gives a role the rights on functions and views that its access needs, and takes back all others.';
