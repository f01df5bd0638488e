-- An order of jobs other than by id: of a set of matches that is at hand.

-- Jobs without the value come last in either direction: the key is negated for a falling order.
create or replace function weir.sort_job_ids(job_ids bigint[], sort text, after_key float8, after_id bigint, most int)
returns table (id bigint, key float8) language plpgsql stable set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  field text := ltrim(sort, '-');
  sign int := case when starts_with(sort, '-') then -1 else 1 end;
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
begin
  return query
  select x.id, x.key from (
    select j.id, coalesce(sign * case field
      when 'finished_at' then extract(epoch from j.finished_at)::float8
      when 'run_seconds' then weir.run_seconds(j.started_at, j.finished_at)
      when 'wait_seconds' then weir.wait_seconds(j.id, j.started_at, j.finished_at)
      when 'attempt' then j.attempt when 'priority' then j.priority end, 'infinity') as key
    from weir.jobs j where j.id = any (job_ids) and j.id between lowest and highest) x
  where after_key is null or (x.key, -x.id) > (after_key, -after_id)
  order by x.key, x.id desc limit most;
end $$;
comment on function weir.sort_job_ids(bigint[], text, float8, bigint, int) is
  'Internal. The next `most` of these jobs in an order (finished_at, run_seconds, wait_seconds, attempt or priority; '
  'with a minus falling; of equals the newest first), after a key and an id, with their keys.';
