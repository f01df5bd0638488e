-- Recovery from a step back of the database's clock.
--
-- All times in weir are the database's. When its clock goes back, what was to happen at a time already written lies
-- further ahead than it should: leases that end in hours, schedules and retries that stay silent. Nodes notice a step
-- because the clock falls behind their own monotonic clocks; a node that has just started, because the last watermark
-- or health check lies ahead. They then call these functions.
--
-- A time is repaired only where it proves that the clock went back: a lease longer than its lease_seconds, or
-- something that happened in the future. It then counts from now. So any number of nodes may repair, in any order,
-- and a second repair finds nothing.

-- What `sure` says, or the traces of the last seconds before the step.
create or replace function weir.clock_stepped_back(sure boolean default false) returns boolean
language sql volatile as $$
  select sure or exists (select from weir.watermark w where w.at > clock_timestamp() + interval '5 s')
    or exists (select from weir.health_check h where h.at > clock_timestamp() + interval '5 s')
$$;
comment on function weir.clock_stepped_back(boolean) is
  'Internal. Whether the database''s clock went back: sure, or by the times that were written last.';

-- Locks: rows of job_lease, worker_seen, job_scheduled, schedule and others, each skip locked where a call may hold
-- one for long.
create or replace function weir.recover_clock(sure boolean default false, out leases int, out retries int,
  out schedules int) language plpgsql as $$
declare
  now_at timestamptz := clock_timestamp();
  ahead timestamptz := now_at + interval '5 s';
begin
  leases := 0; retries := 0; schedules := 0;
  if not weir.clock_stepped_back(sure) then
    return;
  end if;

  perform weir.act_as_engine();
  update weir.worker_seen s set first_seen_at = least(s.first_seen_at, now_at),
    last_seen_at = least(s.last_seen_at, now_at), counted_from = least(s.counted_from, now_at)
  where s.last_seen_at > ahead or s.counted_from > now_at;
  -- A whole lease from now: its worker has that long to send a heartbeat.
  update weir.job_lease l set leased_at = least(l.leased_at, now_at),
    expires_at = now_at + least(make_interval(secs => l.lease_seconds), l.expires_at - l.leased_at)
  where l.job_id = any (array(select x.job_id from weir.job_lease x
    where x.expires_at > ahead + make_interval(secs => x.lease_seconds) or x.leased_at > ahead for update skip locked));
  get diagnostics leases = row_count;

  -- Retries and snoozes wait as long as they were to. A run_at that a producer chose is a time of its own, and stays.
  update weir.job_scheduled s set run_at = now_at + (e.run_at - e.at)
  from weir.job_event e where e.at > ahead and e.run_at is not null
    and e.kind in ('failed', 'timed_out', 'lost', 'snoozed') and s.job_id = e.job_id and s.run_at = e.run_at;
  get diagnostics retries = row_count;
  schedules := weir.recover_schedules(now_at);

  update weir.queue q set resume_at = now_at + (q.resume_at - q.paused_at), paused_at = now_at
    where q.paused_at > ahead and q.resume_at is not null;
  update weir.operation o set next_at = now_at where o.finished_at is null
    and o.next_at > ahead + make_interval(secs => coalesce(1 / o.rate_per_second, 0) + 1);
  update weir.workflow w set deadline_at = now_at + (w.deadline_at - w.created_at) where w.created_at > ahead
    and w.finished_at is null and w.deadline_at > now_at;
  update weir.workflow_wait x set until = now_at + (x.until - h.held_at) from weir.job_held h
    where h.job_id = x.job_id and h.held_at > ahead and x.until > now_at;
  update weir.webhook w set cursor_at = least(w.cursor_at, now_at), scanned_at = least(w.scanned_at, now_at)
    where w.cursor_at > ahead or w.scanned_at > ahead;
  update weir.webhook_delivery d set next_at = now_at + (d.next_at - greatest(d.tried_at, d.created_at))
  where d.state = 'pending' and d.next_at > now_at and greatest(d.tried_at, d.created_at) > ahead;

  update weir.breaker b set next_probe_at = now_at + (b.next_probe_at - b.opened_at), opened_at = now_at
    where b.opened_at > ahead;
  update weir.breaker b set changed_at = least(b.changed_at, now_at), release_from = least(b.release_from, now_at)
    where b.changed_at > ahead or b.release_from > ahead;
  update weir.breaker_sample s set at = now_at where s.at > ahead;
  update weir.breaker_probe p set sent_at = now_at where p.sent_at > ahead;

  delete from weir.parked p where p.until > now_at + interval '10 minutes';
  update weir.job_partition p set opened_at = now_at where p.opened_at > ahead;
  -- minutes that come again are counted again
  update weir.rollup_cursor c set until = date_trunc('minute', now_at) where c.until > ahead;
  delete from weir.health_check h where h.at > ahead;
  -- The last, so that until then there are traces. Rows of the last minute may not be visible yet.
  perform weir.take_turn('advance_frontier');
  update weir.watermark w set at = least(w.at, now_at), settled_at = least(w.settled_at, now_at - interval '1 minute'),
    holder_since = array(select least(s, now_at - interval '1 minute') from unnest(w.holder_since) with
      ordinality u(s, n) order by u.n) where w.at > now_at;
end $$;
comment on function weir.recover_clock(boolean) is
  'Internal. Repairs the times that were written before the database''s clock went back. Returns how many leases, '
  'retries and schedules it repaired.';

-- A schedule goes on with its first slot from now. A slot that has fired is not fired again: see weir.fire_due.
create or replace function weir.recover_schedules(now_at timestamptz) returns int language plpgsql as $$
declare
  s weir.schedule;
  slot timestamptz;
  repaired int := 0;
begin
  update weir.schedule x set last_slot_at = least(x.last_slot_at, now_at),
    misfires_checked_at = least(x.misfires_checked_at, now_at) where x.last_slot_at > now_at
    or x.misfires_checked_at > now_at;
  for s in select x.* from weir.schedule x where x.deleted_at is null and x.paused_at is null
    and (x.runs >= x.max_runs) is not true for update skip locked loop
    slot := (weir.next_slot(s, now_at)).slot_at;
    if slot is not null and (s.next_slot_at <= slot) is not true then
      update weir.schedule x set next_slot_at = slot, due_at = weir.slot_due(s, slot), waiting_for = null, tries = 0,
        problem = null where x.id = s.id;
      repaired := repaired + 1;
    -- it waits for a run, or is tried again
    elsif s.next_slot_at <= now_at and s.due_at > now_at + interval '65 s' then
      update weir.schedule x set due_at = now_at where x.id = s.id;
      repaired := repaired + 1;
    end if;
  end loop;
  return repaired;
end $$;
comment on function weir.recover_schedules(timestamptz) is 'Internal. The schedules'' part of weir.recover_clock.';

-- In a transaction of its own, for it takes turns with the admitters. Locks: the turn of each governed queue.
create or replace function weir.recover_admission() returns void language plpgsql as $$
declare
  now_at timestamptz := clock_timestamp();
  ahead timestamptz := now_at + interval '5 s';
  q int;
begin
  for q in select distinct a.queue_id from weir.admission a order by a.queue_id loop
    perform weir.take_turn('admit', q);
    update weir.line l set tokens_at = least(l.tokens_at, now_at), rest_until = least(l.rest_until, now_at)
      where l.queue_id = q and (l.tokens_at > ahead or l.rest_until > ahead);
    update weir.admission a set since = least(a.since, now_at), tokens_at = least(a.tokens_at, now_at),
      demanded_at = least(a.demanded_at, now_at - interval '2 s'),
      rested_until = least(a.rested_until, now_at - interval '2 s'),
        inbox_read_at = least(a.inbox_read_at, now_at - interval '2 s'), rate_until = null
    where a.queue_id = q and greatest(a.since, a.tokens_at, a.demanded_at, a.inbox_read_at, a.rested_until) > ahead;
  end loop;
end $$;
comment on function weir.recover_admission() is 'Internal. The part of weir.recover_clock about queues with limits.';
