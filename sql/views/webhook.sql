-- Webhooks without their secrets.

create or replace view weir.webhooks as
select w.name, w.url, w.events, w.queues, w.kinds, w.timeout_seconds, w.disable_after_seconds, w.created_at,
  w.disabled_at, w.disabled_reason, w.failing_since,
  case when w.old_secret_until > clock_timestamp() then w.old_secret_until end as old_secret_until, w.id,
  w.error_text, (select count(*) from weir.webhook_delivery d where d.webhook_id = w.id and d.state = 'pending')
    as pending, w.tenant
from weir.webhook w;
comment on view weir.webhooks is 'One row a webhook, without its secret. weir.webhook_delivery has its deliveries.';
comment on column weir.webhooks.pending is 'Deliveries that are still pending.';

select weir.describe_columns('weir.webhooks', 'weir.webhook');
