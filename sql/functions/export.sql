-- export

create or replace function weir.exported_time(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Lines for these jobs, at most about 8 MiB of them, but one at least. last: the id of the last that is in.
create or replace function weir.export_lines(job_ids bigint[], format text, out lines text, out exported int, out last bigint) language plpgsql stable set jit = off set enable_seqscan = off as $$
begin
  with rows as materialized (
    select j.id, case when format = 'csv' then
      (select string_agg('"' || replace(c, '"', '""') || '"', ',' order by n) from unnest(array[j.id::text, j.kind, j.queue, j.state::text, j.priority::text, j.attempt::text, j.max_attempts::text,
        weir.exported_time(j.created_at), coalesce(weir.exported_time(j.run_at), ''), coalesce(weir.exported_time(j.started_at), ''), coalesce(weir.exported_time(j.finished_at), ''),
        coalesce(j.worker, ''), coalesce(j.tenant, ''), array_to_string(j.tags, ' '), j.args::text, coalesce(j.result::text, ''), coalesce(j.error::text, '')]) with ordinality u(c, n))
      else jsonb_strip_nulls(jsonb_build_object('id', j.id::text, 'kind', j.kind, 'queue', j.queue, 'state', j.state, 'priority', j.priority, 'attempt', j.attempt, 'max_attempts', j.max_attempts,
        'created_at', weir.exported_time(j.created_at), 'run_at', weir.exported_time(j.run_at), 'started_at', weir.exported_time(j.started_at), 'finished_at', weir.exported_time(j.finished_at),
        'worker', j.worker, 'tenant', j.tenant, 'tags', to_jsonb(j.tags)))::text end as line,
      j.args, j.result, j.error, j.metadata
    from weir.jobs j where j.id = any (job_ids)
  ), whole as (
    select r.id, case when format = 'csv' then r.line else  -- payloads as they are: what is null in them stays
      left(r.line, -1) || ', "args": ' || r.args::text || coalesce(', "result": ' || r.result::text, '') || coalesce(', "error": ' || r.error::text, '') || ', "metadata": ' || r.metadata::text || '}' end as line
    from rows r
  ), sized as (
    select w.*, sum(octet_length(w.line)) over (order by w.id) - octet_length(w.line) as before from whole w
  )
  select string_agg(z.line || e'\n', '' order by z.id), count(*)::int, max(z.id) into lines, exported, last from sized z where z.before < 8388608;
end $$;

create or replace function weir.sweep_exports(most int default 100) returns int language sql as $$
  with gone as (
    delete from weir.operation_result r where (r.operation_id, r.n) in (
      select x.operation_id, x.n from weir.operation_result x left join weir.operation o on o.id = x.operation_id
      where o.id is null or o.finished_at < now() - interval '1 day' limit most) returning 1
  )
  select count(*)::int from gone
$$;
comment on function weir.exported_time(timestamptz) is 'Internal. A time as exports have it.';
comment on function weir.export_lines(bigint[], text) is 'Internal. Jobs as lines of NDJSON or CSV.';
comment on function weir.sweep_exports(int) is 'Removes up to `most` pieces of exports that ended more than a day ago. Returns how many.';
