-- Jobs that resemble one: candidates of its kind, from a bounded number of jobs.

-- It looks at the newest jobs and at those enqueued before and after the job, `reach` each; and at the next ones of its
-- kind before and after it, which sealed partitions have an index for. Args that take more than most_bytes are left
-- out; whether they are equal is told anyway.
create or replace function weir.similar_candidates(job_id bigint, bounds jsonb, reach int default 3000,
  most int default 300, most_bytes int default 16384)
returns table (id bigint, queue text, state text, created_at timestamptz, args jsonb, args_equal boolean,
  error_type text, failed boolean, looked_at int, cut boolean) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  j weir.job;
  of_kind jsonb;
  newest bigint[] := weir.newest_job_ids('{}', 9223372036854775807, reach);
  earlier bigint[] := weir.newest_job_ids('{}', similar_candidates.job_id, reach);
  later bigint[] := weir.scan_job_ids('{}', similar_candidates.job_id, 9223372036854775807, reach);
  ids bigint[];
  found bigint[];
begin
  select x.* into j from weir.job x where x.id = similar_candidates.job_id;
  if j.id is null then
    perform weir.refuse_unknown_job(similar_candidates.job_id);
  end if;
  of_kind := jsonb_build_object('kind', j.kind);
  ids := array(select unnest(newest) union select unnest(earlier) union select unnest(later)
    union select unnest((weir.search_step(of_kind, j.id, most / 2)).ids)
    union select unnest((weir.search_step(of_kind, j.id, most / 2, true)).ids)
    except select similar_candidates.job_id);
  found := array(select x.id from weir.job x join weir.queue q on q.id = x.queue_id
    where x.id = any (ids) and x.kind = j.kind
      and weir.is_within(similar_candidates.bounds, x.tenant, q.name, x.principal)
    order by abs(x.id - j.id) limit most + 1);
  looked_at := cardinality(ids);
  cut := cardinality(found) > most or cardinality(earlier) = reach or cardinality(later) = reach;
  return next;
  return query
  select v.id, v.queue, v.state::text, v.created_at,
    case when pg_column_size(v.args) <= most_bytes and octet_length(v.args::text) <= most_bytes then v.args end,
    v.args = j.args, coalesce(v.error ->> 'type', v.errors -> -1 ->> 'type'),
    v.error is not null or v.errors is not null, looked_at, cut
  from weir.jobs v where v.id = any (found[1:most]) and v.state is not null;
end $$;
comment on function weir.similar_candidates(bigint, jsonb, int, int, int) is
  'Internal, for nodes: up to `most` jobs of the kind of a job, and within the bounds of a caller, among `reach` '
  'newest ones, earlier ones and later ones each. looked_at: among how many; cut: there may be more. The first row '
  'has no job. Errors: WR002.';

create or replace function weir.args_alike(a jsonb, b jsonb, out alike float8, out reason text) language sql immutable
as $$
  select m.same / nullif(m.n, 0)::float8,
    case when m.same > 0 then format('%s of %s members of the args are equal', m.same, m.n) end
  from (
    select count(*) as n, count(*) filter (where a -> k = b -> k) as same
    from (select jsonb_object_keys(a) union select jsonb_object_keys(b)) u(k)
  ) m where jsonb_typeof(a) = 'object' and jsonb_typeof(b) = 'object'
  union all select 0, null where (jsonb_typeof(a) = 'object' and jsonb_typeof(b) = 'object') is not true
$$;
comment on function weir.args_alike(jsonb, jsonb) is
  'Internal. The share of the members that two objects have in common; 0 for other values.';

-- A part that is unknown does not count, and the others count for more. Nodes score in the same way (jobs/similar.go),
-- because only they can decrypt args.
create or replace function weir.similar_jobs(job_id bigint, max_jobs int default 20)
returns table (id bigint, score float8, queue text, state text, created_at timestamptz, error_type text,
  reasons text[]) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  j record;
begin
  perform weir.require_job(similar_jobs.job_id, '{reader,operator}');
  if max_jobs is null or max_jobs not between 1 and 100 then
    perform weir.refuse_argument('max_jobs', 'must be 1 to 100');
  end if;
  select v.args, v.created_at, coalesce(v.error ->> 'type', v.errors -> -1 ->> 'type') as error_type,
    v.error is not null or v.errors is not null as failed,
    pg_column_size(v.args) <= 65536 and octet_length(v.args::text) <= 65536 and not weir.is_encrypted(v.args)
      as readable
    into j from weir.jobs v where v.id = similar_jobs.job_id;
  return query
  with scored as (
    select c.*, case when c.args_equal then 1 when j.readable and not weir.is_encrypted(c.args) then a.alike end
        as args_score,
      case when c.args_equal then 'the args are equal' when j.readable and not weir.is_encrypted(c.args) then a.reason
        end as args_reason,
      case when not c.failed and not j.failed or c.failed and j.failed and c.error_type = j.error_type then 1 else 0 end
        as error_score,
      abs(date_part('epoch', c.created_at - j.created_at)) as apart
    from weir.similar_candidates(similar_jobs.job_id, null) c cross join lateral weir.args_alike(j.args, c.args) a
    where c.id is not null and (weir.is_owner() or weir.sees_job(c.id, '{reader,operator}'))
  )
  select s.id, round(((coalesce(0.6 * s.args_score, 0) + 0.25 * s.error_score + 0.15 / (1 + s.apart / 3600))
      / (case when s.args_score is null then 0.4 else 1 end))::numeric, 3)::float8 as score,
    s.queue, s.state, s.created_at, s.error_type,
    array_remove(array[s.args_reason, case when s.error_score = 0 then null when not s.failed
      then 'neither has failed' else format('both failed with "%s"', s.error_type) end,
      case when s.apart <= 3600 then format('they were enqueued %s s apart', round(s.apart::numeric, 3)) end], null)
  from scored s order by 2 desc, s.apart, s.id desc limit max_jobs;
end $$;
comment on function weir.similar_jobs(bigint, int) is
  'Up to max_jobs (1 to 100) jobs of the same kind that resemble a job, the most similar first, of the newest jobs and '
  'those enqueued shortly before and after it. score: 0 to 1; the share of equal members of the args counts 0.6, the '
  'class of the last error 0.25, nearness in time 0.15. Encrypted args do not count unless they are equal as stored. '
  'Errors: WR002, WR010.';
