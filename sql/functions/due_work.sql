-- Due work: what the loops of a node have to do, found by one statement five times a second instead of one for each
-- loop. An idle node then costs the database next to nothing. While the snapshot is the same as at the last query, no
-- transaction that wrote anything has ended, in any database, so there is nothing new to find.

-- STABLE, so that everything is read at one moment. Each scan has an upper bound, and a lower one where many entries
-- die: what lies before it was handled (promote_due and the others say how far), and what lies after it is not due
-- yet.
create or replace function weir.due_work(promote_after timestamptz, expire_after timestamptz, fire_after timestamptz,
  ahead interval, out drawn bigint, out due_in float8[], out looked_until timestamptz[]) language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_sort = off as $$
declare
  now_at timestamptz := clock_timestamp();
  until_at timestamptz := now_at + ahead;
  settled_at timestamptz;
  promote_at timestamptz;
  expire_at timestamptz;
  fire_at timestamptz;
  tend_at timestamptz;
  tick_at timestamptz;
  admit_at timestamptz;
  resume_at timestamptz;
  workflows boolean;
  breakers boolean;
begin
  -- What a statement costs here is the tables that it names, whether it reads them or not. So there is one, and
  -- others for what few use or what can wait.
  select w.settled_at, coalesce(pg_sequence_last_value('weir.job_id_seq'), 0) - w.seq,
    (select s.run_at from weir.job_scheduled s where s.run_at > promote_after and s.run_at <= until_at
      order by s.run_at limit 1),
    (select s.due_at from weir.schedule s where s.due_at > fire_after and s.due_at <= until_at order by s.due_at
      limit 1),
    (select q.resume_at from weir.queue q where q.resume_at <= until_at order by q.resume_at limit 1),
    case when exists (select from weir.queue q where q.governed) then now_at end,
    exists (select from weir.workflow), exists (select from weir.breaker)
    into settled_at, drawn, promote_at, fire_at, resume_at, admit_at, workflows, breakers from weir.watermark w
      order by w.tick desc limit 1;
  if expire_after is not null then
    expire_at := (select l.expires_at from weir.job_lease l where l.expires_at > expire_after
      and l.expires_at <= until_at order by l.expires_at limit 1);
  end if;
  if workflows then
    tend_at := least((select x.until from weir.workflow_wait x where x.until <= until_at order by x.until limit 1),
      (select x.deadline_at from weir.workflow x where x.deadline_at <= until_at and x.finished_at is null
        order by x.deadline_at limit 1),
      case when exists (select from weir.workflow x where x.state in ('stopping', 'compensating')
        and x.stopped_at > now_at - interval '1 minute') then now_at end);
  end if;
  if breakers then
    tick_at := case when exists (select from weir.breaker b where b.gated)
      or exists (select from weir.breaker b where b.pinned_until <= until_at)
      or exists (select from weir.breaker_sample s where s.failed > 0 and s.at > now_at - interval '3 s')
      or exists (select from weir.job_held h where h.reason = 'breaker') then now_at end;
  end if;
  due_in := array[coalesce(extract(epoch from promote_at - now_at), 'infinity'),
    coalesce(extract(epoch from expire_at - now_at), 'infinity'),
    coalesce(extract(epoch from fire_at - now_at), 'infinity'),
    coalesce(extract(epoch from tend_at - now_at), 'infinity'),
      coalesce(extract(epoch from tick_at - now_at), 'infinity'),
      coalesce(extract(epoch from admit_at - now_at), 'infinity'),
    coalesce(extract(epoch from resume_at - now_at), 'infinity')];
  looked_until := array[least(settled_at, promote_at - interval '1 us'),
    least(settled_at, expire_at - interval '1 us'), least(settled_at, fire_at - interval '1 us')];
end $$;
comment on function weir.due_work(timestamptz, timestamptz, timestamptz, interval) is
  'Internal, for a node. In how many seconds there is something to promote, expire, fire, tend (workflows), tick '
  '(breakers), admit and resume, within `ahead` (infinity: nothing; without expire_after, leases are left out); how '
  'many ids were drawn since the watermark; and the promote_after, expire_after and fire_after for the next query.';
