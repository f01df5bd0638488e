-- Searches: which jobs may match a filter, newest first, in steps of bounded time.
--
-- A step goes through the partitions, the newest first. In a sealed partition it asks the indexes of its search: if few
-- jobs pass, these are all there are. If many do, or the partition is not sealed, it reads the next window of jobs in
-- the order of their ids, which finds a page soon where many match. So statistics do not decide how much is read.
--
-- The conditions are written into each statement, and a statement is about one partition: the planner knows the values
-- and the table. What is found is a superset of the matches; weir.filter_job_ids decides.

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

-- About the outcome of a job, o. An interval has microseconds, so a second part is less exact than a number.
create or replace function weir.search_ends(filter jsonb) returns text language sql stable as $$
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
      - interval ''1 us''', filter ->> 'min_wait_seconds')), '')
$$;
comment on function weir.search_ends(jsonb) is
  'Internal. What a filter says about the outcome, o, of a job that has ended, as a condition; null: nothing.';

-- Jobs of a partition with a failure that has an error of the first kind that the filter asks for, highest ids first.
-- lowest: those below it were not looked for. ids is null if the filter asks for no error.
create or replace function weir.search_failures(filter jsonb, number int, before bigint, most int, out ids bigint[],
  out lowest bigint) language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  template text := case
    when filter ->> 'error_type' is not null then format('%%s ->> ''type'' = %L',
      replace(filter ->> 'error_type', '%', '%%'))
    when filter ->> 'error' is not null then format('weir.error_words(%%s) @@ %L::tsquery',
      weir.search_query(filter ->> 'error'))
    when (filter ->> 'has_error')::boolean then 'true' end;
begin
  lowest := number::bigint << 32;
  if template is not null then
    ids := weir.failed_job_ids(template, number, before, most + 1);
    if cardinality(ids) > most then
      lowest := ids[most];
      ids := ids[1:most];
    end if;
  end if;
end $$;
comment on function weir.search_failures(jsonb, int, bigint, int) is
  'Internal. Up to `most` jobs of a partition below an id that failed with an error that a filter asks for.';

create or replace function weir.failed_job_ids(template text, number int, before bigint, most int) returns bigint[]
language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  found bigint[];
begin
  execute format('select array(select x.id from (
      (select distinct e.job_id as id from weir.job_event_p%1$s e where e.kind in (''failed'', ''timed_out'', ''lost'')
        and e.job_id < %2$s and %4$s order by 1 desc limit %3$s)
      union (select o.job_id from weir.job_outcome_p%1$s o where o.error is not null and o.job_id < %2$s and %5$s
        order by 1 desc limit %3$s)) x order by x.id desc limit %3$s)', number, before, most,
    format(template, 'e.detail'), format(template, 'o.error')) into found;
  return found;
end $$;
comment on function weir.failed_job_ids(text, int, bigint, int) is
  'Internal. The highest ids of a partition below an id of jobs with an error for which a condition holds. template: '
  'the condition, for format, with %s for the error.';

-- By the indexes of a sealed partition. It returns null if there are more than `most`. Jobs that have not ended have no
-- outcome; others finds those that the condition on outcomes could be about.
create or replace function weir.search_few(facts text, ends text, others text, number int, before bigint, most int)
returns bigint[] language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  found bigint[];
begin
  execute format('select array(select j.id from weir.job_p%1$s j %2$s where j.id < %3$s and %4$s limit %5$s)', number,
    case when ends is not null then format('join weir.job_outcome_p%s o on o.job_id = j.id', number) else '' end,
    before, concat_ws(' and ', facts, ends), most + 1) into found;
  if cardinality(found) <= most and others is not null then
    execute format('select %1$L::bigint[] || array(select j.id from (%2$s) x join weir.job_p%3$s j on j.id = x.job_id
      where j.id < %4$s and %5$s limit %6$s)', found, format(others, number::bigint << 32, (number + 1)::bigint << 32),
      number, before, coalesce(facts, 'true'), most + 1) into found;
  end if;
  return case when cardinality(found) <= most then array(select distinct i from unnest(found) i order by i desc) end;
end $$;
comment on function weir.search_few(text, text, text, int, bigint, int) is
  'Internal. All jobs of a sealed partition below an id that pass conditions, highest first; null: more than `most`.';

-- The next window of jobs below an id, of up to `most` that pass. reached: all from there on were looked at.
create or replace function weir.search_window(facts text, ends text, must_end boolean, number int, before bigint,
  most int, size int, out ids bigint[], out reached bigint) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
  last record;
begin
  execute format(case when must_end then
      'select array_agg(w.job_id) filter (where w.passes) as passing, count(*) as n, min(w.job_id) as lowest from (
        select o.job_id, (select %4$s from weir.job_p%1$s j where j.id = o.job_id) as passes
        from weir.job_outcome_p%1$s o where o.job_id < %2$s order by o.job_id desc limit %3$s) w'
    when ends is not null then
      'select array_agg(w.id) filter (where w.passes) as passing, count(*) as n, min(w.id) as lowest from (
        select j.id, %5$s and coalesce((select %6$s from weir.job_outcome_p%1$s o where o.job_id = j.id), true)
          as passes
        from weir.job_p%1$s j where j.id < %2$s order by j.id desc limit %3$s) w'
    else
      'select array_agg(w.id) filter (where w.passes) as passing, count(*) as n, min(w.id) as lowest from (
        select j.id, %5$s as passes from weir.job_p%1$s j where j.id < %2$s order by j.id desc limit %3$s) w' end,
    number, before, size, coalesce(concat_ws(' and ', ends, facts), 'true'), coalesce(facts, 'true'), ends) into last;
  ids := coalesce(last.passing[1:most], '{}');
  reached := case when cardinality(last.passing) > most then ids[most] when last.n < size then number::bigint << 32
    else last.lowest end;
end $$;
comment on function weir.search_window(text, text, boolean, int, bigint, int, int) is
  'Internal. Those of the `size` newest jobs of a partition below an id that pass conditions.';

-- Where the jobs that have not ended are that a condition on outcomes could be about, from one id to below another.
create or replace function weir.search_others(filter jsonb) returns text language sql immutable as $$
  select case
    when weir.search_must_end(filter) then null
    when filter ?| '{worker,started_after,started_before,min_run_seconds,max_run_seconds}' then
      'select l.job_id from weir.job_lease l where ' || replace(concat_ws(' and ',
        weir.condition('l.worker = %L', filter ->> 'worker'),
        weir.condition('l.leased_at >= %L::timestamptz', filter ->> 'started_after'),
        weir.condition('l.leased_at < %L::timestamptz', filter ->> 'started_before'),
        weir.condition('l.leased_at <= now() - make_interval(secs => %L::float8 - 1)',
          filter ->> 'min_run_seconds'), ''), '%', '%%') || 'l.job_id >= %1$s and l.job_id < %2$s'
    when filter ? 'min_attempts' then
      'select l.job_id from weir.job_lease l where l.job_id >= %1$s and l.job_id < %2$s
      union all select s.job_id from weir.job_scheduled s where s.job_id >= %1$s and s.job_id < %2$s
      union all select h.job_id from weir.job_held h where h.job_id >= %1$s and h.job_id < %2$s
      union all select r.job_id from weir.job_ready r where r.job_id >= %1$s and r.job_id < %2$s' end
$$;
comment on function weir.search_others(jsonb) is
  'Internal. A statement for the jobs from one id to below another that have not ended and could match a filter.';

create or replace function weir.search_must_end(filter jsonb) returns boolean language sql immutable as $$
  select coalesce(weir.texts_of(filter -> 'state') <@ '{completed,cancelled,dead}', false)
    or filter ->> 'finished_after' is not null or filter ->> 'finished_before' is not null
$$;
comment on function weir.search_must_end(jsonb) is 'Internal. Whether only jobs that have ended match a filter.';

-- A word of a search may be in the facts or in an error. No index finds the texts that lack a word.
create or replace function weir.search_words(filter jsonb, facts text, number int, before bigint, most int,
  out ids bigint[], out lowest bigint) language plpgsql stable as $$
declare
  words tsquery := weir.search_query(filter ->> 'q');
  failed bigint[];
begin
  lowest := number::bigint << 32;
  if querytree(words) in ('', 'T') then
    return;
  end if;
  ids := weir.search_few(concat_ws(' and ', facts, format('weir.job_words(j.kind, j.args, j.tags) @@ %L::tsquery',
    words)), null, null, number, before, most);
  if ids is not null then
    failed := weir.failed_job_ids(format('weir.error_words(%%s) @@ %L::tsquery', words), number, before, most + 1);
    if cardinality(failed) > most then
      lowest := failed[most];
    end if;
    ids := array(select distinct i from unnest(ids || failed[1:most]) i where i >= lowest order by i desc);
  end if;
end $$;
comment on function weir.search_words(jsonb, text, int, bigint, int) is
  'Internal. The jobs of a sealed partition below an id that may have the words of a filter, down to an id; null: they '
  'are many, or there is no index for it.';

-- With the words of a search, to see whether many jobs have them. A word in an error is not looked for.
create or replace function weir.search_dense_facts(filter jsonb, facts text) returns text language sql stable as $$
  select nullif(concat_ws(' and ', facts, weir.condition('weir.job_words(j.kind, j.args, j.tags) @@ %L::tsquery',
    weir.search_query(filter ->> 'q')::text)), '')
$$;
comment on function weir.search_dense_facts(jsonb, text) is
  'Internal. The condition on facts, and that the facts have the words of the filter.';

-- Those of some jobs of a partition that pass conditions, highest first.
create or replace function weir.search_among(pool bigint[], facts text, ends text, number int) returns bigint[]
language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  found bigint[];
begin
  if pool = '{}' or coalesce(facts, ends) is null then
    return pool;
  end if;
  execute format('select array(select j.id from weir.job_p%1$s j %2$s where j.id = any (%3$L::bigint[]) and %4$s
    order by j.id desc)', number,
    case when ends is not null then format('join weir.job_outcome_p%s o on o.job_id = j.id', number) else '' end,
    pool, concat_ws(' and ', facts, ends)) into found;
  return found;
end $$;
comment on function weir.search_among(bigint[], text, text, int) is
  'Internal. Those of these jobs of a partition that pass conditions, highest first.';

-- The window for filters that only running and ended jobs match: through the outcomes, with the running ones between.
create or replace function weir.search_started(facts text, ends text, others text, number int, before bigint, most int,
  size int, out ids bigint[], out reached bigint) language plpgsql stable as $$
declare
  running bigint[];
begin
  execute format('select array(select x.job_id from (%s) x order by 1 desc limit 5001)', format(others,
    number::bigint << 32, least(before, (number + 1)::bigint << 32))) into running;
  select w.ids, w.reached into ids, reached from weir.search_window(facts, ends, true, number, before, most, size) w;
  reached := greatest(reached, running[5001]);
  ids := array(select distinct i from unnest(ids || weir.search_among(running, facts, null, number)) i
    where i >= coalesce(reached, 0) order by i desc);
  if cardinality(ids) > most then
    ids := ids[1:most];
    reached := ids[most];
  end if;
end $$;
comment on function weir.search_started(text, text, text, int, bigint, int, int) is
  'Internal. As weir.search_window, for a filter that no job matches which was never started.';

-- look: whether to look at the newest jobs of a sealed partition first. found_few: few of them matched, so the next
-- partition need not look.
create or replace function weir.search_partition(filter jsonb, number int, before bigint, most int, look boolean,
  out ids bigint[], out reached bigint, out found_few boolean) language plpgsql stable as $$
declare
  few constant int := 5000;
  facts text := weir.search_facts(filter);
  ends text := weir.search_ends(filter);
  others text := weir.search_others(filter);
  must_end boolean := weir.search_must_end(filter);
  p weir.job_partition := (select x from weir.job_partition x where x.number = search_partition.number);
  sealed boolean := p.sealed_at is not null and p.outcomes_sealed_at is not null;
  pool bigint[];
  probe record;
  size int := case when filter ->> 'q' is null then 400 else 60 end;  -- to find the words of a text takes time
begin
  select f.ids, f.lowest into pool, reached from weir.search_failures(filter, number, before, few) f;
  found_few := not look;
  if pool is null and sealed and look then
    -- Where many of the newest match, no index is faster.
    select w.ids, w.reached into probe from weir.search_window(weir.search_dense_facts(filter, facts), ends,
      must_end, number, before, most, size) w;
    if cardinality(probe.ids) >= size / 10 or probe.reached = number::bigint << 32 then
      if filter ->> 'q' is not null then
        select w.ids, w.reached into probe from weir.search_window(facts, ends, must_end, number, before, most, size) w;
      end if;
      ids := probe.ids;
      reached := probe.reached;
      return;
    end if;
    found_few := true;
  end if;
  if pool is null and sealed then  -- few of the newest match
    if filter ->> 'q' is not null then
      select w.ids, w.lowest into pool, reached from weir.search_words(filter, facts, number, before, few) w;
    end if;
    if pool is null and coalesce(facts, ends) is not null and (ends is null or must_end or others is not null) then
      pool := weir.search_few(facts, ends, others, number, before, few);
      reached := number::bigint << 32;
    end if;
    found_few := found_few and pool is not null;
  end if;
  if pool is not null then
    pool := weir.search_among(pool, facts, case when must_end then ends end, number);
    ids := pool[1:most];
    reached := case when cardinality(pool) > most then ids[most] else reached end;
  elsif others is not null and not filter ? 'min_attempts' then
    select w.ids, w.reached into ids, reached
    from weir.search_started(facts, ends, others, number, before, most, 20000) w;
  else
    select w.ids, w.reached into ids, reached
    from weir.search_window(facts, ends, must_end, number, before, most, 20000) w;
  end if;
end $$;
comment on function weir.search_partition(jsonb, int, bigint, int, boolean) is
  'Internal. Up to `most` jobs of a partition below an id that may match a filter, highest first. reached: there are '
  'no others from there on.';

-- Partitions in which no job was enqueued at the time that is asked for are passed over. A job is enqueued while its
-- partition takes ids; an hour is more than a statement takes that draws one.
create or replace function weir.next_partition(filter jsonb, before bigint) returns int language sql stable as $$
  select p.number from weir.job_partition p
  where p.number <= (before - 1) >> 32
    and (filter ->> 'created_before' is null or p.opened_at is null
      or p.opened_at < (filter ->> 'created_before')::timestamptz + interval '1 hour')
    and (filter ->> 'created_after' is null or not exists (select from weir.job_partition n
      where n.number = p.number + 1 and n.opened_at < (filter ->> 'created_after')::timestamptz - interval '1 hour'))
  order by p.number desc limit 1
$$;
comment on function weir.next_partition(jsonb, bigint) is
  'Internal. The highest partition with ids below one that may have a match; null: there is none.';

create or replace function weir.search_step(filter jsonb, before bigint, most int, out ids bigint[],
  out reached bigint) language plpgsql stable as $$
declare
  until timestamptz := clock_timestamp() + interval '0.1 s';
  number int;
  look boolean := true;  -- until few match: then the others are asked for their indexes at once
  found record;
begin
  filter := jsonb_strip_nulls(filter);  -- also in args, of which less is then asked
  if filter ->> 'workflow_id' is not null or filter ->> 'parent_id' is not null
    or weir.texts_of(filter -> 'state') <@ '{running,held,scheduled,retryable}' then
    ids := weir.newest_job_ids(filter, before, most);
    reached := ids[most];
    return;
  end if;
  ids := '{}';
  reached := before;
  loop
    number := weir.next_partition(filter, reached);
    if number is null then
      reached := null;
      return;
    end if;
    select p.ids, p.reached, p.found_few into found
    from weir.search_partition(filter, number, reached, most - cardinality(ids), look) p;
    look := not found.found_few;
    ids := ids || found.ids;
    reached := found.reached;
    exit when cardinality(ids) >= most or clock_timestamp() > until;
  end loop;
end $$;
comment on function weir.search_step(jsonb, bigint, int) is
  'Internal. The next jobs below an id that may match a filter, highest first, at most `most`. reached: there are no '
  'others from there on; null: none at all. It takes about a tenth of a second.';

-- How far back a search has come, for those who read it.
create or replace function weir.created_from(id bigint) returns timestamptz language plpgsql stable
set jit = off set enable_seqscan = off set enable_sort = off as $$
begin
  return coalesce((select j.created_at from weir.job j where j.id >= created_from.id order by j.id limit 1),
    clock_timestamp());
end $$;
comment on function weir.created_from(bigint) is
  'Internal. When the first job was enqueued whose id is this one or a higher one.';
