-- Searches by the indexes of a sealed partition, and by the failures of any.
--
-- Most of what they read is in memory. At its usual cost of a random page, the planner would rather read thousands of
-- rows and join them by a hash than look hundreds up.

-- Jobs of a partition with a failure that has an error of the first kind that the filter asks for.
create or replace function weir.search_error(filter jsonb) returns text language sql immutable as $$
  select case
    when filter ->> 'error_type' is not null then format('%%s ->> ''type'' = %L',
      replace(filter ->> 'error_type', '%', '%%'))
    when filter ->> 'error' is not null then format('weir.error_words(%%s) @@ %L::tsquery',
      weir.search_query(filter ->> 'error'))
    when (filter ->> 'has_error')::boolean then 'true' end
$$;
comment on function weir.search_error(jsonb) is
  'Internal. The condition on an error that a filter asks for, for format, with %s for the error; null: none.';

-- among: only these; null: any.
create or replace function weir.failed_job_ids(template text, number int, start bigint, rising boolean, most int,
  among bigint[] default null) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set max_parallel_workers_per_gather = 0 set random_page_cost = 1.1
as $$
declare
  found bigint[];
begin
  execute format('select array(select x.id from (
      (select distinct e.job_id as id from weir.job_event_p%1$s e where e.kind in (''failed'', ''timed_out'', ''lost'')
        and %2$s and %4$s order by 1 %6$s limit %3$s)
      union (select o.job_id from weir.job_outcome_p%1$s o where o.error is not null and %7$s and %5$s
        order by 1 %6$s limit %3$s)) x order by x.id %6$s limit %3$s)', number,
    concat_ws(' and ', weir.beyond('e.job_id', start, rising), weir.condition('e.job_id = any (%L)', among::text)),
    most, format(template, 'e.detail'), format(template, 'o.error'), case when rising then 'asc' else 'desc' end,
    concat_ws(' and ', weir.beyond('o.job_id', start, rising), weir.condition('o.job_id = any (%L)', among::text)))
    into found;
  return found;
end $$;
comment on function weir.failed_job_ids(text, int, bigint, boolean, int, bigint[]) is
  'Internal. The first `most` jobs of a partition after an id that have an error for which a condition holds. '
  'template: that of weir.search_error.';

-- It returns null if there are more than `most`. Jobs that have not ended have no outcome; others finds those that the
-- condition on outcomes could be about. Checks are made last, of jobs that pass all else.
create or replace function weir.search_few(facts text, ends text, others text, number int, start bigint,
  rising boolean, most int, checks text default null) returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set max_parallel_workers_per_gather = 0 set random_page_cost = 1.1
as $$
declare
  found bigint[];
begin
  execute format('select array(select j.id from (select j.id, j.kind, j.args, j.tags from weir.job_p%1$s j %2$s
      where %3$s%6$s) j where %5$s limit %4$s)', number,
    case when ends is not null then format('join weir.job_outcome_p%s o on o.job_id = j.id', number) else '' end,
    concat_ws(' and ', weir.beyond('j.id', start, rising), facts, ends), most + 1, coalesce(checks, 'true'),
    case when checks is null then '' else ' offset 0' end) into found;
  if cardinality(found) <= most and others is not null then
    execute format('select %1$L::bigint[] || array(select j.id from (%2$s) x join weir.job_p%3$s j on j.id = x.job_id
      where %4$s limit %5$s)', found, others, number, concat_ws(' and ', weir.beyond('j.id', start, rising), facts,
      checks), most + 1) into found;
  end if;
  return case when cardinality(found) <= most then weir.in_order(found, rising) end;
end $$;
comment on function weir.search_few(text, text, text, int, bigint, boolean, int, text) is
  'Internal. All jobs of a sealed partition after an id that pass conditions; null: more than `most`.';

-- To find a phrase, the index must read each job that has its words. So it looks for the words, and the phrase is
-- looked for in what passes all other conditions. A phrase that must not be there is not weakened in this way.
create or replace function weir.loose_words(words tsquery) returns tsquery language sql immutable as $$
  select case when words::text like '%!(%' then words else replace(words::text, '<->', '&')::tsquery end
$$;
comment on function weir.loose_words(tsquery) is
  'Internal. A query that finds all that another finds, and needs only the index for it.';

-- A word of a search may be in the facts or in an error. No index finds the texts that lack a word.
create or replace function weir.search_words(filter jsonb, facts text, ends text, others text, number int,
  start bigint, rising boolean, most int, out ids bigint[], out reached bigint) language plpgsql stable as $$
declare
  template constant text := 'weir.job_words(j.kind, j.args, j.tags) @@ %L::tsquery';
  words tsquery := weir.search_query(filter ->> 'q');
  failed bigint[];
begin
  if querytree(words) in ('', 'T') then
    return;
  end if;
  ids := weir.search_few(concat_ws(' and ', facts, format(template, weir.loose_words(words))), ends, others, number,
    start, rising, most, case when weir.loose_words(words) <> words then format(template, words) end);
  if ids is not null then
    failed := weir.failed_job_ids(format('weir.error_words(%%s) @@ %L::tsquery', words), number, start, rising,
      most + 1);
    reached := case when cardinality(failed) > most then failed[most] else weir.partition_end(number, rising) end;
    failed := weir.search_among(failed[1:most], facts, case when others is null then ends end, number, rising);
    select s.ids, s.reached into ids, reached from weir.join_search(ids, weir.partition_end(number, rising), failed,
      reached, rising, 2 * most) s;
  end if;
end $$;
comment on function weir.search_words(jsonb, text, text, text, int, bigint, boolean, int) is
  'Internal. The jobs of a sealed partition after an id that may have the words of a filter, up to an id; null: they '
  'are many, or there is no index for it.';

-- Those of some jobs of a partition that pass conditions.
create or replace function weir.search_among(pool bigint[], facts text, ends text, number int, rising boolean)
returns bigint[] language plpgsql stable
set jit = off set enable_seqscan = off
set enable_hashjoin = off set enable_mergejoin = off set max_parallel_workers_per_gather = 0 set random_page_cost = 1.1
as $$
declare
  found bigint[];
begin
  if pool = '{}' or coalesce(facts, ends) is null then
    return pool;
  end if;
  execute format('select array(select j.id from weir.job_p%1$s j %2$s where j.id = any (%3$L::bigint[]) and %4$s)',
    number,
    case when ends is not null then format('join weir.job_outcome_p%s o on o.job_id = j.id', number) else '' end,
    pool, concat_ws(' and ', facts, ends)) into found;
  return weir.in_order(found, rising);
end $$;
comment on function weir.search_among(bigint[], text, text, int, boolean) is
  'Internal. Those of these jobs of a partition that pass conditions.';
