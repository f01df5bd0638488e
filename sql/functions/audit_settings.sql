-- Changes of settings in the audit trail: triggers on the tables that hold them, so that every door is caught.
--
-- They fire only where a statement names one of the columns that are settings, and record only those whose values
-- changed. Rows that an enqueue creates by naming a queue or a breaker are no change of settings.

-- What may be shown of a setting: no args, results and metadata, and no part of a URL that may hold a secret.
create or replace function weir.audited_setting(name text, value jsonb) returns jsonb language sql stable as $$
  select case
    when jsonb_typeof(value) = 'null' then null
    when name = 'dead_letter_queue_id'
      then (select to_jsonb(q.name) from weir.queue q where q.id = (value #>> '{}')::int)
    when name = 'breaker_id' then (select to_jsonb(b.name) from weir.breaker b where b.id = (value #>> '{}')::int)
    when name = 'job' then value - '{args,metadata}'::text[]
    when name = 'workflow' then jsonb_build_object('name', value -> 'name', 'steps',
      jsonb_array_length(case when jsonb_typeof(value -> 'steps') = 'array' then value -> 'steps' else '[]' end))
    when name = 'while_open' then value - 'result'
    when name = 'filter' then value - '{q,error,args}'::text[]  -- texts of args and errors
    when name = 'url' then to_jsonb(split_part(value #>> '{}', '?', 1))
    else value end
$$;
comment on function weir.audited_setting(text, jsonb) is
  'Internal. The value of a setting as the audit trail may have it.';

create or replace function weir.audited_settings(settings jsonb, names text[]) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_object_agg(case when n in ('dead_letter_queue_id', 'breaker_id')
    then left(n, -3) else n end, weir.audited_setting(n, settings -> n)))
  from unnest(names) n where settings is not null
$$;
comment on function weir.audited_settings(jsonb, text[]) is
  'Internal. Some settings of a row, as the audit trail may have them.';

create or replace function weir.audited_operation(what text, was jsonb, became jsonb) returns text
language sql immutable as $$
  select case
    when became is null or became ->> 'deleted_at' is not null then case what when 'Access' then 'revokeAccess'
      else 'delete' || what end
    when was is null then case when what in ('Webhook', 'Schedule', 'Key', 'AlertRule', 'AlertTarget') then 'create'
      when what = 'Access' then 'grant' else 'put' end || what
    when became -> 'revoked_at' <> was -> 'revoked_at' then 'revoke' || what
    when became -> 'old_key_until' <> was -> 'old_key_until' then 'rotateKey'
    when became -> 'old_secret_until' <> was -> 'old_secret_until' then 'rotateWebhookSecret'
    when became -> 'muted_until' <> was -> 'muted_until'
      then case when became ->> 'muted_until' is null then 'unmute' else 'mute' end || what
    when became -> 'disabled_at' <> was -> 'disabled_at'
      then case when became ->> 'disabled_at' is null then 'enable' else 'disable' end || what
    when became -> 'paused_at' <> was -> 'paused_at' or became -> 'resume_at' <> was -> 'resume_at'
      or became -> 'pause_reason' <> was -> 'pause_reason'
      then case when became ->> 'paused_at' is null then 'resume' else 'pause' end || what
    else case what when 'Access' then 'grant' when 'KeyLimit' then 'put' when 'TenantLimit' then 'put'
      when 'Tenant' then 'put' when 'Preset' then 'put' else 'edit' end || what
  end
$$;
comment on function weir.audited_operation(text, jsonb, jsonb) is
  'Internal. The operation of REST that makes such a change of a row.';

-- Arguments: what the row is, and the columns that are settings. A queue or a breaker is created by the first statement
-- of the transaction that sets it.
create or replace function weir.audit_settings() returns trigger language plpgsql as $$
declare
  what text := tg_argv[0];
  names text[] := tg_argv[1];
  was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) end;
  became jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) end;
  owner jsonb := coalesce(became, was);
  object text;
begin
  if what = 'Key' and owner ->> 'kind' = 'oidc'
    and (became ->> 'revoked_at') is not distinct from (was ->> 'revoked_at') then
    return null;  -- a node records what the tokens of a subject say
  end if;
  if what in ('Queue', 'Breaker') and (was ->> 'created_at')::timestamptz >= now() then
    was := null;
  end if;
  if was is not null and became is not null then
    if was ->> 'deleted_at' is not null then
      return null;  -- it comes back, by a job that names it
    end if;
    if became ->> 'deleted_at' is null then
      names := array(select n from unnest(names) n where was -> n is distinct from became -> n);
    end if;
    if names = '{}' then
      return null;
    end if;
  end if;
  if what = 'Limit' then
    select 'queues/' || q.name || '/limits/' || (owner ->> 'what') || 's/' || (owner ->> 'name') into object
      from weir.queue q where q.id = (owner ->> 'queue_id')::int and q.deleted_at is null;
    if object is null then
      return null;  -- it goes with its queue
    end if;
    what := initcap(owner ->> 'what') || 'Limit';
  else
    object := case what when 'Breaker' then weir.breaker_path(owner ->> 'name')
      else weir.object_path(case what when 'Access' then 'logins' when 'AlertRule' then 'alert-rules'
          when 'AlertTarget' then 'alert-targets' else lower(what) || 's' end,
        coalesce(owner ->> 'key_id', owner ->> 'name', owner ->> 'tenant'),
        case when what in ('Schedule', 'Webhook', 'Preset', 'AlertRule', 'AlertTarget')
          then owner ->> 'tenant' end) end;
  end if;
  perform weir.record_change(weir.audited_operation(what, was, became), object, weir.audited_settings(was, names),
    case when became ->> 'deleted_at' is null then weir.audited_settings(became, names) end);
  return null;
end $$;
comment on function weir.audit_settings() is 'Internal. The trigger that records changes of settings.';

create or replace trigger audited after update of priority, max_attempts, timeout_seconds, lease_seconds, retry,
  retention_seconds, dead_retention_seconds, dead_letter_queue_id, max_depth, breaker_id, limits, tenant, encrypted,
  paused_at, pause_reason, resume_at, deleted_at on weir.queue for each row
  execute function weir.audit_settings('Queue', '{priority,max_attempts,timeout_seconds,lease_seconds,retry,
    retention_seconds,dead_retention_seconds,dead_letter_queue_id,max_depth,breaker_id,limits,tenant,encrypted,
    paused_at,pause_reason,resume_at,deleted_at}');
create or replace trigger audited after insert or delete or update on weir.tenant_quota for each row
  execute function weir.audit_settings('Tenant', '{max_waiting,enqueues_per_second,enqueue_burst,max_bytes}');
create or replace trigger audited after insert or delete or update on weir.limit_override for each row
  execute function weir.audit_settings('Limit', '{concurrency,per_second,burst,weight}');
create or replace trigger audited after update of failure_threshold, failure_ratio, min_calls, window_seconds,
  open_seconds, max_open_seconds, half_open_probes, close_after, counts, while_open, ramp_per_second, ramp_factor,
  deleted_at on weir.breaker for each row
  execute function weir.audit_settings('Breaker', '{failure_threshold,failure_ratio,min_calls,window_seconds,
    open_seconds,max_open_seconds,half_open_probes,close_after,counts,while_open,ramp_per_second,ramp_factor,
    deleted_at}');
create or replace trigger audited after insert or update of cron, every_seconds, anchor, at, timezone, job, workflow,
  jitter_seconds, starts_at, ends_at, max_runs, dst_gap, dst_overlap, misfire, misfire_limit, overlap, paused_at,
  deleted_at on weir.schedule for each row
  execute function weir.audit_settings('Schedule', '{cron,every_seconds,anchor,at,timezone,job,workflow,
    jitter_seconds,starts_at,ends_at,max_runs,dst_gap,dst_overlap,misfire,misfire_limit,overlap,paused_at,deleted_at}');
create or replace trigger audited after insert or delete or update of title, description, filter on weir.preset
  for each row execute function weir.audit_settings('Preset', '{title,description,filter}');
create or replace trigger audited after insert or delete or update of url, events, queues, kinds, timeout_seconds,
  disable_after_seconds, error_text, old_secret_until, disabled_at, disabled_reason on weir.webhook for each row
  execute function weir.audit_settings('Webhook', '{url,events,queues,kinds,timeout_seconds,disable_after_seconds,
    error_text,old_secret_until,disabled_at,disabled_reason}');
create or replace trigger audited after insert or delete or update of name, roles, queues, tenant, redact,
  rate_per_second, expires_at, revoked_at, old_key_until on weir.principal for each row
  execute function weir.audit_settings('Key', '{name,roles,queues,tenant,redact,rate_per_second,expires_at,revoked_at,
    old_key_until}');
create or replace trigger audited after insert or delete or update of queues, tenant on weir_auth.sql_access
  for each row execute function weir.audit_settings('Access', '{access,queues,tenant}');
create or replace trigger audited after insert or delete or update of condition, threshold, resolve_threshold,
  window_seconds, min_calls, queue, kind, for_seconds, clear_seconds, cooldown_seconds, severity, quiet, notify,
  description, enabled, muted_until on weir.alert_rule for each row
  execute function weir.audit_settings('AlertRule', '{condition,threshold,resolve_threshold,window_seconds,min_calls,
    queue,kind,for_seconds,clear_seconds,cooldown_seconds,severity,quiet,notify,description,enabled,muted_until}');
create or replace trigger audited after insert or delete or update of kind, settings, events, updated_at
  on weir.alert_target for each row
  execute function weir.audit_settings('AlertTarget', '{kind,settings,events,updated_at}');
