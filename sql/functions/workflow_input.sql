-- The results of the steps that a step depends on. A compensation gets the result of the step that it undoes.

-- Called by claims with the steps among the jobs that they took, so a claim of plain jobs never gets here.
create or replace function weir.step_inputs(job_ids bigint[]) returns jsonb language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
set enable_nestloop = off set enable_mergejoin = off as $$
declare
  lowest bigint := (select min(i) from unnest(job_ids) i);
  highest bigint := (select max(i) from unnest(job_ids) i);
  ids bigint[];
  sources bigint[];
  wanted bigint[];
  max_step_bytes constant bigint := 8388608;
  max_claim_bytes constant bigint := 67108864;
begin
  select array_agg(s.job_id), array_agg(d.id) into ids, sources
  from weir.workflow_step s
    cross join lateral unnest(case when s.compensates is null then s.depends_on else array[s.compensates] end) d(id)
  where s.job_id = any (job_ids) and s.job_id between lowest and highest;
  wanted := array(select distinct x from unnest(sources) x);
  select min(i), max(i) into lowest, highest from unnest(wanted) i;
  return (
  with name as materialized (
    select s.job_id, s.name
    from weir.workflow_step s where s.job_id = any (wanted) and s.job_id between lowest and highest
  ), result as materialized (
    select o.job_id, case when o.result_until <= clock_timestamp() then null else o.result end as result
    from weir.job_outcome o
    where o.job_id = any (wanted) and o.job_id between lowest and highest and o.state = 'completed'
  ), input as materialized (
    select u.id, n.name, r.result, sum(coalesce(pg_column_size(r.result), 0)) over (partition by u.id) as bytes
    from unnest(ids, sources) u(id, source) join name n on n.job_id = u.source join result r on r.job_id = u.source
  ), step as (
    select i.id, max(i.bytes) as bytes,
      case when max(i.bytes) <= max_step_bytes then jsonb_object_agg(i.name, i.result) end as dependencies
    from input i group by i.id
  ), summed as (
    select s.*, sum(case when s.bytes <= max_step_bytes then s.bytes else 0 end) over (order by s.id) as total
    from step s
  )
  select jsonb_object_agg(j.id::text, case when s.id is null then '{}'
    when s.bytes <= max_step_bytes and s.total <= max_claim_bytes then s.dependencies else 'null' end)
  from unnest(job_ids) j(id) left join summed s on s.id = j.id);
end $$;
comment on function weir.step_inputs(bigint[]) is
  'Internal, for claims. The results of the completed dependencies of each of these steps, by its id and their names. '
  'JSON null: they are more than 8 MiB together, or those of the whole claim more than 64 MiB; weir.dependencies '
  'returns them one at a time.';

create or replace function weir.dependencies(job_id bigint)
returns table (step text, id bigint, state text, result jsonb, error jsonb) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  wanted bigint[];
begin
  if not exists (select from weir.job j where j.id = dependencies.job_id) then
    perform weir.refuse_stale(dependencies.job_id);
  end if;
  wanted := (select case when s.compensates is null then s.depends_on else array[s.compensates] end
    from weir.workflow_step s where s.job_id = dependencies.job_id);
  return query
  select p.name, j.id, coalesce(j.state::text, ''), j.result, j.error
  from unnest(wanted) with ordinality d(id, n) join weir.workflow_step p on p.job_id = d.id
    join weir.jobs j on j.id = d.id
  where p.job_id = any (wanted) and j.id = any (wanted) order by d.n;
end $$;
comment on function weir.dependencies(bigint) is
  'The steps that a step depends on, in the order of its definition, with their states, results and errors. For a '
  'compensation: the step that it undoes. Errors: WR002.';
