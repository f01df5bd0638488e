-- Rules of alerts: made, changed, muted and deleted.
--
-- The settings are one JSON object, the same over SQL and REST. weir.parse_alert_rule is the only reader.

create or replace function weir.refuse_alert_rule(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR100', message = format('there is no alert rule %L', refuse_alert_rule.name),
    hint = 'weir.alert_rules lists those there are; weir.set_alert_rule makes one.';
end $$;
comment on function weir.refuse_alert_rule(text) is 'Internal. Raises WR100 alert_rule_not_found.';

create or replace function weir.alert_queues(queue text) returns text[] language sql immutable as $$
  select case when queue is null then '{}'::text[] else array[queue] end
$$;
comment on function weir.alert_queues(text) is
  'Internal. The queue of a rule as the queues of a record (weir.reaches). A pattern is within another if that matches '
  'its text.';

-- Locks: the rule's row.
create or replace function weir.lock_alert_rule(name text, tenant text, must_exist boolean default true)
returns weir.alert_rule language plpgsql as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.caller_bounds();
  r weir.alert_rule;
begin
  select x.* into r from weir.alert_rule x where x.name = lock_alert_rule.name
    and coalesce(x.tenant, '') = coalesce(weir.owner_of(bounds, tenant), '') for update;
  if must_exist and (r.id is null or not weir.reaches(bounds, r.tenant, weir.alert_queues(r.queue))) then
    perform weir.refuse_alert_rule(name);
  end if;
  return r;
end $$;
comment on function weir.lock_alert_rule(text, text, boolean) is
  'Internal. Locks a rule of the caller for a change. Raises WR100.';

-- As they are given to weir.set_alert_rule.
create or replace function weir.alert_rule_settings(r weir.alert_rule) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('condition', r.condition, 'threshold', r.threshold,
    'resolve_threshold', r.resolve_threshold, 'window_seconds', r.window_seconds, 'min_calls', r.min_calls,
    'queue', r.queue, 'kind', r.kind, 'for_seconds', r.for_seconds, 'clear_seconds', r.clear_seconds,
    'cooldown_seconds', r.cooldown_seconds, 'severity', r.severity, 'quiet', r.quiet, 'notify', r.notify,
    'description', r.description, 'enabled', r.enabled))
$$;
comment on function weir.alert_rule_settings(weir.alert_rule) is 'Internal. The settings of a rule, as JSON.';

-- The types and values of single fields. d: settings without their null fields.
create or replace function weir.alert_rule_problem(d jsonb) returns text[] language sql stable as $$
  select array[p.field, p.problem] from (
    select 'condition' as field, case when d -> 'condition' is null then 'is required'
      else weir.choice_problem(d -> 'condition', array(select c.condition from weir.alert_conditions() c))
      end as problem
    union all select t.field, weir.number_problem(d -> t.field, 0, 1e15)
      from unnest('{threshold,resolve_threshold}'::text[]) t(field)
    union all select t.field, weir.integer_problem(d -> t.field, t.lowest, t.highest)
      from (values ('window_seconds', 60, 86400), ('min_calls', 1, 1000000), ('for_seconds', 0, 86400),
        ('clear_seconds', 0, 86400), ('cooldown_seconds', 0, 604800)) t(field, lowest, highest)
    union all select 'queue', case when d ->> 'queue' is not null and (jsonb_typeof(d -> 'queue') <> 'string'
      or d ->> 'queue' !~ '^[A-Za-z0-9_*][A-Za-z0-9_.:*-]{0,127}$')
      then 'must be the name of a queue, in which * stands for any characters' end
    union all select 'kind', case when d ->> 'kind' is not null and (jsonb_typeof(d -> 'kind') <> 'string'
      or length(d ->> 'kind') not between 1 and 200) then 'must be a string of 1 to 200 characters' end
    union all select 'severity', weir.choice_problem(d -> 'severity', '{info,warning,critical}')
    union all select (weir.quiet_problem(d -> 'quiet'))[1], (weir.quiet_problem(d -> 'quiet'))[2]
    union all select 'notify', coalesce(weir.names_problem(d -> 'notify', 128),
      case when jsonb_typeof(d -> 'notify') = 'array' and jsonb_array_length(d -> 'notify') > 20
      then 'must name at most 20' end)
    union all select 'description', case when d ->> 'description' is not null
      and (jsonb_typeof(d -> 'description') <> 'string' or length(d ->> 'description') not between 1 and 1000)
      then 'must be a string of 1 to 1000 characters' end
    union all select 'enabled', case when jsonb_typeof(d -> 'enabled') <> 'boolean' then 'must be true or false' end
  ) p where p.problem is not null limit 1
$$;
comment on function weir.alert_rule_problem(jsonb) is
  'Internal. The first setting of a rule that is invalid, and why; null: none.';

-- What the settings say together, and what they name.
create or replace function weir.check_alert_rule(r weir.alert_rule, bounds jsonb) returns void
language plpgsql stable as $$
declare
  c record;
  bad record;
begin
  select * into c from weir.alert_conditions() x where x.condition = r.condition;
  select p.field, p.problem into bad from (values
    ('threshold', case when r.threshold is null then 'is required'
      when r.threshold not between c.lowest and c.highest
        then 'must be from ' || c.lowest::text || ' to ' || c.highest::text || ' for this condition' end),
    ('resolve_threshold', case when r.resolve_threshold > r.threshold then 'must not be above threshold' end),
    ('window_seconds', case when r.window_seconds is not null and not c.counts
      then 'is not for this condition' end),
    ('min_calls', case when r.min_calls is not null and r.condition <> 'failure_ratio'
      then 'goes only with failure_ratio' end),
    ('queue', case when r.queue is not null and not c.by_queue then 'is not for this condition'
      when r.queue is null and bounds -> 'queues' is not null and c.by_queue
        then 'is required of a caller who is bound to some' end),
    ('kind', case when r.kind is not null and not c.by_kind then 'is not for this condition' end),
    ('condition', case when r.tenant is not null and not c.by_tenant
        then 'is about the whole service, and no tenant''s'
      when bounds -> 'queues' is not null and not c.by_queue
        then 'is not about queues, and the caller is bound to some' end),
    ('notify', (select format('names %L, which is no target', n) from unnest(r.notify) n
      where not exists (select from weir.alert_target t where t.name = n
        and t.tenant is not distinct from r.tenant) limit 1))) p(field, problem)
  where p.problem is not null limit 1;
  if found then
    perform weir.refuse_argument(bad.field, bad.problem);
  end if;
  perform weir.refuse_queues_beyond(bounds, weir.alert_queues(r.queue));
end $$;
comment on function weir.check_alert_rule(weir.alert_rule, jsonb) is
  'Internal. Raises WR010 where the settings of a rule contradict each other, and WR011 for a queue beyond the bounds '
  'of the caller.';

-- base: the rule that is changed, or null fields. With replace nothing of its settings stays. Another condition forgets
-- what only the old one had.
create or replace function weir.parse_alert_rule(name text, settings jsonb, base weir.alert_rule, replace boolean,
  tenant text, bounds jsonb) returns weir.alert_rule language plpgsql stable as $$
#variable_conflict use_variable
declare
  r weir.alert_rule := base;
  known constant text[] := '{condition,threshold,resolve_threshold,window_seconds,min_calls,queue,kind,for_seconds,'
    'clear_seconds,cooldown_seconds,severity,quiet,notify,description,enabled}';
  d jsonb;
  problem text[];
begin
  if weir.is_queue_name(name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif jsonb_typeof(settings) is distinct from 'object' then
    perform weir.refuse_argument('settings', 'must be a JSON object');
  elsif settings - known <> '{}' then
    perform weir.refuse_argument(weir.first_key(settings - known), 'is no setting of an alert rule');
  end if;
  d := case when base.id is null or replace then '{}' else weir.alert_rule_settings(base) end;
  if settings ->> 'condition' <> d ->> 'condition' then
    d := d - '{threshold,resolve_threshold,window_seconds,min_calls,kind,queue}'::text[];
  elsif settings ? 'threshold' then
    d := d - 'resolve_threshold';
  end if;
  d := coalesce((select jsonb_object_agg(e.key, e.value) from jsonb_each(d || settings) e where e.value <> 'null'),
    '{}');
  problem := weir.alert_rule_problem(d);
  if problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  end if;
  r.name := name;
  r.tenant := tenant;
  r.condition := d ->> 'condition';
  select coalesce((d ->> 'threshold')::float8, c.preset), case when c.counts
      then coalesce((d ->> 'window_seconds')::numeric::int, 3600) else (d ->> 'window_seconds')::numeric::int end
    into r.threshold, r.window_seconds from weir.alert_conditions() c where c.condition = r.condition;
  r.resolve_threshold := (d ->> 'resolve_threshold')::float8;
  r.min_calls := coalesce((d ->> 'min_calls')::numeric::int, case when r.condition = 'failure_ratio' then 10 end);
  r.queue := d ->> 'queue';
  r.kind := d ->> 'kind';
  r.for_seconds := coalesce((d ->> 'for_seconds')::numeric::int, 0);
  r.clear_seconds := coalesce((d ->> 'clear_seconds')::numeric::int, 60);
  r.cooldown_seconds := coalesce((d ->> 'cooldown_seconds')::numeric::int, 300);
  r.severity := coalesce(d ->> 'severity', 'warning');
  r.quiet := d -> 'quiet';
  r.notify := array(select distinct n from jsonb_array_elements_text(coalesce(d -> 'notify', '[]')) n order by n);
  r.description := d ->> 'description';
  r.enabled := coalesce((d ->> 'enabled')::boolean, true);
  perform weir.check_alert_rule(r, bounds);
  return r;
end $$;
comment on function weir.parse_alert_rule(text, jsonb, weir.alert_rule, boolean, text, jsonb) is
  'Internal. A rule from its settings. Errors: WR010, WR011.';

create or replace function weir.set_alert_rule(name text, settings jsonb, replace boolean default false,
  tenant text default null, make boolean default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.caller_bounds();
  owner text := weir.owner_of(bounds, tenant);
  base weir.alert_rule := weir.lock_alert_rule(set_alert_rule.name, set_alert_rule.tenant, must_exist => make is false);
  r weir.alert_rule;
  max_rules constant int := 500;
begin
  if base.id is not null and (make is true or not weir.reaches(bounds, base.tenant, weir.alert_queues(base.queue))) then
    raise exception using errcode = 'WR103', message = format('there is an alert rule %L already', name),
      hint = 'Choose another name, or change the one that is there.';
  end if;
  r := weir.parse_alert_rule(name, settings, base, replace, owner, bounds);
  if base.id is not null then
    update weir.alert_rule x set condition = r.condition, threshold = r.threshold,
      resolve_threshold = r.resolve_threshold, window_seconds = r.window_seconds, min_calls = r.min_calls,
      queue = r.queue, kind = r.kind, for_seconds = r.for_seconds, clear_seconds = r.clear_seconds,
      cooldown_seconds = r.cooldown_seconds, severity = r.severity, quiet = r.quiet, notify = r.notify,
      description = r.description, enabled = r.enabled, updated_at = clock_timestamp(), problem = null
    where x.id = base.id;
    if not r.enabled then
      perform weir.resolve_alerts(r, array(select a.subject from weir.alert a where a.rule_id = r.id
        and a.state <> 'resolved'), 'rule_disabled');
      delete from weir.alert_pending p where p.rule_id = r.id;
    end if;
    return;
  end if;
  if (select count(*) from weir.alert_rule) >= max_rules then
    perform weir.refuse_argument('name', format('would be one of more than %s alert rules', max_rules));
  end if;
  insert into weir.alert_rule (name, tenant, condition, threshold, resolve_threshold, window_seconds, min_calls, queue,
    kind, for_seconds, clear_seconds, cooldown_seconds, severity, quiet, notify, description, enabled)
  values (r.name, r.tenant, r.condition, r.threshold, r.resolve_threshold, r.window_seconds, r.min_calls, r.queue,
    r.kind, r.for_seconds, r.clear_seconds, r.cooldown_seconds, r.severity, r.quiet, r.notify, r.description, r.enabled)
  on conflict do nothing;
  if not found then
    raise exception using errcode = 'WR103', message = format('there is an alert rule %L already', name),
      hint = 'Choose another name, or change the one that is there.';
  end if;
end $$;
comment on function weir.set_alert_rule(text, jsonb, boolean, text, boolean) is
  'Creates a rule of alerts, or changes the given settings; null restores a default. replace => true: the settings '
  'that are not given return to their defaults. make => true: it must not exist; false: it must exist. Settings: '
  'condition (required), threshold, resolve_threshold, window_seconds, min_calls, queue, kind, for_seconds, '
  'clear_seconds, cooldown_seconds, severity, quiet, notify, description, enabled; see docs/alerts.md. tenant: whose '
  'it is; it watches only what is that tenant''s. Errors: WR010, WR011, WR100, WR103.';

create or replace function weir.delete_alert_rule(name text, tenant text default null) returns void
language plpgsql as $$
declare
  r weir.alert_rule := weir.lock_alert_rule(delete_alert_rule.name, delete_alert_rule.tenant);
begin
  perform weir.resolve_alerts(r, array(select a.subject from weir.alert a where a.rule_id = r.id
    and a.state <> 'resolved'), 'rule_deleted');
  delete from weir.alert_pending p where p.rule_id = r.id;
  delete from weir.alert_rule x where x.id = r.id;
end $$;
comment on function weir.delete_alert_rule(text, text) is
  'Deletes a rule of alerts. Its alerts resolve, and their history stays. Errors: WR100.';

-- What waits for the end of an earlier mute waits for that of this one; see weir.alert_hold.
create or replace function weir.mute_alert_rule(name text, until timestamptz, tenant text default null) returns void
language plpgsql as $$
#variable_conflict use_variable
declare
  r weir.alert_rule := weir.lock_alert_rule(mute_alert_rule.name, mute_alert_rule.tenant);
begin
  if until is null or until <= clock_timestamp() or until > clock_timestamp() + interval '366 days' then
    perform weir.refuse_argument('until', 'must be a time in the next 366 days');
  end if;
  update weir.alert_rule x set muted_until = until where x.id = r.id;
end $$;
comment on function weir.mute_alert_rule(text, timestamptz, text) is
  'Sends nothing of a rule until then, at most a year ahead. Its alerts open and resolve anyway; those that are '
  'still open at the end are sent then. Errors: WR010, WR100.';

-- Locks: the rule's row, then deliveries that were not handed out yet.
create or replace function weir.unmute_alert_rule(name text, tenant text default null) returns void
language plpgsql as $$
#variable_conflict use_variable
declare
  r weir.alert_rule := weir.lock_alert_rule(unmute_alert_rule.name, unmute_alert_rule.tenant);
begin
  update weir.alert_rule x set muted_until = null where x.id = r.id and x.muted_until is not null;
  r.muted_until := null;
  update weir.alert_delivery d set next_at = weir.alert_hold(r, clock_timestamp())
    where d.state = 'pending' and d.takes = 0
      and d.alert_id in (select a.id from weir.alert a where a.rule_id = r.id and a.state <> 'resolved');
end $$;
comment on function weir.unmute_alert_rule(text, text) is
  'Ends the mute of a rule; what is open and was held back is sent now. Errors: WR100.';
