-- name: CreateKey :one
select id::text, coalesce(key, '')::text as key from weir.create_key(sqlc.arg(name)::text, sqlc.arg(roles)::text[],
  sqlc.narg(queues)::text[], sqlc.narg(tenant)::text,
  sqlc.narg(expires_at)::timestamptz, sqlc.narg(rate_per_second)::float8,
  sqlc.arg(redact)::boolean, sqlc.arg(created_by)::text, sqlc.arg(kind)::text);

-- name: EditKey :exec
select weir.edit_key(sqlc.arg(id)::text, sqlc.arg(settings)::jsonb);

-- name: RotateKey :one
select weir.rotate_key(sqlc.arg(id)::text, make_interval(secs => sqlc.arg(keep_old_seconds)::float8))::text as key;

-- name: RevokeKey :exec
select weir.revoke_key(sqlc.arg(id)::text);

-- name: ListKeys :many
-- By id, after one; with an id: that one alone.
select k.id, k.name, k.roles, k.queues, k.tenant, k.redact, k.rate_per_second, k.created_at, k.created_by, k.expires_at,
  k.revoked_at, greatest(k.old_key_until) as old_key_until, k.last_used_at, k.state::text as state, k.kind
from weir.keys k
where k.id > sqlc.arg(after)::text and (sqlc.narg(id)::text is null or k.id = sqlc.narg(id)::text)
order by k.id limit sqlc.arg(max_keys)::int;

-- name: PrincipalOfKey :one
-- What a node keeps of a key to accept it.
select p.id, p.name, p.roles, p.queues, p.tenant, p.redact, p.rate_per_second, p.expires_at, p.revoked_at, p.key_hash,
  p.old_key_hash, p.old_key_until
from weir.principal p where p.key_id = sqlc.arg(key_id)::text and p.kind = 'key';

-- name: PrincipalOfCertificate :one
-- The names of a certificate: the first that was let in counts.
select p.id, p.name, p.key_id::text as key_id, p.roles, p.queues, p.tenant, p.redact, p.rate_per_second, p.expires_at
from weir.principal p
where p.kind = 'cert' and p.name = any (sqlc.arg(names)::text[]) and p.revoked_at is null
order by array_position(sqlc.arg(names)::text[], p.name) limit 1;

-- name: RecordSubject :one
select s.id::int as id, s.key_id::text as key_id, greatest(s.revoked_at) as revoked_at,
  greatest(s.rate_per_second) as rate_per_second, s.redact::boolean as redact
from weir.record_subject(sqlc.arg(name)::text, sqlc.arg(roles)::text[], sqlc.narg(queues)::text[],
  sqlc.narg(tenant)::text) s;

-- name: TouchPrincipals :exec
-- Writes at most once a minute for each.
update weir.principal p set last_used_at = clock_timestamp()
where p.id = any (sqlc.arg(ids)::int[]) and coalesce(p.last_used_at < clock_timestamp() - interval '50 s', true);

-- name: TokenSecret :one
select secret from weir.token_secret;

-- name: JobsWithin :many
-- Those of some jobs that a caller with these bounds may see.
select j.id from weir.job j join weir.queue q on q.id = j.queue_id
where j.id = any (sqlc.arg(ids)::bigint[])
  and weir.is_within(sqlc.arg(bounds)::jsonb, j.tenant, q.name, j.principal);

-- name: JobBounds :one
-- What keeps a caller to its own jobs.
select q.name as queue, j.tenant, j.principal
from weir.job j join weir.queue q on q.id = j.queue_id where j.id = sqlc.arg(job_id)::bigint;
