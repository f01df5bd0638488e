-- Health: whether the parts of the service work. Each component is checked every ten seconds, and its last hundred
-- checks are kept, so that every node can show what any node saw. What the database shows is checked by one session for
-- all nodes; each node checks its own parts.

create or replace function weir.record_health(component text, node text, ok boolean, seconds float8 default null,
  message text default null) returns void language plpgsql set plan_cache_mode = force_generic_plan as $$
#variable_conflict use_variable
begin
  insert into weir.health_check (component, node, ok, seconds, message)
    values (component, node, ok, seconds, case when not ok then left(message, 500) end) on conflict do nothing;
  delete from weir.health_check h where h.component = record_health.component and h.node = record_health.node
    and h.at <= (select x.at from weir.health_check x where x.component = record_health.component
      and x.node = record_health.node order by x.at desc offset 100 limit 1);
end $$;
comment on function weir.record_health(text, text, boolean, float8, text) is
  'Internal. Records a check of a component, and deletes all but its last hundred.';

-- Locks: the turn check_health, with a try.
create or replace function weir.check_health(every interval default '9 s') returns boolean language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  now_at timestamptz := clock_timestamp();
  late record;
  leader boolean;
  b record;
begin
  if exists (select from weir.health_check h where h.component = 'frontier' and h.node = '' and h.at > now_at - every)
     or not weir.try_turn('check_health')
     or exists (select from weir.health_check h where h.component = 'frontier' and h.node = ''
       and h.at > now_at - every) then
    return false;
  end if;
  select round(extract(epoch from now_at - w.at)) as age into late from weir.watermark w order by w.tick desc limit 1;
  perform weir.record_health('frontier', '', late.age < 15, null,
    format('the last tick was %s seconds ago: claims slow down, and jobs that were committed late stay unseen',
    late.age));
  select count(*) as n into late from (select from weir.job_scheduled s
    where s.run_at < now_at - interval '10 s' and s.run_at > now_at - interval '1 day' limit 1000) x;
  perform weir.record_health('promotion', '', late.n = 0, null,
    format('%s%s have been due for more than 10 seconds', late.n, case when late.n >= 1000 then ' jobs or more'
    else ' jobs' end));
  select count(*) as n into late from (select from weir.job_lease l
    where l.expires_at < now_at - interval '10 s' and l.expires_at > now_at - interval '1 day' limit 1000) x;
  perform weir.record_health('leases', '', late.n = 0, null,
    format('%s%s expired more than 10 seconds ago, and their jobs were not taken back', late.n, case
    when late.n >= 1000 then ' leases or more' else ' leases' end));
  perform weir.record_health('partitions', '', (select max(p.number) from weir.job_partition p)
    > (select s.last_value >> 32 from weir.job_id_seq s), null,
    'no partition exists for the next job ids: enqueues will fail');
  select h.what, h.name, h.since into late from weir.horizon h where h.since > interval '5 minutes'
    order by h.since desc limit 1;
  perform weir.record_health('horizon', '', late.what is null, null,
    format('%s %s has held back the xmin horizon for %s: dead rows cannot be vacuumed', late.what, late.name,
    date_trunc('second', late.since)));
  if to_regclass('weir_river.river_leader') is not null then
    execute 'select exists (select from weir_river.river_leader l where l.expires_at > now())' into leader;
    perform weir.record_health('chores', '', leader, null,
      'no node runs the chores: statistics are not rolled up, and retention waits');
  end if;
  for b in select x.name, x.state, x.pinned from weir.breaker x where x.deleted_at is null
    order by x.state = 'closed', x.name limit 100 loop
    perform weir.record_health('breaker:' || b.name, '', b.state = 'closed', null, 'it is '
      || replace(b.state, '_', '-') || case when b.pinned is not null then ', and pinned' else '' end);
  end loop;
  -- Nodes that have ended and breakers that were deleted.
  delete from weir.health_check h where h.at < now_at - interval '1 day';
  delete from weir.health_check h where (h.component, h.node) in (
    select x.component, x.node from weir.health_check x group by x.component, x.node
      having max(x.at) < now_at - interval '5 minutes');
  return true;
end $$;
comment on function weir.check_health(interval) is
  'Checks the components that the database shows, and records the results in weir.health, at most once per `every`. '
  'Every node calls it every ten seconds. Returns whether it checked.';
