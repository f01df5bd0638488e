-- Evaluating rules of alerts: for real, which one node does every 15 seconds, and as a preview, which stores nothing.

-- Locks: the rule, skip locked: then another session evaluates it. One transaction makes and ends alerts and notes what
-- to send.
create or replace function weir.evaluate_alert_rule(rule_id int) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  now_at timestamptz := clock_timestamp();
  max_alerts constant int := 100;
  r weir.alert_rule;
  held weir.alert_value[];
  firing text[];
  opened bigint[];
  beyond int;
begin
  select x.* into r from weir.alert_rule x where x.id = rule_id and x.enabled for update skip locked;
  if not found then
    return;
  end if;
  held := array(select v from weir.alert_values(r) v);
  firing := array(select h.subject from unnest(held) h where h.value > r.threshold);
  delete from weir.alert_pending p where p.rule_id = r.id and p.subject <> all (firing);
  insert into weir.alert_pending (rule_id, subject, since)
  select r.id, f.subject, now_at from unnest(firing) f(subject)
  where not exists (select from weir.alert a where a.rule_id = r.id and a.subject = f.subject and a.state <> 'resolved')
  on conflict do nothing;

  update weir.alert a set value = h.value, highest = greatest(a.highest, h.value), clear_since = null,
    summary = weir.alert_summary(r, h.subject, h.value)
  from unnest(held) h where a.rule_id = r.id and a.subject = h.subject and a.state <> 'resolved'
    and (a.value <> h.value or a.clear_since is not null);
  update weir.alert a set clear_since = now_at where a.rule_id = r.id and a.state <> 'resolved'
    and a.clear_since is null and a.subject <> all (array(select h.subject from unnest(held) h));
  perform weir.resolve_alerts(r, array(select a.subject from weir.alert a where a.rule_id = r.id
    and a.state <> 'resolved' and a.clear_since <= now_at - make_interval(secs => r.clear_seconds)), 'cleared');

  with ready as (
    select h.subject, h.value, p.since from unnest(held) h
      join weir.alert_pending p on p.rule_id = r.id and p.subject = h.subject
    where p.since <= now_at - make_interval(secs => r.for_seconds) and not exists (select from weir.alert a
      where a.rule_id = r.id and a.subject = h.subject
        and a.opened_at > now_at - make_interval(secs => r.cooldown_seconds))
    order by h.value desc, h.subject limit greatest(max_alerts - (select count(*) from weir.alert a
      where a.rule_id = r.id and a.state <> 'resolved'), 0)
  ), made as (
    insert into weir.alert (rule_id, rule, tenant, queues, condition, severity, subject_kind, subject, summary, value,
      highest, threshold, facts, since, opened_at)
    select r.id, r.name, r.tenant, weir.alert_queues(r.queue), r.condition, r.severity, c.subject_kind, x.subject,
      weir.alert_summary(r, x.subject, x.value), x.value, x.value, r.threshold,
      weir.alert_facts(c.subject_kind, x.subject), x.since, now_at
    from ready x join weir.alert_conditions() c on c.condition = r.condition returning id, subject
  ), gone as (
    delete from weir.alert_pending p using made m where p.rule_id = r.id and p.subject = m.subject
  )
  select array_agg(m.id) into opened from made m;
  if opened is not null then
    perform weir.tell_targets(r, opened, 'opened');
  end if;
  beyond := case when (select count(*) from weir.alert a where a.rule_id = r.id and a.state <> 'resolved') >= max_alerts
    then (select count(*) from weir.alert_pending p where p.rule_id = r.id
      and p.since <= now_at - make_interval(secs => r.for_seconds)) else 0 end;
  update weir.alert_rule x set evaluated_at = now_at, unlisted = beyond, problem = null where x.id = r.id
    and (x.evaluated_at is null or x.evaluated_at < now_at - interval '1 min' or x.unlisted <> beyond
      or x.problem is not null);
end $$;
comment on function weir.evaluate_alert_rule(int) is
  'Internal. Evaluates a rule: opens and resolves its alerts, and notes what to send. At most 100 alerts of a rule are '
  'open at once; the rest is counted in weir.alert_rule.unlisted.';

create or replace function weir.record_alert_problem(rule_id int, problem text) returns void language sql as $$
  update weir.alert_rule r set problem = left(record_alert_problem.problem, 500), evaluated_at = clock_timestamp()
    where r.id = rule_id
$$;
comment on function weir.record_alert_problem(int, text) is 'Internal. Records why a rule could not be evaluated.';

-- What one rule would do now. action: open, wait (for_seconds), cooldown, full (100 alerts), active (an alert is there
-- and holds), clearing (an alert is there and resolves at `at`).
create or replace function weir.preview_alert_rule(r weir.alert_rule)
returns table (rule text, tenant text, condition text, severity text, subject_kind text, subject text, value float8,
  threshold float8, since timestamptz, action text, at timestamptz, alert_id bigint, summary text, notify text[],
  held_until timestamptz) language plpgsql stable as $$
#variable_conflict use_column
declare
  now_at timestamptz := clock_timestamp();
  active int := (select count(*) from weir.alert a where a.rule_id = r.id and a.state <> 'resolved');
begin
  return query
  with held as (select v.subject, v.value from weir.alert_values(r) v), found as (
    select coalesce(h.subject, a.subject) as subject, h.value, a.id, a.value as last_value, a.since as alert_since,
      a.clear_since, coalesce(p.since, now_at) as since, a.summary,
      (select max(x.opened_at) from weir.alert x where x.rule_id = r.id and x.subject = h.subject) as opened_at
    from held h
    full join (select x.* from weir.alert x where x.rule_id = r.id and x.state <> 'resolved') a
      on a.subject = h.subject
    left join weir.alert_pending p on p.rule_id = r.id and p.subject = h.subject
    where a.id is not null or h.value > r.threshold
  ), timed as (
    select f.*, greatest(f.since + make_interval(secs => r.for_seconds),
      f.opened_at + make_interval(secs => r.cooldown_seconds)) as opens_at from found f
  )
  select r.name, r.tenant, r.condition, r.severity, c.subject_kind, t.subject, coalesce(t.value, t.last_value),
    r.threshold, coalesce(t.alert_since, t.since),
    case when t.id is not null then case when t.value is null then 'clearing' else 'active' end
      when t.since + make_interval(secs => r.for_seconds) > now_at then 'wait'
      when t.opens_at > now_at then 'cooldown'
      when active >= 100 then 'full' else 'open' end,
    case when t.id is null then greatest(t.opens_at, now_at) when t.value is null
      then greatest(coalesce(t.clear_since, now_at) + make_interval(secs => r.clear_seconds), now_at) end,
    t.id, coalesce(weir.alert_summary(r, t.subject, t.value), t.summary), r.notify,
    nullif(weir.alert_hold(r, now_at), now_at)
  from timed t join weir.alert_conditions() c on c.condition = r.condition
  order by t.value desc nulls last, t.subject;
end $$;
comment on function weir.preview_alert_rule(weir.alert_rule) is 'Internal. What a rule would do now, and why.';

create or replace function weir.preview_alerts(bounds jsonb, rule text, definition jsonb, tenant text)
returns table (rule_name text, tenant_name text, condition text, severity text, subject_kind text, subject text,
  value float8, threshold float8, since timestamptz, action text, at timestamptz, alert_id bigint, summary text,
  notify text[], held_until timestamptz) language plpgsql stable as $$
#variable_conflict use_variable
declare
  owner text := weir.owner_of(bounds, tenant);
  r weir.alert_rule;
  unsaved weir.alert_rule;
begin
  if rule is not null and definition is not null then
    perform weir.refuse_argument('definition', 'and rule exclude each other');
  elsif definition is not null then
    unsaved.id := 0;
    r := weir.parse_alert_rule('unsaved', definition, unsaved, true, owner, bounds);
    return query select x.* from weir.preview_alert_rule(r) x;
    return;
  end if;
  for r in select x.* from weir.alert_rule x where weir.reaches(bounds, x.tenant, weir.alert_queues(x.queue))
    and (preview_alerts.rule is null and x.enabled and (preview_alerts.tenant is null or x.tenant = owner)
      or x.name = preview_alerts.rule and x.tenant is not distinct from owner)
    order by coalesce(x.tenant, ''), x.name
  loop
    return query select x.* from weir.preview_alert_rule(r) x;
  end loop;
  if rule is not null and not found then
    perform weir.refuse_alert_rule(rule);
  end if;
end $$;
comment on function weir.preview_alerts(jsonb, text, jsonb, text) is
  'Internal. weir.evaluate_alerts within the bounds of a caller.';

create or replace function weir.evaluate_alerts(rule text default null, definition jsonb default null,
  tenant text default null)
returns table (rule_name text, tenant_name text, condition text, severity text, subject_kind text, subject text,
  value float8, threshold float8, since timestamptz, action text, at timestamptz, alert_id bigint, summary text,
  notify text[], held_until timestamptz) language plpgsql stable as $$
#variable_conflict use_variable
begin
  return query select x.* from weir.preview_alerts(weir.caller_bounds('{reader,operator}'), rule, definition, tenant) x;
end $$;
comment on function weir.evaluate_alerts(text, jsonb, text) is
  'What the rules of alerts would do now, and why; stores and sends nothing. rule: only this one; definition: '
  'settings as of weir.set_alert_rule, of a rule that is not saved. A row for each subject for which the condition '
  'holds or that has an alert. action: open (an alert would open now), wait (for_seconds; it would open at `at`), '
  'cooldown, full (the rule has 100 alerts), active (it has an alert), clearing (its alert resolves at `at`). '
  'held_until: nothing is sent before then. Errors: WR010, WR011, WR100.';
