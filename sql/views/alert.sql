-- Alerts, their rules, and the targets without their secrets.

create or replace view weir.alerts as
select a.id, a.state, a.severity, a.rule, a.condition, a.subject_kind, a.subject, a.summary, a.value, a.highest,
  a.threshold, a.facts, a.since, a.opened_at, a.clear_since, a.acknowledged_at, a.acknowledged_by, a.note,
  a.resolved_at, a.resolved_because, a.tenant, a.queues
from weir.alert a;
comment on view weir.alerts is 'One row an alert: open, acknowledged, or resolved within the last 90 days.';

create or replace view weir.alert_rules as
select r.name, r.condition, r.threshold, r.resolve_threshold, r.window_seconds, r.min_calls, r.kind, r.for_seconds,
  r.clear_seconds, r.cooldown_seconds, r.severity, r.quiet, r.notify, r.description, r.enabled,
  case when r.muted_until > clock_timestamp() then r.muted_until end as muted_until, r.created_at, r.updated_at,
  r.evaluated_at, r.problem,
  (select count(*) from weir.alert a where a.rule_id = r.id and a.state <> 'resolved')::int as active, r.unlisted,
  r.id, r.tenant, case when r.queue is null then '{}'::text[] else array[r.queue] end as queues
from weir.alert_rule r;
comment on view weir.alert_rules is 'One row a rule of alerts: its settings, and how many alerts it has.';
comment on column weir.alert_rules.active is 'Its alerts that are open or acknowledged.';
comment on column weir.alert_rules.queues is
  'Its queue, as a pattern in which * stands for any characters; empty: all.';

create or replace view weir.alert_targets as
select t.name, t.kind, t.settings, t.events, t.created_at, t.updated_at, t.tenant, t.id
from weir.alert_target t;
comment on view weir.alert_targets is
  'One row a target of alerts, without its secrets. weir.alert_delivery has what it was sent.';

select weir.describe_columns('weir.alerts', 'weir.alert');
select weir.describe_columns('weir.alert_rules', 'weir.alert_rule');
select weir.describe_columns('weir.alert_targets', 'weir.alert_target');
