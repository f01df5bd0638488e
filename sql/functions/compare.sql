-- Two jobs side by side, for SQL. A node compares them for REST and for weir job compare, because only it can decrypt.

-- The values of a document by their JSON pointers: the leaves, and what is nested more than eight levels deep or is
-- larger than 64 KiB as it is.
create or replace function weir.leaves(prefix text, value jsonb) returns table (path text, leaf jsonb)
language sql immutable as $$
  with recursive walk(path, value, depth) as (
    select prefix, leaves.value, case when octet_length(leaves.value::text) > 65536 then 8 else 0 end
    union all
    select w.path || '/' || replace(replace(c.key, '~', '~0'), '/', '~1'), c.value, w.depth + 1
    from walk w cross join lateral (
      select o.key, o.value from jsonb_each(case jsonb_typeof(w.value) when 'object' then w.value else '{}' end) o
      union all
      select (a.n - 1)::text, a.value from jsonb_array_elements(case jsonb_typeof(w.value) when 'array' then w.value
        else '[]' end) with ordinality a(value, n)
    ) c where w.depth < 8
  )
  select w.path, w.value from walk w where w.depth = 8 or w.value in ('{}', '[]')
    or jsonb_typeof(w.value) not in ('object', 'array')
$$;
comment on function weir.leaves(text, jsonb) is 'Internal. The leaves of a document, each with its place.';

create or replace function weir.compare(job_id bigint, other_id bigint) returns table (field text, a jsonb, b jsonb)
language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  first jsonb;
  second jsonb;
begin
  perform weir.require_job(compare.job_id, '{reader,operator}');
  perform weir.require_job(compare.other_id, '{reader,operator}');
  first := weir.compared_facts(compare.job_id);
  second := weir.compared_facts(compare.other_id);
  return query
  with facts(job, v) as (values (1, first), (2, second)), leaf as (
    select f.job, k.key as path, k.value from facts f cross join lateral jsonb_each(f.v - '{args,result}'::text[]) k
    union all
    select f.job, l.path, l.leaf from facts f cross join lateral (
      select x.* from weir.leaves('args', f.v -> 'args') x
      union all select x.* from weir.leaves('result', coalesce(f.v -> 'result', 'null')) x) l
  )
  select path, x.value, y.value
  from (select * from leaf l where l.job = 1) x full join (select * from leaf l where l.job = 2) y using (path)
  where x.value is distinct from y.value order by path limit 1000;
end $$;
comment on function weir.compare(bigint, bigint) is
  'The facts in which two jobs differ, at most 1000: each with its values, null where a job does not have it. field: a '
  'column of weir.jobs; waited_seconds, ran_seconds and total_seconds; and each value in args and result that differs, '
  'by its JSON pointer, such as args/customer/id. Errors: WR002.';

create or replace function weir.compared_facts(job_id bigint) returns jsonb language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  facts jsonb;
begin
  select jsonb_strip_nulls((to_jsonb(j) - '{id,queue_id,created_at,run_at,started_at,finished_at,lease_expires_at,
    result_until,progress,errors,args,result}'::text[]) || jsonb_build_object(
      'waited_seconds', (select extract(epoch from min(t) - j.created_at) from (
        select min(e.started_at) from weir.job_event e where e.job_id = j.id union all select j.started_at) s(t)),
      'ran_seconds', extract(epoch from j.finished_at - j.started_at),
      'total_seconds', extract(epoch from j.finished_at - j.created_at)))
    || jsonb_build_object('args', j.args) || case when j.result is null then '{}'
      else jsonb_build_object('result', j.result) end
    into facts from weir.jobs j where j.id = job_id;
  if facts is null then
    perform weir.refuse_unknown_job(job_id);
  end if;
  return facts;
end $$;
comment on function weir.compared_facts(bigint) is 'Internal. What a comparison of a job looks at. Errors: WR002.';
