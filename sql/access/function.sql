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
  called constant text[] := '{
    admissions,
    alert_rule_settings,
    audit_settings,
    bounded_queues,
    claim_batch,
    complete_batch,
    count_work,
    counted_until,
    created_from,
    create_deliveries,
    dispatch_alert_deliveries,
    dispatch_deliveries,
    due_work,
    encrypted_leases,
    enqueue_batch_once,
    evaluate_alert_rule,
    evaluate_breaker_sample,
    expire_names,
    explain_enqueue,
    fail_batch,
    filter_dead_letter_ids,
    filter_job_ids,
    follow_ups,
    is_counted,
    is_within,
    job_filter_problem,
    line_names,
    lock_leases,
    log_ends,
    newest_job_ids,
    options_problem,
    pending_ends,
    pending_failures,
    pending_rollup,
    preview_alerts,
    queue_outlook,
    queue_reasons,
    reaches,
    read_log,
    record_alert_attempt,
    record_alert_problem,
    record_delivery_attempt,
    record_health,
    record_subject,
    recover_admission,
    recover_clock,
    refuse_audit_change,
    register_worker_as,
    replay_as,
    replayed_job,
    require_worker,
    resolve_times,
    search_step,
    sees_workflow,
    shown_detail,
    similar_candidates,
    snooze_batch,
    sort_job_ids,
    stats_failures,
    stats_rows,
    stats_work,
    store_workflow,
    try_turn,
    which_ended,
    why_job,
    worker_heartbeat_as}';
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
