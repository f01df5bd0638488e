-- Deliveries of alerts: the outbox of weir.tell_targets. A node takes what is due and sends it through River; what was
-- taken and not reported within 90 seconds, because the node died, is due again.

-- Locks: their rows, skip locked.
create or replace function weir.dispatch_alert_deliveries(most int) returns table (delivery_id bigint, take int)
language plpgsql as $$
declare
  now_at timestamptz := clock_timestamp();
  due bigint[];
begin
  if not exists (select from weir.alert_delivery x where x.state = 'pending' and x.next_at <= now_at) then
    return;  -- the usual case, checked every second
  end if;
  due := array(select x.id from weir.alert_delivery x where x.state = 'pending' and x.next_at <= now_at
    order by x.next_at, x.id limit most for update skip locked);
  update weir.alert_delivery d set state = 'dropped' from weir.alert a
  where d.id = any (due) and a.id = d.alert_id and d.event = 'opened'
    and (a.state = 'resolved' or a.state = 'acknowledged' and d.takes = 0);
  -- the rule was muted since
  update weir.alert_delivery d set next_at = h.until
  from (select x.id, weir.alert_hold(r, now_at) as until from weir.alert_delivery x
    join weir.alert a on a.id = x.alert_id join weir.alert_rule r on r.id = a.rule_id
    where x.id = any (due) and x.takes = 0) h
  where d.id = h.id and h.until > now_at;
  return query
  with taken as (
    update weir.alert_delivery d set next_at = now_at + interval '90 s', takes = d.takes + 1
    where d.id = any (due) and d.state = 'pending' and d.next_at <= now_at returning d.id, d.takes
  )
  select t.id, t.takes from taken t order by t.id;
end $$;
comment on function weir.dispatch_alert_deliveries(int) is
  'Internal. Up to `most` deliveries of alerts that are due, for River to work.';

create or replace function weir.record_alert_attempt(delivery_id bigint, take int, error text, retry_in interval)
returns void language sql as $$
  update weir.alert_delivery d set attempts = d.attempts + 1, error = left(record_alert_attempt.error, 500),
    tried_at = clock_timestamp(), next_at = clock_timestamp() + coalesce(retry_in, interval '0'),
    state = case when record_alert_attempt.error is null then 'delivered' when retry_in is null then 'failed'
      else d.state end
  where d.id = delivery_id and d.takes = take and d.state = 'pending'
$$;
comment on function weir.record_alert_attempt(bigint, int, text, interval) is
  'Internal. Records an attempt to tell a target. error: null, it was told. retry_in: time until the next attempt; '
  'null: there is none.';
