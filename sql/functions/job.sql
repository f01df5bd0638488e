-- Views for people with psql, and for the service's own answers.

-- The bounds are for the executor, which prunes partitions by a range but not by an array.
create or replace function weir.which_ended(job_ids bigint[]) returns setof bigint language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
begin
  return query select o.job_id from weir.job_outcome o where o.job_id = any (job_ids) and o.job_id between lowest
    and highest;
end $$;
comment on function weir.which_ended(bigint[]) is
  'Internal, for a node that waits for the end of many jobs: those of them that have ended.';
