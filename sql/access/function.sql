-- Who may run weir's functions, and where they find names.
--
-- weir migrate up applies the files of sql/access last, whenever any function has changed: create or replace forgets
-- what is set here. So a new function is closed and pinned without a line of its own.
--
-- A function that a session of any kind may call finds names in pg_catalog, in weir and nowhere else. Without that, a
-- function that another role has made in public, and that fits the arguments better, would run with the rights of the
-- caller. What such a function calls runs under its setting.
--
-- Functions that logins may be granted run with the rights of weir's owner, and so does the trigger that such a
-- function leaves for the commit.
do $do$
declare
  f record;
  -- Internal functions that nodes and triggers call.
  called constant text[] := '{admissions,audit_settings,claim_batch,complete_batch,create_deliveries,
    dispatch_deliveries,due_work,evaluate_breaker_sample,fail_batch,filter_dead_letter_ids,filter_job_ids,is_within,
    line_names,lock_leases,newest_job_ids,options_problem,pending_ends,pending_failures,pending_rollup,
    record_delivery_attempt,record_health,record_subject,recover_admission,recover_clock,refuse_audit_change,
    require_worker,sees_workflow,snooze_batch,store_workflow,webhook_id,which_ended}';
begin
  for f in
    select p.oid::regprocedure as name,
      p.prokind = 'f' and (p.proname = any (called) or p.proname in (select x.function_name from weir.permitted() x)
        or obj_description(p.oid, 'pg_proc') not like 'Internal%')
        -- A body that was parsed when the function was made has its names already, and can be inlined.
        and p.prosqlbody is null as pinned,
      p.prokind = 'f' and p.prosqlbody is null and (p.proname = 'evaluate_breaker_sample'
        or p.proname in (select x.function_name from weir.permitted() x)) as definer
    from pg_proc p where p.pronamespace = 'weir'::regnamespace
  loop
    execute format('revoke all on function %s from public', f.name);
    if f.pinned then
      execute format('alter function %s set search_path = pg_catalog, weir, pg_temp', f.name);
    end if;
    if f.definer then
      execute format('alter function %s security definer', f.name);
    end if;
  end loop;
end $do$;
