-- Hooks: what a change of a job's state means for other things, such as the steps of its workflow and the line of its
-- queue.
--
-- Whatever changes the state calls them in the same transaction, after it has written the job's next place. A plain job
-- has none: only a lease marked as followed (weir.job_lease.followed) leads here. How a lease makes room in its line is
-- in line.sql.

-- Called when a job has left its worker, whether it ended (completed, dead, cancelled) or waits again (retryable,
-- available, scheduled), and when a waiting job was cancelled. Locks, in this order: what the functions lock that it
-- calls, each in the order of ids.
create or replace function weir.on_jobs_ended(job_ids bigint[]) returns void language plpgsql as $$
begin
  perform weir.on_steps_ended(job_ids);
  perform weir.release_reserved_lines(job_ids);
end $$;
comment on function weir.on_jobs_ended(bigint[]) is
  'Internal. For followed jobs whose attempt ended, or that were cancelled while they waited: tells their workflows '
  'and lines.';

create or replace function weir.on_jobs_reopened(job_ids bigint[]) returns void language plpgsql as $$
begin
  perform weir.on_steps_reopened(job_ids);
end $$;
comment on function weir.on_jobs_reopened(bigint[]) is
  'Internal. For followed jobs that had ended and are available again: tells their workflows.';

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
comment on function weir.jobs_with_followers(bigint[]) is
  'Internal. Those of these jobs that are steps of a workflow or belong to a queue with limits.';
