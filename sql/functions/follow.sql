-- What follows when a job leaves its worker or ends: a step of a workflow lets other steps go, and a job that kept its line while it waited gives it up.
-- Nobody asks for a plain job: its lease is not marked (weir.job_lease.followed). How a lease makes room in its line is in 0028_limit.sql.
--

-- The order here is the order of locks: of those that are called, each takes its rows in the order of their ids.
create or replace function weir.on_jobs_ended(job_ids bigint[]) returns void language plpgsql as $$
begin
  perform weir.on_steps_ended(job_ids);
  perform weir.release_reserved_lines(job_ids);
end $$;

create or replace function weir.on_jobs_reopened(job_ids bigint[]) returns void language plpgsql as $$
begin
  perform weir.on_steps_reopened(job_ids);
end $$;

create or replace function weir.jobs_with_followers(job_ids bigint[]) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  governed int[] := array(select q.id from weir.queue q where q.governed);
begin
  return array(select j.id from weir.job j where j.id = any (job_ids) and j.id between lowest and highest
    and (j.workflow_id is not null or j.queue_id = any (governed)) order by j.id);
end $$;
comment on function weir.on_jobs_ended(bigint[]) is
  'Internal. For followed jobs that have left their worker (completed, dead, cancelled, retryable, available or scheduled), or were cancelled while they waited: what follows from that. Called in the same transaction, when their next place is written.';
comment on function weir.on_jobs_reopened(bigint[]) is 'Internal. For followed jobs that had ended and are available again.';
comment on function weir.jobs_with_followers(bigint[]) is 'Internal. Those of these jobs whose facts say that something follows when they leave.';
