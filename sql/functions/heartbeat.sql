-- Heartbeats: extending leases, with progress.

-- Locks: the job_lease rows, in the order of their ids.
create or replace function weir.heartbeat(job_ids bigint[], tokens bigint[], lease_seconds int default null,
  progress jsonb[] default null)
returns table (job_id bigint, expires_at timestamptz, cancel_requested boolean, token bigint)
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
begin
  perform weir.refuse_uneven(job_ids, array[cardinality(tokens), cardinality(progress)]);
  if heartbeat.lease_seconds not between 1 and 3600 then
    perform weir.refuse_argument('lease_seconds', 'must be from 1 to 3600');
  end if;
  if heartbeat.progress is not null then
    perform weir.refuse_large('progress', heartbeat.progress, 65536);
  end if;
  if session_user <> current_user then
    tokens := weir.own_tokens(job_ids, tokens);
  end if;
  return query
  update weir.job_lease l set
    lease_seconds = coalesce(heartbeat.lease_seconds, l.lease_seconds),
    expires_at = least(clock_timestamp() + make_interval(secs => coalesce(heartbeat.lease_seconds, l.lease_seconds)),
      l.leased_at + make_interval(secs => (select j.timeout_seconds from weir.job j where j.id = l.job_id
        and j.id between lowest and highest))),
    progress = case when heartbeat.progress is null then l.progress
      else coalesce((select u.progress from unnest(job_ids, tokens, heartbeat.progress) u(id, token, progress)
        where u.id = l.job_id and u.token = l.token limit 1), l.progress) end
  where l.job_id = any (job_ids)
        and case when (l.job_id, l.token) in (select u.id, u.token from unnest(job_ids, tokens) u(id, token))
          then true end
  returning l.job_id, l.expires_at, l.cancel_requested_at is not null, l.token;
end $$;
comment on function weir.heartbeat(bigint[], bigint[], int, jsonb[]) is
  'The worker still has these jobs: moves the expiry of each lease held with the token at the same place to '
  'lease_seconds from now (null: its length so far), never past the job''s timeout; progress is {percent, message}. '
  'Returns a row for each that is still held, with its token; cancel_requested: stop working on it. Errors: WR010.';
