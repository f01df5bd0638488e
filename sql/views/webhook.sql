-- Webhooks without their secrets.

create or replace view weir.webhooks as
select w.name, w.url, w.events, w.queues, w.kinds, w.timeout_seconds, w.disable_after_seconds, w.created_at,
  w.disabled_at, w.disabled_reason, w.failing_since,
  case when w.old_secret_until > clock_timestamp() then w.old_secret_until end as old_secret_until, w.id,
  (select count(*) from weir.webhook_delivery d where d.webhook_id = w.id and d.state = 'pending') as pending
from weir.webhook w;
comment on view weir.webhooks is 'One row a webhook, without its secret. weir.webhook_delivery has its deliveries.';
comment on column weir.webhooks.pending is 'Deliveries that are still pending.';

-- A column of the view that is a column of the table says what that one says.
do $do$
declare
  c record;
begin
  for c in select a.attname as name, col_description(b.attrelid, b.attnum) as description from pg_attribute a
    join pg_attribute b on b.attname = a.attname
    where a.attrelid = 'weir.webhooks'::regclass and a.attnum > 0 and col_description(a.attrelid, a.attnum) is null
      and b.attrelid = 'weir.webhook'::regclass
  loop
    execute format('comment on column weir.webhooks.%I is %L', c.name, c.description);
  end loop;
end $do$;
