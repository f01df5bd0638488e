-- Throughput, latency and failures, from roll-ups and from the minutes since the last one.

create or replace view weir.throughput as
select x.at, x.seconds, q.name as queue, x.kind, sum(x.enqueued)::bigint as enqueued,
  sum(x.completed)::bigint as completed, sum(x.completed_later)::bigint as completed_later,
  sum(x.dead)::bigint as dead, sum(x.cancelled)::bigint as cancelled, sum(x.failed)::bigint as failed,
    sum(x.timed_out)::bigint as timed_out, sum(x.lost)::bigint as lost,
  sum(x.snoozed)::bigint as snoozed, sum(x.released)::bigint as released, sum(x.rerun)::bigint as rerun
from (select * from weir.rollup union all select * from weir.pending_rollup()) x
join weir.queue q on q.id = x.queue_id
group by 1, 2, 3, 4;
comment on view weir.throughput is
  'How many jobs were enqueued and ended in each minute (seconds: 60; 3600 in rows older than three days, which span '
  'an hour), by queue and kind. The last minutes are counted on reading.';
comment on column weir.throughput.queue is 'The name of the queue.';

create or replace view weir.latency as
select x.at, x.seconds, q.name as queue, x.kind, w.attempts, x.wait_seconds / nullif(w.attempts, 0) as wait_mean,
  least(weir.percentile(x.waits, 0.5), x.wait_longest) as wait_p50,
    least(weir.percentile(x.waits, 0.95), x.wait_longest) as wait_p95,
  least(weir.percentile(x.waits, 0.99), x.wait_longest) as wait_p99, x.wait_longest,
  x.completed, x.run_seconds / nullif(x.completed, 0) as run_mean,
  least(weir.percentile(x.runs, 0.5), x.run_longest) as run_p50,
    least(weir.percentile(x.runs, 0.95), x.run_longest) as run_p95,
  least(weir.percentile(x.runs, 0.99), x.run_longest) as run_p99, x.run_longest, x.waits, x.runs
from (select * from weir.rollup union all select * from weir.pending_rollup()) x
join weir.queue q on q.id = x.queue_id
cross join lateral (select coalesce(sum(n), 0)::bigint as attempts from unnest(x.waits) n) w
where x.waits <> '{}' or x.runs <> '{}';
comment on view weir.latency is
  'How long, in seconds: how long jobs were available before an attempt began, and how long the attempts ran that '
  'completed one; by minute (or hour), queue and kind. An attempt belongs to the minute in which it ended. '
  'Percentiles are at most 4.5 % off; to have them over several rows: weir.percentile(weir.merge_histograms(waits), '
  '0.95).';
comment on column weir.latency.queue is 'The name of the queue.';
comment on column weir.latency.attempts is 'Attempts that ended, and whose waits these are.';
comment on column weir.latency.wait_mean is 'Mean wait.';
comment on column weir.latency.wait_p50 is 'Median of the waits.';
comment on column weir.latency.wait_p95 is '95th percentile of the waits.';
comment on column weir.latency.wait_p99 is '99th percentile of the waits.';
comment on column weir.latency.run_mean is 'Mean run of the attempts that completed a job.';
comment on column weir.latency.run_p50 is 'Median of these runs.';
comment on column weir.latency.run_p95 is '95th percentile of these runs.';
comment on column weir.latency.run_p99 is '99th percentile of these runs.';

create or replace view weir.failures as
select x.at, q.name as queue, x.kind, x.event, x.type, x.message, x.attempts, x.last_at, x.last_job_id
from (select * from weir.rollup_failure union all select * from weir.pending_failures()) x
join weir.queue q on q.id = x.queue_id;
comment on view weir.failures is
  'What fails: failed attempts of the last three days by minute, queue, kind and error; of each minute and queue the '
  'fifty most frequent, the others as one row with the message (others).';
comment on column weir.failures.queue is 'The name of the queue.';

-- A column of these views that is a column of a roll-up says what that one says.
do $do$
declare
  c record;
begin
  for c in
    select v.relname as view, a.attname as name, col_description(b.attrelid, b.attnum) as description
    from (values ('throughput', 'weir.rollup'), ('latency', 'weir.rollup'),
      ('failures', 'weir.rollup_failure')) s(view, source)
    join pg_class v on v.relname = s.view and v.relnamespace = 'weir'::regnamespace
    join pg_attribute a on a.attrelid = v.oid and a.attnum > 0 and col_description(v.oid, a.attnum) is null
    join pg_attribute b on b.attrelid = s.source::regclass and b.attname = a.attname
  loop
    execute format('comment on column weir.%I.%I is %L', c.view, c.name, c.description);
  end loop;
end $do$;
