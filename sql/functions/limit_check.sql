-- The check of limits: recounts from the rows what the admitter keeps count of, and repairs what differs.

-- One statement, so that it sees one moment. Queues whose limits are just being changed are left out.
create or replace function weir.check_limits(repair boolean default false)
returns table (queue text, line text, problem text, counted bigint, found bigint) language plpgsql set jit = off as $$
begin
  if not exists (select from weir.queue q where q.governed) then
    return;
  end if;
  return query
  with governed as materialized (
    select q.id, q.name, q.admitted_id, q.line_by, a.in_flight from weir.queue q
    cross join lateral (select a.* from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1) a
    where q.governed and a.phase = 'open' and a.version = q.limits_version
  ), unread as materialized (  -- jobs that the counts still include, because no pass has read that they ended
    select n.queue_id, d.name, count(*) as n
    from weir.admission_inbox n cross join unnest(n.departed, n.departed_jobs) d(name, job_id) group by 1, 2
  ), unread_in_all as materialized (
    select u.queue_id, sum(u.n)::bigint as n from unread u group by 1
  ), lines as materialized (
    select l.queue_id, l.name, sum(l.in_flight) as in_flight from weir.line l group by 1, 2
  ), in_flight as materialized (
    select a.queue_id, weir.line_name(g.line_by, j.tenant, j.concurrency_key) as name, count(*) as n
    from (
      select l.queue_id, l.job_id from weir.job_lease l where l.line is not null
      union all select g.id, r.job_id from governed g join weir.job_ready r on r.queue_id = g.admitted_id
      union all select k.queue_id, k.job_id from weir.line_reservation k) a
    join governed g on g.id = a.queue_id join weir.job j on j.id = a.job_id group by 1, 2
  ), in_flight_in_all as materialized (
    select f.queue_id, sum(f.n)::bigint as n from in_flight f group by 1
  ), wrong as materialized (
    select g.id, x.name as line, 'in flight' as problem, x.counted::bigint, x.found::bigint from governed g
      cross join lateral (
      select coalesce(l.name, f.name) as name,
        coalesce(l.in_flight, 0) - coalesce((select u.n from unread u
          where u.queue_id = g.id and u.name = coalesce(l.name, f.name)), 0) as counted,
        coalesce(f.n, 0) as found
      from (select * from lines where queue_id = g.id) l full join (select * from in_flight
        where queue_id = g.id) f on f.name = l.name) x
    where x.counted <> x.found
    union all
    select g.id, null, 'in flight, whole queue', g.in_flight - coalesce(u.n, 0), coalesce(f.n, 0)
    from governed g left join unread_in_all u on u.queue_id = g.id left join in_flight_in_all f on f.queue_id = g.id
    where g.in_flight - coalesce(u.n, 0) <> coalesce(f.n, 0)
    union all
    select g.id, min(k.name), 'reserves its line but does not wait', count(*), 0
    from governed g join weir.line_reservation k on k.queue_id = g.id
    where not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = g.id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = g.id)
    group by g.id
    union all
    select g.id, h.key, 'waits where no pass looks', 0, count(*)
    from governed g join weir.job_held h on h.queue_id = g.id and h.reason = 'line'
    left join lateral (select x.* from weir.line x where x.queue_id = g.id and x.name = h.key order by x.tick desc
      limit 1) l on true
    where coalesce(l.floors[array_position(l.priorities, h.priority)] >= h.seq, true)
      and not exists (
        select from weir.admission_inbox n cross join unnest(n.arrived, n.priorities, n.floors) c(name, priority, floor)
        where n.queue_id = g.id and c.name = h.key and c.priority = h.priority and c.floor < h.seq)
    group by g.id, h.key
  ), orphans as (
    delete from weir.line_reservation k where repair and k.queue_id in (select w.id from wrong w)
      and not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = k.queue_id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = k.queue_id)
  ), renewed as (
    update weir.queue q set limits_version = q.limits_version + 1 where repair and q.id in (select w.id from wrong w)
  ), outdated as (
    update weir.admission a set line_by = null where repair and a.queue_id in (select w.id from wrong w)
  )
  select g.name, w.line, w.problem, w.counted, w.found from wrong w join governed g on g.id = w.id order by 1, 2;
end $$;
comment on function weir.check_limits(boolean) is
  'Recounts the jobs in flight and the lines of queues with limits, and returns what does not agree: no row if all '
  'agrees. It takes into account what no pass of weir.admit has read yet. With repair, the next pass counts the lines '
  'of such a queue from the rows. Nodes call it so every half minute.';
