-- Views of circuit breakers and of their history. tenant: as weir.breaker_tenant has it, which readers may not call.

create or replace view weir.breakers as
select b.name as breaker, b.state, b.changed_at as since, b.state = 'closed' and b.gated as recovering,
  b.next_probe_at, b.openings, b.opened_at, b.pinned, b.pinned_until,
  w.ok as window_ok, w.failed as window_failed,
  (select count(*) from (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name
    limit 10000) h) as held,
  (select count(*) from weir.breaker_probe p where p.breaker_id = b.id and p.version = b.version) as probes,
  coalesce(weir.current_policy(b) ->> 'policy', 'hold') as policy,
  array(select q.name from weir.queue q where q.breaker_id = b.id and q.deleted_at is null order by q.name) as queues,
  b.failure_threshold, b.failure_ratio, b.min_calls, b.window_seconds, b.open_seconds, b.max_open_seconds,
    b.half_open_probes, b.close_after, b.counts, b.while_open, b.ramp_per_second, b.ramp_factor,
  b.created_at, b.times_opened, b.changes, substring(b.name from '^(.*)/') as tenant
from weir.breaker b
cross join lateral (
  select coalesce(sum(s.ok), 0) as ok, coalesce(sum(s.failed), 0) as failed from weir.breaker_sample s
  where s.breaker_id = b.id and s.at > statement_timestamp() - make_interval(secs => b.window_seconds)) w
where b.deleted_at is null;
comment on view weir.breakers is
  'One row for each circuit breaker: its state, the calls in its window, the jobs that it holds, and its settings.';
comment on column weir.breakers.breaker is
  'Its reference: its name, or of a tenant''s breaker `tenant/name`, as weir.job.breaker has it.';
comment on column weir.breakers.tenant is 'The tenant that it belongs to; null: none.';
comment on column weir.breakers.since is 'When it entered its state.';
comment on column weir.breakers.recovering is 'It has closed, and held jobs are still coming back.';
comment on column weir.breakers.window_ok is 'Successful calls in its window.';
comment on column weir.breakers.window_failed is 'Failed calls in its window.';
comment on column weir.breakers.held is
  'Jobs that it holds (weir.job_held), counted up to 10,000; without those of a queue that it holds as a whole.';
comment on column weir.breakers.probes is 'Probes under way.';
comment on column weir.breakers.policy is 'The policy for its jobs at this moment, if it is not closed.';
comment on column weir.breakers.queues is 'The queues that have it as their breaker.';

create or replace view weir.breaker_events as
select e.id, e.at, e.breaker, e.event, e.from_state, e.state, e.by, e.reason, e.detail,
  substring(e.breaker from '^(.*)/') as tenant
from weir.breaker_event e;
comment on view weir.breaker_events is 'The history of circuit breakers: each change, its author and its reason.';
comment on column weir.breaker_events.tenant is 'The tenant that the breaker belongs to; null: none.';

do $do$
declare
  c record;
begin
  for c in
    select v.relname as view, a.attname as name, col_description(t.oid, b.attnum) as description
    from pg_class v join pg_attribute a on a.attrelid = v.oid and a.attnum > 0
    join pg_class t on t.oid = case v.relname when 'breakers' then 'weir.breaker'::regclass
      else 'weir.breaker_event'::regclass end
    join pg_attribute b on b.attrelid = t.oid and b.attname = a.attname
    where v.oid in ('weir.breakers'::regclass, 'weir.breaker_events'::regclass)
      and col_description(v.oid, a.attnum) is null
  loop
    execute format('comment on column weir.%I.%I is %L', c.view, c.name, c.description);
  end loop;
end $do$;
