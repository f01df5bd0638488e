-- One page of candidates for a list of dead letters, newest first; FilterDeadLetterIDs filters them, and the caller
-- goes on from the last.

-- name: ScanDeadLetters :many
select d.job_id, d.died_at from weir.job_dead d
where (d.died_at, d.job_id) < (sqlc.arg(before)::timestamptz, sqlc.arg(before_id)::bigint)
order by d.died_at desc, d.job_id desc limit sqlc.arg(max_ids)::int;

-- name: ScanDeadLettersOfQueue :many
select d.job_id, d.died_at from weir.job_dead d
where d.queue_id = (select q.id from weir.queue q where q.name = sqlc.arg(queue)::text)
  and (d.died_at, d.job_id) < (sqlc.arg(before)::timestamptz, sqlc.arg(before_id)::bigint)
order by d.died_at desc, d.job_id desc limit sqlc.arg(max_ids)::int;

-- name: FilterDeadLetterIDs :many
select passing::bigint from weir.filter_dead_letter_ids(sqlc.arg(job_ids)::bigint[], sqlc.arg(filter)::jsonb) passing;

-- In this order, so that a page that is cut is a beginning.

-- name: GetDeadLetters :many
select * from weir.jobs j where j.id = any (sqlc.arg(ids)::bigint[])
order by array_position(sqlc.arg(ids)::bigint[], j.id);

-- name: CountDead :one
select weir.count_dead(sqlc.arg(filter)::jsonb)::bigint as total, clock_timestamp()::timestamptz as now;

-- name: DiedAt :one
select d.died_at from weir.job_dead d where d.job_id = sqlc.arg(job_id)::bigint;

-- name: RedriveJob :one
select weir.redrive(sqlc.arg(job_id)::bigint, sqlc.narg(by)::text, sqlc.arg(keep_attempts)::boolean)::text;

-- name: PurgeDead :exec
select weir.purge_dead(sqlc.arg(job_id)::bigint, sqlc.narg(by)::text);

-- name: SweepDead :one
select weir.sweep_dead(sqlc.arg(most)::int)::int;
