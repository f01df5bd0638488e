-- Zones: of each 256 ids of a sealed partition, within what times their jobs were enqueued, started and ended, and how
-- long they waited and ran. So a search for a time or a length reads the zones that may have a match, the newest first,
-- and ends when it has a page. A zone takes about a hundred bytes.
--
-- A zone is of the jobs that had ended when it was made. Those that ended later are found by their times.

create or replace function weir.make_zones(number int) returns void language plpgsql set jit = off as $$
declare
  settled timestamptz := (select w.settled_at from weir.watermark w order by w.tick desc limit 1);
begin
  perform weir.drop_zones(number);
  execute format('insert into weir.job_zone
    select (t.id >> 8) << 8, min(t.created_at), max(t.created_at), min(t.started_at), max(t.started_at),
      min(t.finished_at), max(t.finished_at), min(t.wait), max(t.wait), min(t.run), max(t.run)
    from (
      select j.id, j.created_at, o.started_at, o.finished_at, weir.run_seconds(o.started_at, o.finished_at) as run,
        case when o.job_id is null then null
          when j.run_at is null and not exists (select from weir.job_event_p%1$s e where e.job_id = j.id)
            then greatest(extract(epoch from coalesce(o.started_at, o.finished_at) - j.created_at)::float8, 0)
          else weir.wait_seconds(j.id, o.started_at, o.finished_at) end as wait
      from weir.job_p%1$s j left join weir.job_outcome_p%1$s o on o.job_id = j.id) t
    group by 1', number);
  update weir.job_partition p set zoned_until = settled where p.number = make_zones.number;
end $$;
comment on function weir.make_zones(int) is 'Internal. Makes the zones of a partition that takes no more jobs.';

create or replace function weir.drop_zones(number int) returns void language sql as $$
  delete from weir.job_zone z where z.low >= drop_zones.number::bigint << 32
    and z.low < (drop_zones.number + 1)::bigint << 32
$$;
comment on function weir.drop_zones(int) is 'Internal. Removes the zones of a partition.';

create or replace function weir.search_has_zones(filter jsonb) returns boolean language sql immutable as $$
  select filter ?| '{created_after,created_before,started_after,started_before,finished_after,finished_before,
    min_run_seconds,max_run_seconds,min_wait_seconds,max_wait_seconds}'
$$;
comment on function weir.search_has_zones(jsonb) is 'Internal. Whether a filter asks for a time or a length.';

-- Lengths are compared with some room, because a number of seconds is not exact.
create or replace function weir.search_zones(filter jsonb, number int, start bigint, rising boolean, most int)
returns bigint[] language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  f record;
  lowest bigint := case when rising then greatest(number::bigint << 32, start - 254) else number::bigint << 32 end;
  highest bigint := case when rising then ((number + 1)::bigint << 32) - 1
    else least(((number + 1)::bigint << 32) - 1, start - 1) end;
begin
  select * into f from jsonb_to_record(filter) x(created_after timestamptz, created_before timestamptz,
    started_after timestamptz, started_before timestamptz, finished_after timestamptz, finished_before timestamptz,
    min_run_seconds float8, max_run_seconds float8, min_wait_seconds float8, max_wait_seconds float8);
  return array(select z.low from weir.job_zone z where z.low between lowest and highest
    and (f.created_after is null or z.created_until >= f.created_after)
    and (f.created_before is null or z.created_from < f.created_before)
    and (f.started_after is null or z.started_until >= f.started_after)
    and (f.started_before is null or z.started_from < f.started_before)
    and (f.finished_after is null or z.finished_until >= f.finished_after)
    and (f.finished_before is null or z.finished_from < f.finished_before)
    and (f.min_run_seconds is null or z.longest_run >= f.min_run_seconds - 0.00001)
    and (f.max_run_seconds is null or z.shortest_run <= f.max_run_seconds + 0.00001)
    and (f.min_wait_seconds is null or z.longest_wait >= f.min_wait_seconds - 0.00001)
    and (f.max_wait_seconds is null or z.shortest_wait <= f.max_wait_seconds + 0.00001)
    order by case when rising then z.low else -z.low end limit most);
end $$;
comment on function weir.search_zones(jsonb, int, bigint, boolean, int) is
  'Internal. The first ids of the next `most` zones of a partition, with ids after a start, that may have a match.';

-- Jobs without an outcome are not in it, unless nothing is asked of outcomes. OFFSET 0 has the zones read one by one.
create or replace function weir.search_in_zones(zones bigint[], facts text, ends text, number int, start bigint,
  rising boolean, most int, size int, out ids bigint[], out reached bigint) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off
set enable_mergejoin = off set max_parallel_workers_per_gather = 0 as $$
begin
  execute format('select array(select x.id from unnest(%3$L::bigint[]) z cross join lateral (
      select j.id from ' || case when ends is null then 'weir.job_p%1$s j where j.id between z and z + 255 and %4$s'
      else 'weir.job_outcome_p%1$s o join weir.job_p%1$s j on j.id = o.job_id
        where o.job_id between z and z + 255 and %4$s' end || ' offset 0) x where %2$s)', number,
    weir.beyond('x.id', start, rising), zones[1:size], concat_ws(' and ', ends, facts)) into ids;
  ids := weir.in_order(ids, rising);
  reached := case when cardinality(zones) <= size then weir.partition_end(number, rising)
    when rising then zones[size] + 255 else zones[size] end;
  if cardinality(ids) > most then
    ids := ids[1:most];
    reached := ids[most];
  end if;
end $$;
comment on function weir.search_in_zones(bigint[], text, text, int, bigint, boolean, int, int) is
  'Internal. The jobs of the first `size` zones, after an id, that pass conditions.';

-- With those that are in no zone: what ended after the zones were made, and what has not ended.
create or replace function weir.search_zoned(zones bigint[], facts text, ends text, others text, since timestamptz,
  number int, start bigint, rising boolean, most int, size int, out ids bigint[], out reached bigint)
language plpgsql stable set jit = off set enable_seqscan = off as $$
declare
  rest record;
  late text := format('select o.job_id from weir.job_outcome_p%s o where o.finished_at >= %L', number, since);
begin
  select z.ids, z.reached into ids, reached
  from weir.search_in_zones(zones, facts, ends, number, start, rising, most, size) z;
  if ends is not null then
    select u.ids, u.reached into rest from weir.search_unfinished(concat_ws(' union all ', late, others), facts,
      number, start, rising, 5000) u;
    select s.ids, s.reached into ids, reached
    from weir.join_search(ids, reached, rest.ids, rest.reached, rising, most) s;
  end if;
end $$;
comment on function weir.search_zoned(bigint[], text, text, text, timestamptz, int, bigint, boolean, int, int) is
  'Internal. Up to `most` jobs of a partition after an id that may pass conditions, as the first `size` zones, and '
  'what is in none, have them.';
