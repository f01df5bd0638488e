-- The life of a job, told from its facts, its events and its current state.

-- Each step is stored: the enqueue, an event, an end, or the lease. The other moments are derived from the steps: when
-- the attempt that ended had started, and when the job became available or due.
create or replace function weir.timeline(job_id bigint)
returns table (at timestamptz, event text, attempt smallint, worker text, cause text, run_at timestamptz, detail jsonb)
language plpgsql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  viewer text := weir.viewer_tenant();
begin
  perform weir.require_job(timeline.job_id, '{producer,reader,operator}');
  if not exists (select from weir.job j where j.id = timeline.job_id) then
    perform weir.refuse_unknown_job(timeline.job_id);
  end if;
  return query
  with events as materialized (
    select e.at, e.kind::text as kind, e.attempt, e.worker, e.started_at, e.run_at, e.state::text as becomes,
      coalesce(e.detail, '{}') as detail,
      max(e.at) filter (where e.kind not in ('routed', 'purged')) over (order by e.at rows between unbounded preceding
        and 1 preceding) as before
    from weir.job_event e where e.job_id = timeline.job_id and e.kind <> 'replayed'
  ), steps as materialized (
    -- place: the position of a step. An end comes after the event that caused it, whichever was written first. The
    -- redrive or purge of a dead letter comes after the end.
    select j.created_at as place, 0 as rank, j.created_at as at, 'enqueued' as kind, 0::smallint as attempt,
      null::text as worker, null::timestamptz as started_at, j.run_at,
      case when j.run_at is not null then 'scheduled' when s.dependencies > 0 or s.compensates is not null
        or not s.plain then 'held' else 'available' end as becomes,
      jsonb_strip_nulls(jsonb_build_object('queue', q.name, 'priority', j.priority, 'parent_id', j.parent_id::text,
        'unique_key', j.unique_key)) as detail
    from weir.job j join weir.queue q on q.id = j.queue_id left join weir.workflow_step s on s.job_id = j.id
      where j.id = timeline.job_id
    union all
    select e.at, 3, e.at, e.kind, e.attempt, e.worker, e.started_at, e.run_at, e.becomes,
      case when e.detail ? 'finished_at' then e.detail - '{started_at,finished_at,worker,error}'::text[]
        else e.detail end
    from events e
    union all
    select (e.detail ->> 'held_at')::timestamptz, 3, (e.detail ->> 'held_at')::timestamptz, 'held', e.attempt, null,
      null, null, null, jsonb_build_object('reason', 'breaker', 'key', e.detail -> 'breaker')
    from events e where e.detail ? 'held_at'
    union all  -- the earlier end of a job that was run again
    select greatest((e.detail ->> 'finished_at')::timestamptz, e.before), 2,
      (e.detail ->> 'finished_at')::timestamptz, e.detail ->> 'state', e.attempt, e.detail ->> 'worker',
      (e.detail ->> 'started_at')::timestamptz, null, null, coalesce(jsonb_build_object('error', e.detail -> 'error'),
        '{}')
    from events e where e.detail ? 'finished_at'
    union all
    select greatest(o.finished_at, (select max(e.at) from events e where e.kind not in ('routed', 'purged'))), 4,
      o.finished_at, o.state::text, o.attempt, o.worker, o.started_at, null, null, jsonb_build_object('error', o.error)
    from weir.job_outcome o where o.job_id = timeline.job_id
    union all
    select l.leased_at, 4, null, null, l.attempt, l.worker, l.leased_at, null, null, null from weir.job_lease l
      where l.job_id = timeline.job_id
    union all
    select h.held_at, 4, h.held_at, 'held', h.attempt, null, null, null, null,
      jsonb_build_object('reason', h.reason, 'key', h.key) from weir.job_held h where h.job_id = timeline.job_id
  ), ordered as materialized (
    select s.*, lag(s.kind) over w as after_kind, lag(s.becomes) over w as after_becomes,
      s.attempt - case when s.kind in ('snoozed', 'released') or s.detail ? 'spared_by' then 1
        when s.detail ? 'reset_attempts' then s.attempt else 0 end as made,
      lead(coalesce(s.started_at, s.place)) over w as next_at from steps s window w as (order by s.place, s.rank)
  ), moments as (
    select o.place, 5 as rank, o.at, o.kind, o.attempt, o.worker,
      case when o.after_becomes = o.kind then o.after_kind end as cause,
      o.run_at, o.detail
    from ordered o where o.kind is not null
    union all
    select x.* from (select distinct on (o.started_at) o.started_at, 4, o.started_at, 'started', o.attempt, o.worker,
      null::text, null::timestamptz, '{}'::jsonb
      from ordered o where o.started_at is not null order by o.started_at) x
    union all  -- it changes nothing for the job
    select e.at, 5, e.at, 'replayed', e.attempt, null, null, null, e.detail
    from weir.job_event e where e.job_id = timeline.job_id and e.kind = 'replayed'
    union all
    select o.place, 6, o.at, 'available', o.made, null, o.kind, null, '{}' from ordered o where o.becomes = 'available'
    union all  -- a step is released in the transaction that ends the last of its dependencies
    select r.at, 6, r.at, 'available', 0, null, 'dependencies', null, '{}'
    from (select greatest(j.created_at, case when s.needs = 'any'
      then (select min(o.finished_at) from weir.job_outcome o where o.job_id = any (s.depends_on)
      and o.state = 'completed')
            else (select case when count(*) = s.dependencies and (s.needs = 'ended'
              or bool_and(o.state = 'completed')) then max(o.finished_at) end from weir.job_outcome o
              where o.job_id = any (s.depends_on)) end) as at, s.needs
          from weir.workflow_step s join weir.job j on j.id = s.job_id
          where s.job_id = timeline.job_id and s.dependencies > 0 and s.plain
            and not exists (select from weir.job_held h where h.job_id = s.job_id and h.reason = 'dependency')
            and not exists (select from weir.job_outcome o where o.job_id = s.job_id and o.started_at is null)) r
              where r.at is not null
    union all
    select o.run_at, 3, o.run_at, 'available', o.made, null, 'due', null, '{}' from ordered o
      where o.run_at <= least(coalesce(o.next_at, 'infinity'), clock_timestamp())
  )
  select m.at, m.kind, m.attempt::smallint, m.worker, m.cause, m.run_at,
    nullif(weir.shown_detail(jsonb_strip_nulls(m.detail), viewer), '{}')
    from moments m order by m.place, m.rank;
end $$;
comment on function weir.timeline(bigint) is
  'Every moment of a job''s life, in order. event: enqueued, available, started, completed, cancelled, dead, held, '
  'or a weir.event_kind. attempt: attempts made by then. cause: why it became available (enqueued, due, '
  'dependencies, or the event), or which end of an attempt made it dead or cancelled. run_at: the time for '
  'which it was then scheduled. A job becomes available up to a fifth of a second after it is due. Errors: WR002.';
