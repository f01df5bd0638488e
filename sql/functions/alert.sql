-- Alerts: acknowledged by people, resolved by their rule, told to targets, kept for a while.

create or replace function weir.refuse_alert(alert_id bigint) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR101', message = format('there is no alert %s', alert_id),
    hint = 'weir.alerts lists those there are. Resolved ones are kept for 90 days.';
end $$;
comment on function weir.refuse_alert(bigint) is 'Internal. Raises WR101 alert_not_found.';

create or replace function weir.alert_facts(subject_kind text, subject text) returns jsonb language sql stable
set jit = off as $$
  select coalesce(jsonb_strip_nulls(case subject_kind
    when 'queue' then (select jsonb_build_object('waiting', weir.alert_waiting(q, 10000), 'running',
        (select count(*) from (select from weir.job_lease l where l.queue_id = q.id limit 10000) l),
        'oldest_seconds', round(date_part('epoch', clock_timestamp() - weir.alert_oldest(q))::numeric, 1),
        'paused', nullif(q.paused_at is not null and (q.resume_at > clock_timestamp()) is not false, false))
      from weir.queue q where q.name = subject and q.deleted_at is null)
    when 'worker' then (select jsonb_build_object('hostname', w.hostname, 'version', w.version, 'last_seen_at',
        weir.iso(s.last_seen_at), 'running',
        (select count(*) from (select from weir.job_lease l where l.worker = w.name limit 10000) l))
      from weir.worker w left join weir.worker_seen s on s.name = w.name where w.name = subject)
    when 'breaker' then (select jsonb_build_object('state', b.state, 'opened_at', weir.iso(b.opened_at),
        'next_probe_at', weir.iso(b.next_probe_at)) from weir.breaker b where b.name = subject)
    when 'schedule' then (select jsonb_build_object('due_at', weir.iso(s.due_at), 'problem', s.problem)
      from weir.schedule s where coalesce(s.tenant || '/', '') || s.name = subject and s.deleted_at is null limit 1)
    end), '{}')
$$;
comment on function weir.alert_facts(text, text) is
  'Internal. What else is known of the subject of an alert. Counts go up to 10,000.';

create or replace function weir.alert_body(a weir.alert, event text, description text) returns jsonb
language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('event', event, 'alert_id', a.id::text, 'rule', a.rule,
    'tenant', a.tenant, 'condition', a.condition, 'severity', a.severity, 'subject_kind', a.subject_kind,
    'subject', a.subject, 'state', a.state, 'summary', a.summary, 'value', a.value, 'threshold', a.threshold,
    'facts', a.facts, 'description', description, 'since', weir.iso(a.since), 'opened_at', weir.iso(a.opened_at),
    'acknowledged_at', weir.iso(a.acknowledged_at), 'acknowledged_by', a.acknowledged_by, 'note', a.note,
    'resolved_at', weir.iso(a.resolved_at), 'resolved_because', a.resolved_because))
$$;
comment on function weir.alert_body(weir.alert, text, text) is 'Internal. An alert as targets are told of it.';

create or replace function weir.alert_hold(r weir.alert_rule, at timestamptz) returns timestamptz
language plpgsql stable as $$
#variable_conflict use_variable
declare
  until timestamptz := greatest(at, r.muted_until);
begin
  return coalesce(weir.quiet_until(r.quiet, until), until);
end $$;
comment on function weir.alert_hold(weir.alert_rule, timestamptz) is
  'Internal. The first time from this one on at which a rule may send: after its mute and its quiet hours.';

-- Who was not told that it opened is told nothing more. An opening that is under way may arrive late, so what follows
-- it waits for a minute.
create or replace function weir.tell_targets(r weir.alert_rule, alert_ids bigint[], event text) returns void
language plpgsql as $$
#variable_conflict use_variable
declare
  at timestamptz := weir.alert_hold(r, clock_timestamp());
begin
  if event = 'opened' then
    insert into weir.alert_delivery (alert_id, target_id, target, event, body, next_at)
    select a.id, t.id, t.name, event, weir.alert_body(a, event, r.description), at
    from weir.alert a cross join weir.alert_target t
    where a.id = any (alert_ids) and t.name = any (r.notify) and t.tenant is not distinct from r.tenant
      and event = any (t.events)
    on conflict do nothing;
    return;
  end if;
  update weir.alert_delivery d set state = 'dropped' where d.alert_id = any (alert_ids) and d.state = 'pending'
    and (d.event <> 'opened' and d.event <> event or d.event = 'opened' and d.takes = 0);
  insert into weir.alert_delivery (alert_id, target_id, target, event, body, next_at)
  select a.id, t.id, t.name, event, weir.alert_body(a, event, r.description),
    at + case when told.state = 'pending' then interval '1 min' else interval '0' end
  from weir.alert a join weir.alert_delivery told on told.alert_id = a.id and told.event = 'opened'
    and told.state <> 'dropped' join weir.alert_target t on t.id = told.target_id
  where a.id = any (alert_ids) and event = any (t.events)
  on conflict do nothing;
  update weir.alert_delivery d set state = 'dropped' where d.alert_id = any (alert_ids) and event = 'resolved'
    and d.event = 'opened' and d.state = 'pending' and d.attempts > 0;
end $$;
comment on function weir.tell_targets(weir.alert_rule, bigint[], text) is
  'Internal. Notes in the outbox what to tell the targets of a rule of alerts. event: opened, acknowledged or '
  'resolved.';

create or replace function weir.resolve_alerts(r weir.alert_rule, subjects text[], because text) returns void
language plpgsql as $$
declare
  ids bigint[];
begin
  with over as (
    update weir.alert a set state = 'resolved', resolved_at = clock_timestamp(), resolved_because = because
    where a.rule_id = r.id and a.subject = any (subjects) and a.state <> 'resolved' returning a.id
  )
  select array_agg(o.id) into ids from over o;
  if ids is not null then
    perform weir.tell_targets(r, ids, 'resolved');
  end if;
end $$;
comment on function weir.resolve_alerts(weir.alert_rule, text[], text) is
  'Internal. Ends the alerts of a rule for these subjects. The caller has locked the rule.';

-- Locks: the rule, then the alert.
create or replace function weir.acknowledge_alert(alert_id bigint, note text default null) returns void
language plpgsql as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.caller_bounds();
  a weir.alert;
  r weir.alert_rule;
begin
  if length(note) not between 1 and 2000 then
    perform weir.refuse_argument('note', 'must have 1 to 2000 characters');
  end if;
  select x.* into r from weir.alert_rule x where x.id = (select y.rule_id from weir.alert y
    where y.id = acknowledge_alert.alert_id) for update;
  select x.* into a from weir.alert x where x.id = acknowledge_alert.alert_id for update;
  if a.id is null or not weir.reaches(bounds, a.tenant, a.queues) then
    perform weir.refuse_alert(acknowledge_alert.alert_id);
  elsif a.state = 'resolved' then
    raise exception using errcode = 'WR105', message = format('alert %s has resolved', a.id),
      hint = 'Only an alert that is open can be acknowledged.';
  end if;
  update weir.alert x set state = 'acknowledged', acknowledged_at = coalesce(x.acknowledged_at, clock_timestamp()),
    acknowledged_by = case when x.state = 'open' then coalesce(weir.current_actor() ->> 'name', 'engine')
      else x.acknowledged_by end, note = coalesce(acknowledge_alert.note, x.note)
  where x.id = a.id;
  if a.state = 'open' then
    perform weir.tell_targets(r, array[a.id], 'acknowledged');
  end if;
  perform weir.record_change('acknowledgeAlert', 'alerts/' || a.id, jsonb_build_object('state', a.state),
    jsonb_strip_nulls(jsonb_build_object('state', 'acknowledged', 'note', coalesce(acknowledge_alert.note, a.note))));
end $$;
comment on function weir.acknowledge_alert(bigint, text) is
  'Says that someone has seen an alert, with a note of 1 to 2,000 characters if wished. It resolves when it is clear. '
  'A second call changes the note only. Errors: WR010, WR101, WR105.';

create or replace function weir.sweep_alerts(most int default 1000, kept_for interval default '90 days',
  kept int default 100000) returns int language plpgsql as $$
#variable_conflict use_variable
declare
  gone bigint[];
  beyond timestamptz := (select a.resolved_at from weir.alert a where a.state = 'resolved'
    order by a.resolved_at desc offset kept limit 1);
begin
  gone := array(select a.id from weir.alert a where a.state = 'resolved'
    and (a.resolved_at < now() - kept_for or a.resolved_at <= beyond) order by a.resolved_at limit most);
  delete from weir.alert_delivery d where d.alert_id = any (gone)
    or d.alert_id is null and d.created_at < now() - interval '7 days';
  delete from weir.alert a where a.id = any (gone);
  return cardinality(gone);
end $$;
comment on function weir.sweep_alerts(int, interval, int) is
  'Removes up to `most` resolved alerts that are older than kept_for, or beyond the newest `kept`, with their '
  'deliveries. Returns how many.';
