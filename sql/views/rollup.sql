-- Throughput, latency and failures, from roll-ups and from the minutes since the last one.

create or replace view weir.throughput as
select x.at, x.seconds, q.name as queue, x.kind, sum(x.enqueued)::bigint as enqueued,
  sum(x.completed)::bigint as completed, sum(x.completed_later)::bigint as completed_later,
  sum(x.dead)::bigint as dead, sum(x.cancelled)::bigint as cancelled, sum(x.failed)::bigint as failed,
    sum(x.timed_out)::bigint as timed_out, sum(x.lost)::bigint as lost,
  sum(x.snoozed)::bigint as snoozed, sum(x.released)::bigint as released, sum(x.rerun)::bigint as rerun
from (select * from weir.rollup r where r.tenant = '' union all select * from weir.pending_rollup()) x
join weir.queue q on q.id = x.queue_id
group by 1, 2, 3, 4;
comment on view weir.throughput is
  'How many jobs were enqueued and ended in each minute (seconds: 60; 3600 in rows older than three days, which span '
  'an hour), by queue and kind. The last minutes are counted on reading.';
comment on column weir.throughput.queue is 'The name of the queue.';

create or replace view weir.latency as
select x.at, x.seconds, q.name as queue, x.kind, w.attempts,
  x.wait_seconds / nullif(w.attempts, 0) as wait_mean,
  least(weir.percentile(x.waits, 0.5), x.wait_longest) as wait_p50,
    least(weir.percentile(x.waits, 0.95), x.wait_longest) as wait_p95,
  least(weir.percentile(x.waits, 0.99), x.wait_longest) as wait_p99, x.wait_longest,
  x.completed, x.run_seconds / nullif(x.completed, 0) as run_mean,
  least(weir.percentile(x.runs, 0.5), x.run_longest) as run_p50,
    least(weir.percentile(x.runs, 0.95), x.run_longest) as run_p95,
  least(weir.percentile(x.runs, 0.99), x.run_longest) as run_p99, x.run_longest, x.waits, x.runs
from (select * from weir.rollup r where r.tenant = '' union all select * from weir.pending_rollup()) x
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

create or replace view weir.tenant_throughput as
select x.at, x.seconds, q.name as queue, x.kind, x.tenant, sum(x.enqueued)::bigint as enqueued,
  sum(x.completed)::bigint as completed, sum(x.completed_later)::bigint as completed_later,
  sum(x.dead)::bigint as dead, sum(x.cancelled)::bigint as cancelled, sum(x.failed)::bigint as failed,
  sum(x.timed_out)::bigint as timed_out, sum(x.lost)::bigint as lost, sum(x.snoozed)::bigint as snoozed,
  sum(x.released)::bigint as released, sum(x.rerun)::bigint as rerun, sum(x.wait_seconds) as wait_seconds,
  weir.merge_histograms(x.waits) as waits, sum(x.run_seconds) as run_seconds, weir.merge_histograms(x.runs) as runs
from (select * from weir.rollup r where r.tenant <> '' union all select * from weir.pending_rollup(null, true)) x
join weir.queue q on q.id = x.queue_id
group by 1, 2, 3, 4, 5;
comment on view weir.tenant_throughput is
  'The same by tenant, of the jobs that have one, with the histograms of how long jobs waited and ran.';
comment on column weir.tenant_throughput.queue is 'The name of the queue.';

create or replace view weir.failures as
select x.at, q.name as queue, x.kind, nullif(x.tenant, '') as tenant, x.event, x.type, x.message, x.attempts,
  x.last_at, x.last_job_id
from (select * from weir.rollup_failure union all select * from weir.pending_failures()) x
join weir.queue q on q.id = x.queue_id;
comment on view weir.failures is
  'What fails: failed attempts of the last three days by minute, queue, kind, tenant and error; of each minute, queue '
  'and tenant the fifty most frequent, the others as one row with the message (others).';
comment on column weir.failures.queue is 'The name of the queue.';

create or replace view weir.failure_classes as
select x.at, x.seconds, q.name as queue, x.kind, nullif(x.tenant, '') as tenant, x.event, x.type, x.attempts,
  x.first_at, x.last_at, x.last_job_id
from (
  select h.at, 3600 as seconds, h.queue_id, h.kind, h.tenant, h.event, h.type, h.attempts, h.first_at, h.last_at,
    h.last_job_id from weir.rollup_failure_hour h
  union all
  select f.at, 60, f.queue_id, f.kind, f.tenant, f.event,
    case when f.message = '(others)' and f.type = '' then '(others)' else f.type end, sum(f.attempts)::bigint,
    min(f.at), max(f.last_at), (max(array[(date_part('epoch', f.last_at) * 1000000)::bigint, f.last_job_id]))[2]
  from (select * from weir.rollup_failure union all select * from weir.pending_failures()) f
  group by 1, 3, 4, 5, 6, 7
) x join weir.queue q on q.id = x.queue_id;
comment on view weir.failure_classes is
  'What fails, by class of error and for as long as roll-ups are kept: failed attempts by minute (by hour where they '
  'are older than three days), queue, kind, tenant and class. weir.failures has the messages of the last three days.';
comment on column weir.failure_classes.seconds is 'The length of the row: 60 or 3600.';
comment on column weir.failure_classes.queue is 'The name of the queue.';

create or replace view weir.worker_throughput as
select x.* from (
  select w.* from weir.rollup_worker w where w.seconds = 60
    or w.at < (select coalesce(date_bin('1 hour', min(m.at), 'epoch'), 'infinity') from weir.rollup_worker m
      where m.seconds = 60)
  union all select p.* from weir.rollup_cursor c cross join lateral weir.count_work(c.until, 'infinity') p
) x;
comment on view weir.worker_throughput is
  'What workers did: the attempts that ended in each minute (seconds: 60; 3600 in rows older than three days), by '
  'worker. The last minutes are counted on reading.';

select weir.describe_columns(v, 'weir.rollup')
from unnest('{weir.throughput,weir.tenant_throughput,weir.latency}'::text[]) v;
select weir.describe_columns('weir.failures', 'weir.rollup_failure');
select weir.describe_columns('weir.failure_classes', 'weir.rollup_failure_hour');
select weir.describe_columns('weir.worker_throughput', 'weir.rollup_worker');
