-- Searches: which jobs may match a filter, newest or oldest first, in steps of bounded time.
--
-- A step goes through the partitions in order. In a sealed partition it asks for what is rare: jobs that have not
-- ended, zones, indexes, or failures. If few jobs pass, these are all there are. If many do, or the partition is not
-- sealed, it reads the next window of jobs in the order of their ids, which finds a page soon where many match. So
-- statistics do not decide how much is read.
--
-- A statement is about one partition. What is found is a superset of the matches; weir.filter_job_ids decides.

-- What few jobs of a sealed partition have in common that match a filter. ids is null if that is not known to be few.
create or replace function weir.search_rare(filter jsonb, p weir.job_partition, start bigint, rising boolean,
  out ids bigint[], out reached bigint) language plpgsql stable as $$
declare
  few constant int := 5000;
  facts text := weir.search_facts(filter);
  ends text := weir.search_ends(filter, p.number);
  others text := weir.search_others(filter, p.number);
  error text := weir.search_error(filter);
  -- Of so few jobs, errors and words are looked up one by one.
  least_few int := case when error is not null then 500 when filter ->> 'q' is not null then 100 else few end;
  zones bigint[];
begin
  if p.zoned_until is not null and weir.search_has_zones(filter) then
    zones := weir.search_zones(filter, p.number, start, rising, 21);
    if cardinality(zones) <= 20 then
      select z.ids, z.reached into ids, reached from weir.search_zoned(zones, facts, ends, others, p.zoned_until,
        p.number, start, rising, few, 20) z;
    end if;
  end if;
  if ids is null and weir.search_has_index(filter) then
    ids := weir.search_few(facts, ends, others, p.number, start, rising, least_few);
    reached := weir.partition_end(p.number, rising);
  end if;
  if ids is not null and error is not null then
    ids := weir.failed_job_ids(error, p.number, start, rising, few, ids);
  elsif ids is null and filter ->> 'q' is not null then
    select w.ids, w.reached into ids, reached from weir.search_words(filter, facts, ends, others, p.number, start,
      rising, few) w;
    if ids is null and weir.search_has_index(filter) then
      ids := weir.search_few(facts, ends, others, p.number, start, rising, few);
      reached := weir.partition_end(p.number, rising);
    end if;
  end if;
end $$;
comment on function weir.search_rare(jsonb, weir.job_partition, bigint, boolean) is
  'Internal. The jobs of a sealed partition after an id that may match a filter, up to an id, if few do or few have '
  'what can be looked up; ids is null where many do.';

-- The next window, where many may match.
create or replace function weir.search_next(filter jsonb, p weir.job_partition, start bigint, rising boolean,
  most int, size int, out ids bigint[], out reached bigint) language plpgsql stable as $$
declare
  facts text := weir.search_facts(filter);
  ends text := weir.search_ends(filter, p.number);
  others text := weir.search_others(filter, p.number);
  zones int := greatest(size / 256, 1);
begin
  if p.zoned_until is not null and weir.search_has_zones(filter) then
    select z.ids, z.reached into ids, reached from weir.search_zoned(weir.search_zones(filter, p.number, start,
      rising, zones + 1), facts, ends, others, p.zoned_until, p.number, start, rising, most, zones) z;
  elsif weir.search_must_start(filter) and not weir.search_must_end(filter) then
    select w.ids, w.reached into ids, reached
    from weir.search_started(facts, ends, others, p.number, start, rising, most, size) w;
  else
    select w.ids, w.reached into ids, reached
    from weir.search_window(facts, ends, weir.search_must_end(filter), p.number, start, rising, most, size) w;
  end if;
end $$;
comment on function weir.search_next(jsonb, weir.job_partition, bigint, boolean, int, int) is
  'Internal. Those of about the next `size` jobs of a partition after an id that may match a filter, up to an id.';

-- look: whether to look at the next jobs of a sealed partition first. found_few: few of them matched, so the next
-- partition need not look. size: of the window.
create or replace function weir.search_partition(filter jsonb, number int, start bigint, rising boolean, most int,
  look boolean, size int, out ids bigint[], out reached bigint, out found_few boolean) language plpgsql stable as $$
declare
  p weir.job_partition := (select x from weir.job_partition x where x.number = search_partition.number);
  facts text := weir.search_facts(filter);
  ends text := weir.search_ends(filter, number);
  error text := weir.search_error(filter);
  must_end boolean := weir.search_must_end(filter);
  sealed boolean := p.sealed_at is not null and (p.outcomes_sealed_at is not null or ends is null and error is null
    and filter ->> 'q' is null);
  pool bigint[];
begin
  found_few := true;
  reached := weir.partition_end(number, rising);
  if p.outcomes_sealed_at is not null and weir.search_is_waiting(filter) then
    pool := weir.search_pool(weir.unfinished_job_ids(number, 5001), facts, start, rising, number);
  end if;
  if sealed and ends is not null and not must_end and not weir.search_must_start(filter)
    and cardinality(weir.unfinished_job_ids(number, 5001)) > 5000 then
    p.zoned_until := null;
    sealed := false;  -- too many could match that have no outcome
  end if;
  if pool is null and sealed and look and error is null
    and not (p.zoned_until is not null and weir.search_has_zones(filter)) then  -- where many match, no index is faster
    select w.ids, w.are_few, w.reached into ids, found_few, reached
    from weir.search_look(filter, p, start, rising, most) w;
    if not found_few then
      return;
    end if;
  end if;
  if pool is null and sealed then
    select r.ids, r.reached into pool, reached from weir.search_rare(filter, p, start, rising) r;
  end if;
  if pool is null and error is not null then
    pool := weir.failed_job_ids(error, number, start, rising, 5001);
    reached := case when cardinality(pool) > 5000 then pool[5000] else weir.partition_end(number, rising) end;
    pool := weir.search_among(pool[1:5000], facts, case when must_end then ends end, number, rising);
  end if;
  if pool is null then
    found_few := false;
    select w.ids, w.reached into ids, reached from weir.search_next(filter, p, start, rising, most, size) w;
  else
    ids := pool[1:most];
    reached := case when cardinality(pool) > most then ids[most] else reached end;
  end if;
end $$;
comment on function weir.search_partition(jsonb, int, bigint, boolean, int, boolean, int) is
  'Internal. Up to `most` jobs of a partition after an id that may match a filter. reached: all up to there were '
  'looked at.';

-- Whether many of the next jobs match, as far as that is seen without a look at their errors.
create or replace function weir.search_look(filter jsonb, p weir.job_partition, start bigint, rising boolean,
  most int, out ids bigint[], out reached bigint, out are_few boolean) language plpgsql stable as $$
declare
  facts text := weir.search_facts(filter);
  ends text := weir.search_ends(filter, p.number);
  size int := case when filter ->> 'q' is null then 400 else 60 end;  -- to find the words of a text takes time
begin
  select w.ids, w.reached into ids, reached from weir.search_window(weir.search_dense_facts(filter, facts), ends,
    weir.search_must_end(filter), p.number, start, rising, most, size) w;
  are_few := cardinality(ids) < size / 10 and reached <> weir.partition_end(p.number, rising);
  if not are_few and filter ->> 'q' is not null then
    select w.ids, w.reached into ids, reached from weir.search_window(facts, ends, weir.search_must_end(filter),
      p.number, start, rising, most, size) w;
  end if;
end $$;
comment on function weir.search_look(jsonb, weir.job_partition, bigint, boolean, int) is
  'Internal. Those of the next 400 jobs of a partition after an id that may match a filter; are_few: they are few.';

-- Without such a field weir.search_few would read the whole partition.
create or replace function weir.search_has_index(filter jsonb) returns boolean language sql immutable as $$
  select filter ?| '{kind,queue,tenant,tag,args,priority,min_priority,max_priority,worker,min_attempts}'
    or coalesce(filter -> 'bounds' ? 'tenant', false)
    or coalesce(weir.texts_of(filter -> 'state') <@ '{cancelled,dead}', false)
$$;
comment on function weir.search_has_index(jsonb) is
  'Internal. Whether a filter has a field for which sealed partitions have an index, words and errors aside.';

create or replace function weir.search_is_waiting(filter jsonb) returns boolean language sql immutable as $$
  select coalesce(weir.texts_of(filter -> 'state') <@ '{available,running,held,scheduled,retryable}', false)
$$;
comment on function weir.search_is_waiting(jsonb) is 'Internal. Whether only jobs that have not ended match a filter.';

create or replace function weir.search_pool(pool bigint[], facts text, start bigint, rising boolean, number int)
returns bigint[] language sql stable as $$
  select case when cardinality(pool) <= 5000 then weir.search_among(weir.in_order(array(select i from unnest(pool) i
    where case when rising then i > start else i < start end), rising), facts, null, number, rising) end
$$;
comment on function weir.search_pool(bigint[], text, bigint, boolean, int) is
  'Internal. Those of up to 5000 jobs of a partition after an id whose facts pass; null: they are more.';

-- Partitions are passed over in which no job was enqueued at the time that is asked for, or before a start or an end
-- that is asked for. A job is enqueued while its partition takes ids; an hour is more than a statement takes that draws
-- one.
create or replace function weir.next_partition(filter jsonb, start bigint, rising boolean) returns int
language sql stable as $$
  select p.number from weir.job_partition p
  cross join (select least((filter ->> 'created_before')::timestamptz, (filter ->> 'started_before')::timestamptz,
    (filter ->> 'finished_before')::timestamptz) as before) t
  where case when rising then p.number >= (start + 1) >> 32 else p.number <= (start - 1) >> 32 end
    and (t.before is null or p.opened_at is null or p.opened_at < t.before + interval '1 hour')
    and (filter ->> 'created_after' is null or not exists (select from weir.job_partition n
      where n.number = p.number + 1 and n.opened_at < (filter ->> 'created_after')::timestamptz - interval '1 hour'))
  order by case when rising then p.number else -p.number end limit 1
$$;
comment on function weir.next_partition(jsonb, bigint, boolean) is
  'Internal. The next partition with ids after one that may have a match; null: there is none.';

-- The first windows are small: where many match, a page is found in one. They grow up to 20,000 jobs.
create or replace function weir.search_step(filter jsonb, start bigint, most int, rising boolean default false,
  out ids bigint[], out reached bigint, out is_open boolean) language plpgsql stable as $$
declare
  until timestamptz := clock_timestamp() + interval '0.1 s';
  here int;
  look boolean := true;  -- until few match: then the others are asked for their indexes at once
  size int := least(2 * most, 20000);
  found record;
begin
  filter := jsonb_strip_nulls(filter);  -- also in args, of which less is then asked
  if filter ->> 'workflow_id' is not null or filter ->> 'parent_id' is not null
    or weir.texts_of(filter -> 'state') <@ '{running,held,scheduled,retryable}' then
    ids := case when rising then weir.scan_job_ids(filter, start, 9223372036854775807, most)
      else weir.newest_job_ids(filter, start, most) end;
    reached := ids[most];
    return;
  end if;
  ids := '{}';
  reached := start;
  is_open := false;
  loop
    here := weir.next_partition(filter, reached, rising);
    if here is null then
      reached := null;
      return;
    end if;
    select p.ids, p.reached, p.found_few into found
    from weir.search_partition(filter, here, reached, rising, most - cardinality(ids), look, size) p;
    look := not found.found_few;
    if not found.found_few and cardinality(found.ids) < most / 4 then
      size := least(4 * size, 20000);
    end if;
    ids := ids || found.ids;
    reached := found.reached;
    is_open := not exists (select from weir.job_partition p where p.number = here
      and p.outcomes_sealed_at is not null);
    exit when cardinality(ids) >= most or clock_timestamp() > until;
  end loop;
end $$;
comment on function weir.search_step(jsonb, bigint, int, boolean) is
  'Internal. The next jobs after an id that may match a filter, at most `most`, falling or rising. reached: all up to '
  'there were looked at; null: all there are. is_open: it ended in a partition that is not sealed. It takes about a '
  'tenth of a second.';

-- How far back a search has come, for those who read it.
create or replace function weir.created_from(id bigint) returns timestamptz language plpgsql stable
set jit = off set enable_seqscan = off set enable_sort = off as $$
begin
  return coalesce((select j.created_at from weir.job j where j.id >= created_from.id order by j.id limit 1),
    clock_timestamp());
end $$;
comment on function weir.created_from(bigint) is
  'Internal. When the first job was enqueued whose id is this one or a higher one.';
