-- Histograms of times: how many were in each bucket.
--
-- Times are counted in buckets, eight to each doubling: bucket 1 is below 1 ms, bucket n from 2^((n-2)/8) to
-- 2^((n-1)/8) ms. Buckets of minutes, kinds or queues may be added up. A percentile is the geometric middle of its
-- bucket, so it is at most 2^(1/16) - 1 = 4.5 % off.

create or replace function weir.time_bucket(seconds float8) returns int language sql immutable
  return case when seconds is null then null when seconds < 0.001 then 1
    else least(2 + floor(8 * ln(seconds * 1000) / ln(2.0::float8))::int, 300) end;
comment on function weir.time_bucket(float8) is
  'The bucket of a time in seconds: 1 below 1 ms, then eight to each doubling: bucket n from 2^((n-2)/8) to '
  '2^((n-1)/8) ms; 300, for over four years, is the last.';

create or replace function weir.histogram(buckets int[], counts int[]) returns int[] language plpgsql immutable as $$
declare
  made int[] := array_fill(0, array[coalesce((select max(b) from unnest(buckets) b), 0)]);
begin
  for i in 1..coalesce(cardinality(buckets), 0) loop
    made[buckets[i]] := made[buckets[i]] + counts[i];
  end loop;
  return made;
end $$;
comment on function weir.histogram(int[], int[]) is 'Internal. The array with these counts in these buckets.';

-- PL/pgSQL, because a statement for each two histograms takes three times as long. It is pinned, as any session may
-- call the aggregate.
create or replace function weir.add_histograms(a int[], b int[]) returns int[] language plpgsql immutable
set search_path = pg_catalog, pg_temp as $$
declare
  total int[] := case when cardinality(a) >= cardinality(b) then a else b end;
  other int[] := case when cardinality(a) >= cardinality(b) then b else a end;
begin
  for n in 1..cardinality(other) loop
    if other[n] <> 0 then
      total[n] := least(total[n]::bigint + other[n], 2147483647);
    end if;
  end loop;
  return total;
end $$;
comment on function weir.add_histograms(int[], int[]) is
  'Internal. Adds two histograms bucket by bucket. A bucket holds at most 2^31 - 1.';

create or replace function weir.percentile(histogram int[], fraction float8) returns float8
language plpgsql immutable as $$
declare
  wanted bigint := ceil(percentile.fraction * (select sum(h) from unnest(percentile.histogram) h));
  seen bigint := 0;
begin
  for n in 1..coalesce(cardinality(percentile.histogram), 0) loop
    seen := seen + percentile.histogram[n];
    if seen > 0 and seen >= wanted then
      return case when n = 1 then 0.0005 else 0.001 * 2 ^ ((n - 1.5) / 8.0::float8) end;
    end if;
  end loop;
  return null;
end $$;
comment on function weir.percentile(int[], float8) is
  'A percentile of a histogram of times, in seconds; fraction is 0.5, 0.95, 0.99, … The nearest-rank percentile, at '
  'most 4.5 % off, or 0.5 ms below 1 ms. Null where the histogram is empty.';

create or replace aggregate weir.merge_histograms(int[]) (sfunc = weir.add_histograms, stype = int[], initcond = '{}');
comment on aggregate weir.merge_histograms(int[]) is
  'Adds histograms of times (weir.rollup.waits, runs), of whatever minutes, queues and kinds. weir.percentile reads '
  'the sum.';
