-- Searches through the jobs of a partition in the order of their ids, a number of them at a time.

-- reached: all up to there were looked at. size: how many are looked at.
create or replace function weir.search_window(facts text, ends text, must_end boolean, number int, start bigint,
  rising boolean, most int, size int, out ids bigint[], out reached bigint) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set enable_hashjoin = off
set enable_mergejoin = off as $$
declare
  last record;
begin
  execute format(
    'select array_agg(w.id) filter (where w.passes) as passing, count(*) as n, %7$s(w.id) as last from (' || case
    when must_end then
      'select o.job_id as id, (select %4$s from weir.job_p%1$s j where j.id = o.job_id) as passes
        from weir.job_outcome_p%1$s o where %8$s order by o.job_id %6$s limit %3$s'
    when ends is not null then
      'select j.id, %5$s and coalesce((select %9$s from weir.job_outcome_p%1$s o where o.job_id = j.id), true)
          as passes
        from weir.job_p%1$s j where %2$s order by j.id %6$s limit %3$s'
    else
      'select j.id, %5$s as passes from weir.job_p%1$s j where %2$s order by j.id %6$s limit %3$s' end || ') w',
    number, weir.beyond('j.id', start, rising), size, coalesce(concat_ws(' and ', ends, facts), 'true'),
    coalesce(facts, 'true'), case when rising then 'asc' else 'desc' end, case when rising then 'max' else 'min' end,
    weir.beyond('o.job_id', start, rising), ends) into last;
  ids := coalesce(last.passing[1:most], '{}');
  reached := case when cardinality(last.passing) > most then ids[most]
    when last.n < size then weir.partition_end(number, rising) else last.last end;
end $$;
comment on function weir.search_window(text, text, boolean, int, bigint, boolean, int, int) is
  'Internal. Those of the next `size` jobs of a partition after an id that pass conditions.';

-- For filters that only running and ended jobs match: through the outcomes, with the running ones between.
create or replace function weir.search_started(facts text, ends text, others text, number int, start bigint,
  rising boolean, most int, size int, out ids bigint[], out reached bigint) language plpgsql stable as $$
declare
  running record;
begin
  select w.ids, w.reached into ids, reached
  from weir.search_window(facts, ends, true, number, start, rising, most, size) w;
  select o.ids, o.reached into running
  from weir.search_unfinished(others, facts, number, start, rising, 5000) o;
  select s.ids, s.reached into ids, reached
  from weir.join_search(ids, reached, running.ids, running.reached, rising, most) s;
end $$;
comment on function weir.search_started(text, text, text, int, bigint, boolean, int, int) is
  'Internal. As weir.search_window, for a filter that no job matches which was never started.';

-- statement: that of weir.search_others.
create or replace function weir.search_unfinished(statement text, facts text, number int, start bigint,
  rising boolean, most int, out ids bigint[], out reached bigint) language plpgsql stable
set jit = off set enable_seqscan = off set max_parallel_workers_per_gather = 0 as $$
begin
  execute format('select array(select x.job_id from (%s) x where %s order by 1 %s limit %s)', statement,
    weir.beyond('x.job_id', start, rising), case when rising then 'asc' else 'desc' end, most + 1) into ids;
  reached := case when cardinality(ids) > most then ids[most] else weir.partition_end(number, rising) end;
  ids := weir.search_among(ids[1:most], facts, null, number, rising);
end $$;
comment on function weir.search_unfinished(text, text, int, bigint, boolean, int) is
  'Internal. Up to `most` of the jobs of a partition after an id that have not ended, and whose facts pass.';
