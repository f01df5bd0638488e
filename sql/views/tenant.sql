-- Quotas of tenants and what they use.

create or replace view weir.tenants as
select q.tenant, q.max_waiting, q.enqueues_per_second,
  case when q.enqueues_per_second is not null then coalesce(q.enqueue_burst, ceil(q.enqueues_per_second)::int)
    end as enqueue_burst,
  q.max_bytes, case when q.max_waiting is not null then u.waiting end as waiting,
  case when q.max_bytes is not null then coalesce((select sum(b.bytes) from weir.tenant_bytes b
    where b.quota_id = q.id), 0)::bigint end as bytes,
  q.max_waiting is null or u.scanned_to is null as exact, q.created_at
from weir.tenant_quota q join weir.tenant_usage u on u.quota_id = q.id;
comment on view weir.tenants is 'Tenants with a quota, and what they use.';
comment on column weir.tenants.tenant is 'The tenant.';
comment on column weir.tenants.max_waiting is 'How many of its jobs may wait; null: any number.';
comment on column weir.tenants.enqueues_per_second is
  'How many jobs it may enqueue a second in the long run; null: any number.';
comment on column weir.tenants.enqueue_burst is 'How many it may enqueue at once after a pause.';
comment on column weir.tenants.max_bytes is 'How many bytes of jobs weir keeps for it; null: any number.';
comment on column weir.tenants.waiting is
  'How many of its jobs wait, as they were last counted: every second near the quota, every ten below. Null: it has no '
  'such quota.';
comment on column weir.tenants.bytes is 'The bytes of its jobs. Null: it has no such quota.';
comment on column weir.tenants.exact is
  'False while the jobs that it had before the quota are searched for: as many more may wait.';
comment on column weir.tenants.created_at is 'When it first had this quota.';
