-- Workers and their state.

-- A worker is lost when it was not seen for 30 seconds. The view computes that when it is read, so it is never late.
create or replace view weir.workers as
select n.name,
  case when x.last_seen_at < clock_timestamp() - interval '30 s' then 'lost'
    when w.draining_at is not null then 'draining'
    when w.paused_at is not null then 'paused'
    else 'active' end as state,
  w.hostname, w.version, coalesce(w.queues, '{}') as queues, coalesce(w.labels, '{}') as labels, w.capacity,
    coalesce(l.running, 0) as running, s.load,
  coalesce(least(w.registered_at, s.first_seen_at), x.last_seen_at) as registered_at, x.last_seen_at, w.paused_at,
    w.draining_at, w.principal, w.tenant
from (select k.name from weir.worker k union select k.name from weir.worker_seen k) n
left join weir.worker w on w.name = n.name
left join weir.worker_seen s on s.name = n.name
left join (select k.worker, count(*) as running, max(greatest(k.leased_at,
  k.expires_at - make_interval(secs => k.lease_seconds))) as seen_at
           from weir.job_lease k group by k.worker) l on l.worker = n.name
cross join lateral (select greatest(s.last_seen_at, l.seen_at, case when s.name is null
  then w.decided_at end) as last_seen_at) x;
comment on view weir.workers is
  'Workers that registered or claimed: their state and how many jobs they hold. Reads all running jobs once.';
comment on column weir.workers.state is
  'lost: not seen for 30 seconds; otherwise draining, paused or active. A draining worker with running 0 is done.';
comment on column weir.workers.running is 'Jobs that it holds now.';
comment on column weir.workers.registered_at is 'When it registered or was first seen.';
comment on column weir.workers.last_seen_at is
  'Its last claim or heartbeat, of its own or of a job that it holds. Up to 5 seconds old if it claims all the time.';
