-- Exports: jobs written as pieces of NDJSON or CSV, which downloads read one by one.

create or replace function weir.export_time(at timestamptz) returns text language sql stable as $$
  select to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;
comment on function weir.export_time(timestamptz) is 'Internal. A time in the format of exports.';

-- A cell that a spreadsheet would run as a formula gets an apostrophe in front: one that begins with = + - @, also in
-- full width, or with a tab or the end of a line. A number is no formula.
create or replace function weir.csv_cell(cell text) returns text language sql immutable as $$
  select '"' || case when cell ~ '^[-=+@\t\r\n\uff1d\uff0b\uff0d\uff20]'
    and cell !~ '^-[0-9]+([.][0-9]+)?([eE][-+]?[0-9]+)?$' then '''' else '' end || replace(cell, '"', '""') || '"'
$$;
comment on function weir.csv_cell(text) is 'Internal. A cell of an export in CSV, quoted.';

-- Writes at most about 8 MiB, but at least one line. last: the id of the last job written.
create or replace function weir.export_lines(job_ids bigint[], format text, out lines text, out exported int,
  out last bigint) language plpgsql stable set jit = off set enable_seqscan = off as $$
begin
  with rows as materialized (
    select j.id, case when format = 'csv' then
      (select string_agg(weir.csv_cell(c), ',' order by n)
        from unnest(array[j.id::text, j.kind, j.queue, j.state::text, j.priority::text, j.attempt::text,
        j.max_attempts::text,
        weir.export_time(j.created_at), coalesce(weir.export_time(j.run_at), ''),
          coalesce(weir.export_time(j.started_at), ''), coalesce(weir.export_time(j.finished_at), ''),
        coalesce(j.worker, ''), coalesce(j.tenant, ''), array_to_string(j.tags, ' '), j.args::text,
          coalesce(j.result::text, ''), coalesce(j.error::text, '')]) with ordinality u(c, n))
      else jsonb_strip_nulls(jsonb_build_object('id', j.id::text, 'kind', j.kind, 'queue', j.queue, 'state', j.state,
        'priority', j.priority, 'attempt', j.attempt, 'max_attempts', j.max_attempts,
        'created_at', weir.export_time(j.created_at), 'run_at', weir.export_time(j.run_at), 'started_at',
          weir.export_time(j.started_at), 'finished_at', weir.export_time(j.finished_at),
        'worker', j.worker, 'tenant', j.tenant, 'tags', to_jsonb(j.tags)))::text end as line,
      j.args, j.result, j.error, j.metadata
    from weir.jobs j where j.id = any (job_ids)
  ), whole as (
    select r.id, case when format = 'csv' then r.line else  -- payloads unchanged: their nulls stay
      left(r.line, -1) || ', "args": ' || r.args::text || coalesce(', "result": ' || r.result::text, '')
        || coalesce(', "error": ' || r.error::text, '') || ', "metadata": ' || r.metadata::text || '}' end as line
    from rows r
  ), sized as (
    select w.*, sum(octet_length(w.line)) over (order by w.id) - octet_length(w.line) as before from whole w
  )
  select string_agg(z.line || e'\n', '' order by z.id), count(*)::int, max(z.id) into lines, exported, last
    from sized z where z.before < 8388608;
end $$;
comment on function weir.export_lines(bigint[], text) is 'Internal. Jobs as lines of NDJSON or CSV.';

-- A piece of an export, from 1; null after the last. It keeps the export from the sweep for an hour. Locks: the
-- operation's row, once a minute.
create or replace function weir.read_export(operation_id bigint, n int) returns text language plpgsql set jit = off
  set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  op weir.operation;
  piece text;
begin
  select * into op from weir.operation o where o.id = operation_id;
  if op.pieces < n then
    return null;
  end if;
  if (op.read_at > clock_timestamp() - interval '1 minute') is not true then
    update weir.operation o set read_at = clock_timestamp() where o.id = operation_id;
  end if;
  select r.body into piece from weir.operation_result r where r.operation_id = read_export.operation_id
    and r.n = read_export.n;
  if not found then
    raise exception using errcode = 'WR022', message = format('the result of operation %s is no longer complete',
      operation_id), hint = 'Results are kept for a day. Start the export again.';
  end if;
  return piece;
end $$;
comment on function weir.read_export(bigint, int) is
  'One piece of an export, counted from 1: whole lines; null after the last. Errors: WR022 if the piece has been '
  'deleted.';

-- The pieces of an export are deleted from the first to the last, and never while a download reads them. Locks:
-- operations' rows, skip locked.
create or replace function weir.sweep_exports(most int default 100) returns int language plpgsql set jit = off as $$
declare
  ended bigint[] := array(
    select o.id from weir.operation o where o.pieces > 0 and o.finished_at < now() - interval '1 day'
      and (o.read_at > now() - interval '1 hour') is not true
      and exists (select from weir.operation_result r where r.operation_id = o.id)
    order by o.id limit most for update skip locked);
  swept int;
begin
  delete from weir.operation_result r where r.ctid = any (array(
    select x.ctid from weir.operation_result x where x.operation_id = any (ended)
      or not exists (select from weir.operation o where o.id = x.operation_id)
    order by x.operation_id, x.n limit most));
  get diagnostics swept = row_count;
  return swept;
end $$;
comment on function weir.sweep_exports(int) is
  'Removes up to `most` pieces of exports that ended more than a day ago and that no download has read for an hour. '
  'Returns how many.';
