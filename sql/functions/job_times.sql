-- How long a job waited and ran, and how its attempts failed, for filters.

create or replace function weir.run_seconds(started_at timestamptz, finished_at timestamptz) returns float8
language sql stable
  return case when started_at is not null
    then greatest(extract(epoch from coalesce(finished_at, clock_timestamp()) - started_at)::float8, 0) end;
comment on function weir.run_seconds(timestamptz, timestamptz) is
  'Internal. How long the last attempt took, or takes if it has not ended; null: there was none.';

-- As roll-ups count it (weir.count_ends): from the last time that the job became available before it was started.
create or replace function weir.wait_seconds(job_id bigint, started_at timestamptz, finished_at timestamptz)
returns float8 language sql stable as $$
  select greatest(extract(epoch from t.until - coalesce(
    (select max(coalesce(e.run_at, e.at)) from weir.job_event e where e.job_id = wait_seconds.job_id
      and (wait_seconds.started_at is null or coalesce(e.run_at, e.at) <= wait_seconds.started_at)
      and e.kind in ('failed', 'timed_out', 'lost', 'snoozed', 'released', 'retried', 'redriven', 'edited')),
    j.run_at, j.created_at))::float8, 0)
  from weir.job j cross join lateral (select coalesce(wait_seconds.started_at, wait_seconds.finished_at,
    clock_timestamp()) as until) t where j.id = wait_seconds.job_id
$$;
comment on function weir.wait_seconds(bigint, timestamptz, timestamptz) is
  'Internal. How long a job was available before it was started, or until it ended, or until now.';

create or replace function weir.has_failure(errors jsonb, type text, words tsquery) returns boolean
language sql immutable as $$
  select exists (select from jsonb_array_elements(errors) e where (has_failure.type is null
    or e ->> 'type' = has_failure.type) and (has_failure.words is null or weir.error_words(e) @@ has_failure.words))
$$;
comment on function weir.has_failure(jsonb, text, tsquery) is
  'Internal. Whether one of these errors of a job is of this class, or has these words; null: any.';
