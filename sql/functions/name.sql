-- Names that come from use: the first job of a queue creates it, that of a circuit breaker too, and a worker appears
-- with its first claim. Callers choose these names, so their number has a bound, and those that are no longer used
-- expire. What an operator has set (declared) is not counted and does not expire.

-- A setting of the database, which sessions cannot change: alter database … set weir.NAME = VALUE.
create or replace function weir.database_setting(name text, default_value int) returns int language sql stable as $$
  select coalesce((select substr(c, length('weir.' || name || '=') + 1)::int
    from pg_db_role_setting s cross join unnest(s.setconfig) c
    where s.setrole = 0 and s.setdatabase = (select d.oid from pg_database d where d.datname = current_database())
      and c ~ ('^weir\.' || name || '=[0-9]{1,9}$')), default_value)
$$;
comment on function weir.database_setting(text, int) is
  'Internal. A setting of the database that is a whole number, or its default. What a session sets for itself does not '
  'count.';

create or replace function weir.refuse_new_names(what text, missing text[], used bigint, most int, place text)
returns void language plpgsql as $$
begin
  if used + cardinality(missing) > most then
    raise exception using errcode = 'WR016', column = coalesce(place, ''),
      message = case when most = 0 then format('there is no %s %L, and jobs create none', what, missing[1])
        else format('%s %L would be one of more than %s that were not created by an operator', what, missing[1], most)
      end,
      hint = format('Name one that exists, or let an operator create it: weir.set_%s, or PUT /v1/%ss/NAME. The '
        'database''s setting weir.max_implicit_%ss is the limit. Nothing was enqueued.', what, what, what);
  end if;
end $$;
comment on function weir.refuse_new_names(text, text[], bigint, int, text) is
  'Internal. Raises WR016 too_many_names where these names would be more than `most` with those that are used.';

-- First they are hidden, as weir.delete_queue does: claims still find what an enqueue that had read the row puts into
-- the queue, and the next pass, or the next enqueue, shows it again. The row goes when nothing can refer to it: it was
-- hidden before the oldest job there is, the statistics of its time are gone, and so is every transaction that may have
-- read it before it was hidden. hidden_beside names those, as a pass long after the hiding saw them in pg_locks; a
-- prepared transaction has no such name, so while there is one all rows stay.
create or replace function weir.expire_queues(idle interval, most int default 500) returns int language plpgsql
set jit = off as $$
declare
  now_at timestamptz := clock_timestamp();
  oldest_job timestamptz := (select j.created_at from weir.job j order by j.id limit 1);
  ids int[];
  gone int[];
  under_way text[];
begin
  update weir.queue q set deleted_at = null, created_at = now_at
    where q.deleted_at is not null and (exists (select from weir.job_ready r where r.queue_id = q.id)
      or exists (select from weir.job_lease l where l.queue_id = q.id));
  ids := array(select q.id from weir.queue q where not q.declared and q.deleted_at is null
    and q.created_at < now_at - idle and q.paused_at is null and not q.governed and q.breaker_id is null
    and not exists (select from weir.job_ready r where r.queue_id = q.id)
    and not exists (select from weir.job_dead d where d.queue_id = q.id)
    and not exists (select from weir.rollup r where r.queue_id = q.id and r.tenant = '' and r.at > now_at - idle)
    and not exists (select from weir.limit_override o where o.queue_id = q.id)
    and not exists (select from weir.queue x where x.dead_letter_queue_id = q.id)
    and not exists (select from weir.breaker b where b.while_open ->> 'queue' = q.name) limit most);
  if ids <> '{}' then
    ids := array(select u.id from unnest(ids) u(id) where u.id not in (
      select s.queue_id from weir.job_scheduled s where s.queue_id = any (ids)
      union all select h.queue_id from weir.job_held h where h.queue_id = any (ids)
      union all select l.queue_id from weir.job_lease l where l.queue_id = any (ids)));
    update weir.queue q set deleted_at = now_at, hidden_beside = null where q.id = any (ids) and q.deleted_at is null
      and not q.declared;
  end if;
  under_way := array(select l.virtualtransaction from pg_locks l where l.locktype = 'virtualxid' and l.granted);
  gone := array(select q.id from weir.queue q where q.deleted_at < now_at - interval '1 day' and not q.declared
    and q.limits_version = 0 and (q.deleted_at < oldest_job or oldest_job is null)
    and not q.hidden_beside && under_way and not exists (select from pg_prepared_xacts)
    and not exists (select from weir.rollup r where r.queue_id = q.id and r.tenant = '')
    and not exists (select from weir.breaker b where b.while_open ->> 'queue' = q.name) limit most);
  -- In a statement of its own, which sees what those transactions committed.
  if gone <> '{}' then
    with removed as (
      delete from weir.queue q where q.id = any (gone) and q.deleted_at is not null
        and not exists (select from weir.job_ready r where r.queue_id = q.id)
        and q.id not in (select s.queue_id from weir.job_scheduled s where s.queue_id = any (gone)
          union all select h.queue_id from weir.job_held h where h.queue_id = any (gone))
      returning q.id
    )
    select coalesce(array_agg(r.id), '{}') into gone from removed r;
    delete from weir.frontier f where f.queue_id = any (gone);
  end if;
  update weir.queue q set hidden_beside = under_way
    where q.deleted_at < now_at - interval '1 day' and not q.declared and q.hidden_beside is null;
  return cardinality(ids) + cardinality(gone);
end $$;
comment on function weir.expire_queues(interval, int) is
  'Internal. Hides queues that only jobs have named, that are empty and have done nothing for that long, and removes '
  'those that were hidden long ago. Returns how many.';

create or replace function weir.expire_breakers(idle interval, most int default 500) returns int language plpgsql
set jit = off as $$
declare
  now_at timestamptz := clock_timestamp();
  oldest_job timestamptz := (select j.created_at from weir.job j order by j.id limit 1);
  ids int[];
  gone int[];
begin
  ids := array(select b.id from weir.breaker b where not b.declared and b.deleted_at is null
    and b.created_at < now_at - idle and b.changed_at < now_at - idle and b.state = 'closed' and not b.gated
    and b.pinned is null
    and not exists (select from weir.breaker_sample s where s.breaker_id = b.id)
    and not exists (select from weir.job_held h where h.reason = 'breaker' and h.key = b.name)
    and not exists (select from weir.queue q where q.breaker_id = b.id) limit most for no key update skip locked);
  update weir.breaker b set deleted_at = now_at where b.id = any (ids);
  gone := array(select b.id from weir.breaker b where b.deleted_at < now_at - interval '1 day' and not b.declared
    and b.state = 'closed' and not b.gated and (b.deleted_at < oldest_job or oldest_job is null)
    and not exists (select from weir.breaker_sample s where s.breaker_id = b.id)
    and not exists (select from weir.job_lease l where l.breaker_id = b.id) limit most for update skip locked);
  delete from weir.breaker_result r where r.breaker_id = any (gone);
  delete from weir.breaker b where b.id = any (gone);
  return cardinality(ids) + cardinality(gone);
end $$;
comment on function weir.expire_breakers(interval, int) is
  'Internal. The same as weir.expire_queues for circuit breakers.';

create or replace function weir.expire_names() returns int language plpgsql as $$
declare
  idle interval := make_interval(secs => weir.database_setting('implicit_idle_seconds', 604800));
begin
  perform weir.act_as_engine();
  return weir.expire_queues(idle) + weir.expire_breakers(idle);
end $$;
comment on function weir.expire_names() is
  'Internal. Hides and removes queues and circuit breakers that only jobs have named and that have been idle for a '
  'week, or for the setting weir.implicit_idle_seconds of the database. The service calls it every ten minutes. '
  'Returns how many.';
