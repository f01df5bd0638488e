-- Searches: what a filter says about the facts of a job, about its outcome, and about where jobs are that have none.
--
-- Conditions are written into a statement with their values, so that the planner knows these.

create or replace function weir.condition(template text, value text) returns text language sql immutable strict
  return format(template, value);
comment on function weir.condition(text, text) is
  'Internal. A condition of a statement, with a value in place of %L; null if there is no value.';

-- About the facts of a job, j.
create or replace function weir.search_facts(filter jsonb) returns text language sql stable as $$
  select nullif(concat_ws(' and ',
    weir.condition('j.kind = any (%L::text[])', weir.texts_of(filter -> 'kind')::text),
    weir.condition('j.queue_id = any (%L::int[])', case when weir.texts_of(filter -> 'queue') is not null then array(
      select q.id from weir.queue q where q.name = any (weir.texts_of(filter -> 'queue')))::text end),
    weir.condition('j.tenant = %L', filter ->> 'tenant'),
    weir.condition('j.tenant = %L', filter -> 'bounds' ->> 'tenant'),
    weir.condition('j.tags && %L::text[]', weir.texts_of(filter -> 'tag')::text),
    weir.condition('j.args @> %L::jsonb', filter ->> 'args'),
    weir.condition('j.priority = %L::int', filter ->> 'priority'),
    weir.condition('j.priority >= %L::int', filter ->> 'min_priority'),
    weir.condition('j.priority <= %L::int', filter ->> 'max_priority'),
    weir.condition('j.created_at >= %L::timestamptz', filter ->> 'created_after'),
    weir.condition('j.created_at < %L::timestamptz', filter ->> 'created_before')), '')
$$;
comment on function weir.search_facts(jsonb) is
  'Internal. What a filter says about the facts of a job, j, as a condition; null: nothing.';

-- About the outcome of a job, o. An interval has microseconds, so a second part is less exact than a number. A wait is
-- that since the job was enqueued at most, and less only where the job was not available at once or not once only.
create or replace function weir.search_ends(filter jsonb, number int) returns text language sql stable as $$
  select nullif(concat_ws(' and ',
    case when weir.texts_of(filter -> 'state') <@ '{completed,cancelled,dead}' then
      weir.condition('o.state = any (%L::weir.job_state[])', weir.texts_of(filter -> 'state')::text) end,
    weir.condition('o.worker = %L', filter ->> 'worker'),
    weir.condition('o.attempt >= %L::int', filter ->> 'min_attempts'),
    weir.condition('o.attempt <= %L::int', filter ->> 'max_attempts'),
    weir.condition('o.started_at >= %L::timestamptz', filter ->> 'started_after'),
    weir.condition('o.started_at < %L::timestamptz', filter ->> 'started_before'),
    weir.condition('o.finished_at >= %L::timestamptz', filter ->> 'finished_after'),
    weir.condition('o.finished_at < %L::timestamptz', filter ->> 'finished_before'),
    weir.condition('o.finished_at - o.started_at >= make_interval(secs => %L) - interval ''1 us''',
      filter ->> 'min_run_seconds'),
    weir.condition('o.finished_at - o.started_at <= make_interval(secs => %L) + interval ''1 us''',
      filter ->> 'max_run_seconds'),
    weir.condition('coalesce(o.started_at, o.finished_at) - j.created_at >= make_interval(secs => %L)
      - interval ''1 us''', filter ->> 'min_wait_seconds'),
    weir.condition('(coalesce(o.started_at, o.finished_at) - j.created_at <= make_interval(secs => %L)
      + interval ''1 us'' or j.run_at is not null or exists (select from weir.job_event_p' || number
      || ' e where e.job_id = o.job_id))', filter ->> 'max_wait_seconds')), '')
$$;
comment on function weir.search_ends(jsonb, int) is
  'Internal. What a filter says about the outcome, o, of a job of a partition that has ended, as a condition that also '
  'reads its facts, j; null: nothing.';

-- Where the jobs that have not ended are that a condition on outcomes could be about, from one id to below another.
create or replace function weir.search_others(filter jsonb, number int) returns text language sql stable as $$
  select case
    when weir.search_must_end(filter) then null
    when weir.search_must_start(filter) then
      'select l.job_id from weir.job_lease l where ' || concat_ws(' and ',
        weir.condition('l.worker = %L', filter ->> 'worker'),
        weir.condition('l.leased_at >= %L::timestamptz', filter ->> 'started_after'),
        weir.condition('l.leased_at < %L::timestamptz', filter ->> 'started_before'),
        weir.condition('l.leased_at <= now() - make_interval(secs => %L::float8 - 1)', filter ->> 'min_run_seconds'),
        format('l.job_id >= %s and l.job_id < %s', number::bigint << 32, (number + 1)::bigint << 32))
    when filter ?| '{min_attempts,max_attempts,min_wait_seconds,max_wait_seconds}' then
      format('select unnest(weir.unfinished_job_ids(%s, 5001)) as job_id', number) end
$$;
comment on function weir.search_others(jsonb, int) is
  'Internal. A statement for the jobs of a partition that have not ended and could match a filter; null: none could, '
  'or the filter says nothing about outcomes.';

create or replace function weir.search_must_end(filter jsonb) returns boolean language sql immutable as $$
  select coalesce(weir.texts_of(filter -> 'state') <@ '{completed,cancelled,dead}', false)
    or filter ->> 'finished_after' is not null or filter ->> 'finished_before' is not null
$$;
comment on function weir.search_must_end(jsonb) is 'Internal. Whether only jobs that have ended match a filter.';

create or replace function weir.search_must_start(filter jsonb) returns boolean language sql immutable as $$
  select filter ?| '{worker,started_after,started_before,min_run_seconds,max_run_seconds}'
$$;
comment on function weir.search_must_start(jsonb) is
  'Internal. Whether only jobs that run, or have ended, match a filter.';

-- With the words of a search, to see whether many jobs have them. A word in an error is not looked for.
create or replace function weir.search_dense_facts(filter jsonb, facts text) returns text language sql stable as $$
  select nullif(concat_ws(' and ', facts, weir.condition('weir.job_words(j.kind, j.args, j.tags) @@ %L::tsquery',
    weir.search_query(filter ->> 'q')::text)), '')
$$;
comment on function weir.search_dense_facts(jsonb, text) is
  'Internal. The condition on facts, and that the facts have the words of the filter.';

-- Ids are looked at in one direction, from an id on that is not looked at itself.
create or replace function weir.beyond(id text, start bigint, rising boolean) returns text language sql immutable as $$
  select format('%s %s %s', id, case when rising then '>' else '<' end, start)
$$;
comment on function weir.beyond(text, bigint, boolean) is
  'Internal. The condition that an id comes after a start.';

create or replace function weir.in_order(ids bigint[], rising boolean) returns bigint[] language sql immutable as $$
  select array(select i from (select distinct i from unnest(ids) i) x order by case when rising then i else -i end)
$$;
comment on function weir.in_order(bigint[], boolean) is 'Internal. These ids, each once, rising or falling.';

create or replace function weir.partition_end(number int, rising boolean) returns bigint language sql immutable
  return case when rising then ((number + 1)::bigint << 32) - 1 else number::bigint << 32 end;
comment on function weir.partition_end(int, boolean) is
  'Internal. The last id of a partition in one direction.';

-- Two parts of the same jobs were looked at, each up to an id. Null: there was none of it.
create or replace function weir.join_search(a bigint[], a_reached bigint, b bigint[], b_reached bigint, rising boolean,
  most int, out ids bigint[], out reached bigint) language plpgsql immutable as $$
begin
  reached := case when rising then least(a_reached, b_reached) else greatest(a_reached, b_reached) end;
  ids := weir.in_order(array(select i from unnest(a || b) i where case when rising then i <= reached
    else i >= reached end), rising);
  if cardinality(ids) > most then
    ids := ids[1:most];
    reached := ids[most];
  end if;
end $$;
comment on function weir.join_search(bigint[], bigint, bigint[], bigint, boolean, int) is
  'Internal. The first `most` ids of two parts, and up to which id both were looked at.';
