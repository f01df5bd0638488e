-- Lines: where the jobs of a queue with limits wait for their turn.
--
-- A queue with limits is governed: its jobs wait in lines, and the admitter (admission.sql) moves them to where claims
-- find them. A line is the waiting jobs (job_held, reason line) of one concurrency key, one tenant, or one key of one
-- tenant, depending on what the limits tell apart (weir.queue.line_by). The first character of its name says which: '0'
-- all jobs of the queue, '1' and the key, '2' and the tenant, '3', the tenant, the character 31 and the key.
--
-- An enqueued job goes straight into its line, with a row in admission_inbox. A job that becomes available in any other
-- way (a delay that is over, a retry, a release) goes into job_ready under the queue's id, as in a queue without
-- limits. Only the admitter reads it there: claims take the jobs of a governed queue from job_ready under its
-- admitted_id.

create or replace function weir.line_name(line_by int, tenant text, key text) returns text language sql immutable as $$
  select case line_by when 0 then '0' when 1 then '1' || coalesce(key, '') when 2 then '2' || coalesce(tenant, '')
    else '3' || coalesce(tenant, '') || e'\x1f' || coalesce(key, '') end
$$;
comment on function weir.line_name(int, text, text) is
  'Internal. The line of a job with this tenant and key, in a queue whose limits tell line_by apart.';

create or replace function weir.line_tenant(name text) returns text language sql immutable
  return case left(name, 1) when '2' then substr(name, 2) when '3' then split_part(substr(name, 2), e'\x1f', 1)
    else '' end;
comment on function weir.line_tenant(text) is 'Internal. The tenant in a line''s name; empty: none.';

create or replace function weir.line_key(name text) returns text language sql immutable
  return case left(name, 1) when '1' then substr(name, 2) when '3' then split_part(name, e'\x1f', 2) else '' end;
comment on function weir.line_key(text) is 'Internal. The concurrency key in a line''s name; empty: none.';

-- A job is in flight while it stands in job_ready under admitted_id, has a lease with a line, or has a reservation.
-- Whatever deletes one of these rows tells the admitter in the same transaction, from what the deletion returned, so
-- each job is counted once. Locks: no existing row.
create or replace function weir.on_line_jobs_ended(exits weir.line_exit[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  queue_ids int[];
begin
  with told as (
    insert into weir.admission_inbox (queue_id, departed, departed_jobs)
    select x.queue_id, array_agg(x.name), array_agg(x.job_id) from unnest(exits) x group by x.queue_id
    returning admission_inbox.queue_id
  )
  select array_agg(t.queue_id) into queue_ids from told t;
  -- Wake waiting workers where a line has jobs, so that their node makes a pass. Where a rate holds all jobs, nodes
  -- know until when.
  perform weir.wake(array(select q.name from weir.queue q where q.id = any (queue_ids) and (
    select a.lines_waiting > 0 and (a.rate_until > clock_timestamp()) is not true
    from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1)));
end $$;
comment on function weir.on_line_jobs_ended(weir.line_exit[]) is
  'Internal. Tells the admitter which jobs are no longer in flight.';

create or replace function weir.on_admitted_jobs_removed(job_ids bigint[], queue_id int default null) returns void
  language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform weir.on_line_jobs_ended(array(
    select (q.id, j.id, weir.line_name(coalesce(q.line_by, 0), j.tenant, j.concurrency_key), false)::weir.line_exit
    from weir.job j join weir.queue q on q.id = coalesce(on_admitted_jobs_removed.queue_id, j.queue_id)
      where j.id = any (job_ids)));
end $$;
comment on function weir.on_admitted_jobs_removed(bigint[], int) is
  'Internal. Tells the admitter about admitted jobs that left job_ready without a claim. queue_id: the queue where '
  'they stood, if they have moved to another one.';

-- While the only job that a line may have in flight waits for a retry, it keeps the line: nothing else of the line runs
-- until it has ended.
create or replace function weir.reserve_lines(exits weir.line_exit[]) returns weir.line_exit[] language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if true = any (array(select x.waits from unnest(exits) x)) then
    with judged as materialized (
      select x.queue_id, x.job_id, x.name, x.waits, (x.waits and weir.line_key(x.name) <> '' and coalesce(
        (select o.concurrency from weir.limit_override o
         where o.queue_id = x.queue_id and o.what = 'key' and o.name = weir.line_key(x.name)),
        (select (q.limits ->> 'per_key')::int from weir.queue q where q.id = x.queue_id)) = 1) is true as reserves
      from unnest(exits) x
    ), reserved as (
      insert into weir.line_reservation (job_id, queue_id, name) select j.job_id, j.queue_id, j.name from judged j
        where j.reserves
    )
    select array_agg((j.queue_id, j.job_id, j.name, j.waits)::weir.line_exit) into exits from judged j
      where not j.reserves;
  end if;
  return exits;
end $$;
comment on function weir.reserve_lines(weir.line_exit[]) is
  'Internal. Reserves their line for jobs that go back to waiting, if its limit is one job, and returns the other '
  'jobs.';

-- Locks: their rows in line_reservation, which it deletes.
create or replace function weir.release_reserved_lines(job_ids bigint[]) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  exits weir.line_exit[];
begin
  with gone as (
    delete from weir.line_reservation k where k.job_id = any (release_reserved_lines.job_ids)
      and not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = k.queue_id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = k.queue_id)
    returning k.*
  )
  select array_agg((g.queue_id, g.job_id, g.name, false)::weir.line_exit) into exits from gone g;
  if exits is not null then
    perform weir.on_line_jobs_ended(exits);
  end if;
end $$;
comment on function weir.release_reserved_lines(bigint[]) is
  'Internal. Frees the lines reserved for these jobs, as far as the jobs wait no longer.';

-- For pages of weir.lines: to sort the names, the view would read every line of the queue.
create or replace function weir.line_names(queue text, after text, most int) returns setof text language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off
  set enable_hashagg = off as $$
declare
  id constant int := (select q.id from weir.queue q where q.name = line_names.queue);
begin
  return query
  select x.name from (
    (select distinct l.name from weir.line l where l.queue_id = id and l.name > after order by l.name limit most)
    union
    (select distinct u.name from weir.admission_inbox n cross join unnest(n.arrived) u(name)
     where n.queue_id = id and u.name collate "C" > after)) x
  order by x.name limit most;
end $$;
comment on function weir.line_names(text, text, int) is 'Internal. The next lines of a queue by name, up to `most`.';

create or replace function weir.why_line(job_id bigint, out message text, out detail jsonb) language plpgsql stable
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  h weir.job_held;
  q weir.queue;
  a weir.admission;
  l weir.line;
  o weir.limit_override;
  key text;
  tenant text;
  ahead int;
  allowed int;
  rate float8;
  in_flight int;
begin
  select * into h from weir.job_held x where x.job_id = why_line.job_id and x.reason = 'line';
  if not found then
    message := 'it has not entered its line yet';
    detail := '{}';
    return;
  end if;
  select * into q from weir.queue x where x.id = h.queue_id;
  select * into a from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1;
  select * into l from weir.line x where x.queue_id = q.id and x.name = h.key order by x.tick desc limit 1;
  key := nullif(weir.line_key(h.key), '');
  tenant := nullif(weir.line_tenant(h.key), '');
  select * into o from weir.limit_override x where x.queue_id = q.id and x.what = 'key' and x.name = key;
  ahead := (select count(*) from (select from weir.job_held x
    where x.queue_id = q.id and x.key = h.key and x.reason = 'line'
    and (x.priority > h.priority or x.priority = h.priority and x.seq < h.seq) limit 100000) y);
  allowed := case when key is not null then coalesce(o.concurrency, (q.limits ->> 'per_key')::int) end;
  rate := case when key is not null then coalesce(o.per_second, (q.limits #>> '{key_rate,per_second}')::float8) end;
  in_flight := greatest(coalesce(l.in_flight, 0) - (
    select count(*) from weir.admission_inbox n cross join unnest(n.departed) d where n.queue_id = q.id and d = h.key),
      0);
  detail := jsonb_strip_nulls(jsonb_build_object('key', key, 'tenant', tenant, 'held_at', h.held_at, 'ahead', ahead,
    'or_more', case when ahead >= 100000 then true end));
  if in_flight >= allowed then
    message := format('key %s has %s of %s jobs in flight', to_json(key), in_flight, allowed);
    detail := detail || jsonb_build_object('limit', 'per_key', 'allowed', allowed, 'in_flight', in_flight);
  elsif l.rest_until > clock_timestamp() and l.turn is null then
    message := format('the rate of key %s is %s jobs a second', to_json(key), rate);
    detail := detail || jsonb_build_object('limit', 'key_rate', 'per_second', rate, 'next_at', l.rest_until);
  elsif a.in_flight >= (q.limits ->> 'concurrency')::int then
    message := format('queue %s has %s of %s jobs in flight', q.name, a.in_flight, q.limits ->> 'concurrency');
    detail := detail || jsonb_build_object('limit', 'concurrency', 'allowed', q.limits -> 'concurrency', 'in_flight',
      a.in_flight);
  elsif weir.queue_tokens(q, a.tokens, a.tokens_at, clock_timestamp()) < 1 then
    message := format('the rate of queue %s is %s jobs a second', q.name, q.limits #>> '{rate,per_second}');
    detail := detail || jsonb_build_object('limit', 'rate', 'per_second', q.limits #> '{rate,per_second}');
  else
    select s.in_flight, v.concurrency into in_flight, allowed
    from (select * from weir.tenant_share t where t.queue_id = q.id and t.tenant = weir.line_tenant(h.key)
      order by t.tick desc limit 1) s
    join weir.limit_override v on v.queue_id = q.id and v.what = 'tenant' and v.name = s.tenant;
    if in_flight >= allowed then
      message := format('tenant %s has %s of %s jobs in flight', to_json(tenant), in_flight, allowed);
      detail := detail || jsonb_build_object('limit', 'tenant', 'allowed', allowed, 'in_flight', in_flight);
    else
      message := 'its line has not had its turn, or no worker claims';
      detail := detail || jsonb_build_object('limit', 'turn');
    end if;
  end if;
  message := message || case when ahead = 0 then ', and it is the first of its line'
    else format(', and %s of its line come before it',
      case ahead when 1 then '1 job' else ahead || case when ahead >= 100000 then ' or more' else '' end
        || ' jobs' end) end;
end $$;
comment on function weir.why_line(bigint) is
  'Internal, for weir.why: which limit holds a job in its line, and its place there.';
