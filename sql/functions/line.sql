-- Limits: how much of a queue, of one key or of one tenant may be in flight, how fast, and who gets which share.
--
-- A queue with limits is governed. Its jobs wait in lines (job_held, reason line), one line a key or a tenant or both, and the admitter
-- (0035_admit.sql) moves them to where claims look. Which line a job waits in depends on what the limits tell apart (weir.queue.line_by), so a line's name
-- begins with that: '0' (nothing: one line), '1' and the key, '2' and the tenant, '3', the tenant, the character 31 and the key.
--
-- What is enqueued goes straight into its line, with a note of it in line_news. Whatever becomes available in any other way (a delay that is over, a retry,
-- a release) is put into job_ready under the queue's id, as in a queue without limits; there the admitter finds it, and nobody else looks. Claims
-- read job_ready under the queue's admitted_id.
--
-- Looking at limits and lines: what holds, what waits, and whether the counts agree with the rows.
--

create or replace function weir.line_name(line_by int, tenant text, key text) returns text language sql immutable as $$
  select case line_by when 0 then '0' when 1 then '1' || coalesce(key, '') when 2 then '2' || coalesce(tenant, '') else '3' || coalesce(tenant, '') || e'\x1f' || coalesce(key, '') end
$$;

create or replace function weir.line_tenant(name text) returns text language sql immutable as $$
  select case left(name, 1) when '2' then substr(name, 2) when '3' then split_part(substr(name, 2), e'\x1f', 1) else '' end
$$;

create or replace function weir.line_key(name text) returns text language sql immutable as $$
  select case left(name, 1) when '1' then substr(name, 2) when '3' then split_part(name, e'\x1f', 2) else '' end
$$;
comment on function weir.line_name(int, text, text) is 'Internal. The line of a job, from what the limits tell apart and the job''s tenant and key.';
comment on function weir.line_tenant(text) is 'Internal. The tenant in a line''s name; empty: none.';
comment on function weir.line_key(text) is 'Internal. The concurrency key in a line''s name; empty: none.';

-- A job is in flight while it is in job_ready under the queue's admitted_id, in a lease with a line, or in line_reservation. Who takes it out of the first two leaves word of
-- it in the same transaction, with what the deletion returned: so nothing is counted twice.
-- exits: jobs that are no longer in flight. Locks: nothing that is there already.
create or replace function weir.on_line_jobs_ended(exits weir.line_exit[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  queue_ids int[];
begin
  with told as (
    insert into weir.line_news (queue_id, went, went_jobs)
    select l.queue_id, array_agg(l.name), array_agg(l.job_id) from unnest(exits) l group by l.queue_id
    returning line_news.queue_id
  )
  select array_agg(t.queue_id) into queue_ids from told t;
  -- Those who wait for jobs of a queue are woken where something waits in its lines, so that they have it looked at. Where its rate keeps all of it, they know until when.
  perform weir.wake(array(select q.name from weir.queue q where q.id = any (queue_ids)
    and (select a.lines_waiting > 0 and (a.rate_until > clock_timestamp()) is not true from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1)));
end $$;

-- Those that go back to waiting and whose line has a limit of one keep it; the others are returned.
create or replace function weir.reserve_lines(exits weir.line_exit[]) returns weir.line_exit[] language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if true = any (array(select l.waits from unnest(exits) l)) then
    with all_of as materialized (
      select l.queue_id, l.job_id, l.name, l.waits, (l.waits and weir.line_key(l.name) <> '' and coalesce(
        (select o.concurrency from weir.limit_override o where o.queue_id = l.queue_id and o.what = 'key' and o.name = weir.line_key(l.name)),
        (select (q.limits ->> 'per_key')::int from weir.queue q where q.id = l.queue_id)) = 1) is true as keeps
      from unnest(exits) l
    ), kept as (
      insert into weir.line_reservation (job_id, queue_id, name) select a.job_id, a.queue_id, a.name from all_of a where a.keeps
    )
    select array_agg((a.queue_id, a.job_id, a.name, a.waits)::weir.line_exit) into exits from all_of a where not a.keeps;
  end if;
  return exits;
end $$;

-- Of jobs that were taken out of the place where claims look, and not by a claim. Of one that has another queue by now, queue_id is the old one.
create or replace function weir.on_admitted_jobs_removed(job_ids bigint[], queue_id int default null) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform weir.on_line_jobs_ended(array(
    select (q.id, j.id, weir.line_name(coalesce(q.line_by, 0), j.tenant, j.concurrency_key), false)::weir.line_exit
    from weir.job j join weir.queue q on q.id = coalesce(on_admitted_jobs_removed.queue_id, j.queue_id) where j.id = any (job_ids)));
end $$;

-- Of jobs that may have kept their line and were taken out of where they waited for good. Locks: their rows in line_reservation, which are gone then.
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
comment on function weir.on_line_jobs_ended(weir.line_exit[]) is 'Internal. Leaves word for the admitter of jobs that are no longer in flight.';
comment on function weir.reserve_lines(weir.line_exit[]) is 'Internal. Lets those jobs keep their line that wait and may keep it, and returns the others.';
comment on function weir.on_admitted_jobs_removed(bigint[], int) is 'Internal. Leaves word of jobs that were admitted and taken out again before anybody claimed them.';
comment on function weir.release_reserved_lines(bigint[]) is 'Internal. Takes the line from jobs that kept it and wait no longer.';

-- A page of the names, for who reads the view page by page: to sort them it would look at every line of the queue.
create or replace function weir.line_names(queue text, after text, most int) returns setof text language plpgsql stable
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_hashagg = off as $$
declare
  place int := (select q.id from weir.queue q where q.name = line_names.queue);
begin
  return query
  select x.name from (
    (select distinct l.name from weir.line l where l.queue_id = place and l.name > after order by l.name limit most)
    union
    (select distinct u.name from weir.line_news n cross join unnest(n.came) u(name) where n.queue_id = place and u.name collate "C" > after)) x
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
  flying int;
begin
  select * into h from weir.job_held x where x.job_id = why_line.job_id and x.reason = 'line';
  if not found then
    message := 'it is about to be put into its line';
    detail := '{}';
    return;
  end if;
  select * into q from weir.queue x where x.id = h.queue_id;
  select * into a from weir.admission x where x.queue_id = q.id order by x.tick desc limit 1;
  select * into l from weir.line x where x.queue_id = q.id and x.name = h.key order by x.tick desc limit 1;
  key := nullif(weir.line_key(h.key), '');
  tenant := nullif(weir.line_tenant(h.key), '');
  select * into o from weir.limit_override x where x.queue_id = q.id and x.what = 'key' and x.name = key;
  ahead := (select count(*) from (select from weir.job_held x where x.queue_id = q.id and x.key = h.key and x.reason = 'line'
    and (x.priority > h.priority or x.priority = h.priority and x.seq < h.seq) limit 100000) y);
  allowed := case when key is not null then coalesce(o.concurrency, (q.limits ->> 'per_key')::int) end;
  rate := case when key is not null then coalesce(o.per_second, (q.limits #>> '{key_rate,per_second}')::float8) end;
  flying := greatest(coalesce(l.in_flight, 0) - (select count(*) from weir.line_news n cross join unnest(n.went) w where n.queue_id = q.id and w = h.key), 0);
  detail := jsonb_strip_nulls(jsonb_build_object('key', key, 'tenant', tenant, 'held_at', h.held_at, 'ahead', ahead, 'or_more', case when ahead >= 100000 then true end));
  if flying >= allowed then
    message := format('%s of the %s jobs of key %s that may be in flight are', flying, allowed, to_json(key));
    detail := detail || jsonb_build_object('limit', 'per_key', 'allowed', allowed, 'in_flight', flying);
  elsif l.rest_until > clock_timestamp() and l.turn is null then
    message := format('key %s may have %s jobs a second', to_json(key), rate);
    detail := detail || jsonb_build_object('limit', 'key_rate', 'per_second', rate, 'next_at', l.rest_until);
  elsif a.in_flight >= (q.limits ->> 'concurrency')::int then
    message := format('%s of the %s jobs of queue %s that may be in flight are', a.in_flight, q.limits ->> 'concurrency', q.name);
    detail := detail || jsonb_build_object('limit', 'concurrency', 'allowed', q.limits -> 'concurrency', 'in_flight', a.in_flight);
  elsif weir.queue_tokens(q, a.tokens, a.tokens_at, clock_timestamp()) < 1 then
    message := format('queue %s may have %s jobs a second', q.name, q.limits #>> '{rate,per_second}');
    detail := detail || jsonb_build_object('limit', 'rate', 'per_second', q.limits #> '{rate,per_second}');
  else
    select s.in_flight, v.concurrency into flying, allowed
    from (select * from weir.tenant_share t where t.queue_id = q.id and t.tenant = weir.line_tenant(h.key) order by t.tick desc limit 1) s
    join weir.limit_override v on v.queue_id = q.id and v.what = 'tenant' and v.name = s.tenant;
    if flying >= allowed then
      message := format('%s of the %s jobs of tenant %s that may be in flight are', flying, allowed, to_json(tenant));
      detail := detail || jsonb_build_object('limit', 'tenant', 'allowed', allowed, 'in_flight', flying);
    else
      message := 'it is admitted when it is the turn of its line and somebody claims';
      detail := detail || jsonb_build_object('limit', 'turn');
    end if;
  end if;
  message := message || case when ahead = 0 then ', and it is the next of its line' else format(', and %s of its line come before it', case ahead when 1 then '1 job' else ahead || case when ahead >= 100000 then ' or more' else '' end || ' jobs' end) end;
end $$;
comment on function weir.why_line(bigint) is 'Internal, for weir.why: which limit keeps a job in its line, and its place there.';
