-- Views: queue

create or replace view weir.queue_depth as
select q.name as queue, q.paused_at is not null and (q.resume_at > clock_timestamp()) is not false as paused,
  a.count as available, coalesce(l.count, 0) as running, coalesce(s.scheduled, 0) as scheduled, coalesce(s.retryable, 0) as retryable,
  coalesce(h.count, 0) + case when q.governed then (select count(*) from weir.job_ready r where r.queue_id = q.id) else 0 end as held, coalesce(d.count, 0) as dead, clock_timestamp() - f.created_at as oldest_available, l.oldest as oldest_running, s.next_run_at,
  case when (q.resume_at > clock_timestamp()) is not false then q.pause_reason end as pause_reason,
  case when q.resume_at > clock_timestamp() then q.resume_at end as resume_at
from weir.queue q
cross join lateral (select count(*) from weir.job_ready r where r.queue_id = q.ready_id) a  -- lateral, so that who asks for one queue counts one
left join (select queue_id, count(*), clock_timestamp() - min(leased_at) as oldest from weir.job_lease group by queue_id) l on l.queue_id = q.id
left join (select queue_id, count(*) filter (where not retryable) as scheduled, count(*) filter (where retryable) as retryable, min(run_at) as next_run_at
           from weir.job_scheduled group by queue_id) s on s.queue_id = q.id
left join (select queue_id, count(*) from weir.job_held group by queue_id) h on h.queue_id = q.id
left join (select queue_id, count(*) from weir.job_dead group by queue_id) d on d.queue_id = q.id
left join lateral (
  select min(j.created_at) as created_at from generate_series(1, 10) p
  cross join lateral (select coalesce(r.job_id, r.seq) as job_id from weir.job_ready r where r.queue_id = q.ready_id and r.priority = p order by r.seq limit 1) r
  join weir.job j on j.id = r.job_id
) f on true
where q.deleted_at is null;
comment on view weir.queue_depth is 'How deep and how old: jobs of each queue by where they are. Counts every available job of the queues asked for: about a second for ten million.';
comment on column weir.queue_depth.oldest_available is 'How long ago the oldest of the jobs that are next in each priority was enqueued.';
comment on column weir.queue_depth.oldest_running is 'How long the longest-running attempt has been running.';
comment on column weir.queue_depth.next_run_at is 'When the next scheduled job becomes available.';
comment on column weir.queue_depth.dead is 'Dead letters: dead, and neither run again nor purged.';
comment on column weir.queue_depth.queue is 'The name of the queue.';
comment on column weir.queue_depth.paused is 'Claims take nothing from it.';
comment on column weir.queue_depth.pause_reason is 'Why it is paused, if somebody said so.';
comment on column weir.queue_depth.resume_at is 'When the pause ends by itself, if it does.';
comment on column weir.queue_depth.available is 'Jobs that may be claimed.';
comment on column weir.queue_depth.running is 'Jobs that a worker has.';
comment on column weir.queue_depth.scheduled is 'Jobs that wait for a time.';
comment on column weir.queue_depth.retryable is 'Jobs that failed and wait to be tried again.';
comment on column weir.queue_depth.held is 'Jobs that wait for something else.';
