-- name: EncryptedQueues :many
select q.name from weir.queue q where q.encrypted order by q.name;

-- name: EncryptedLeases :many
select l.job_id::bigint as job_id from weir.encrypted_leases(sqlc.arg(job_ids)::bigint[]) l(job_id);

-- name: NewDataKey :one
insert into weir_auth.data_key (wrapped, wrapped_by) values (sqlc.arg(wrapped), sqlc.arg(wrapped_by)) returning id;

-- name: DataKey :one
select k.wrapped from weir_auth.data_key k where k.id = sqlc.arg(id);

-- name: SchedulesOfQueue :many
select s.name, coalesce(s.tenant, '')::text as tenant, (case when s.job is not null
  then jsonb_build_object('job', s.job) else jsonb_build_object('workflow', s.workflow) end)::jsonb as made
from weir.schedule s where s.deleted_at is null and sqlc.arg(queue)::text = any (s.queues)
order by s.name;

-- name: DataKeysNotWrappedBy :many
select k.id, k.wrapped, k.wrapped_by from weir_auth.data_key k where k.wrapped_by <> sqlc.arg(wrapped_by) order by k.id;

-- name: RewrapDataKey :exec
update weir_auth.data_key set wrapped = sqlc.arg(wrapped), wrapped_by = sqlc.arg(wrapped_by)
where id = sqlc.arg(id) and wrapped_by = sqlc.arg(was);

-- name: ReadableWebhookSecrets :many
select s.webhook_id, s.secret, coalesce(s.old_secret, '')::text as old_secret from weir_auth.webhook_secret s
where not starts_with(s.secret, 'weir:encrypted:') or not starts_with(s.old_secret, 'weir:encrypted:');

-- name: StoreWebhookSecret :exec
update weir_auth.webhook_secret s set secret = sqlc.arg(secret), old_secret = nullif(sqlc.arg(old_secret)::text, '')
where s.webhook_id = sqlc.arg(webhook_id) and s.secret = sqlc.arg(was)
  and coalesce(s.old_secret, '') = sqlc.arg(old_was)::text;

-- name: ReadableAlertSecrets :many
select s.target_id, s.field, s.secret from weir_auth.alert_secret s where not starts_with(s.secret, 'weir:encrypted:');

-- name: StoreAlertSecret :exec
update weir_auth.alert_secret s set secret = sqlc.arg(secret)
where s.target_id = sqlc.arg(target_id) and s.field = sqlc.arg(field) and s.secret = sqlc.arg(was);
