-- The audit trail: who changed what. weir.record_change writes a row in the transaction of the change. The functions
-- that act on jobs, workers, breakers and the like call it; changes of settings come from triggers on their tables
-- (audit_settings.sql), so no door is forgotten.
--
-- The actor is who began the session, or what a node says of its caller in the setting weir.actor, which it sets for
-- one transaction. Only sessions of weir's owner are believed: they could write anything anyway. The
-- engine's own changes are not recorded; its functions have the actor `engine`.

-- Null: the engine.
create or replace function weir.current_actor() returns jsonb language plpgsql stable as $$
declare
  given text := nullif(current_setting('weir.actor', true), '');
begin
  if given is null or not weir.is_owner() then
    return jsonb_build_object('name', session_user, 'kind', 'sql', 'remote', host(inet_client_addr()));
  end if;
  return case when given <> 'engine' then given::jsonb end;
end $$;
comment on function weir.current_actor() is
  'Internal. Who changes something: {name, kind, id, key_id, remote, request_id, operation}; null: the engine itself.';

-- A function with a SET clause would do, but only a superuser may make one for a setting of weir's own.
create or replace function weir.act_as_engine() returns void language sql as $$
  select set_config('weir.actor', 'engine', true)
$$;
comment on function weir.act_as_engine() is
  'Internal. What this transaction does from here on is the engine''s own, and not recorded in the audit trail.';

-- Two sessions that need the first partition of a month take turns.
create or replace function weir.make_audit_partition(at timestamptz) returns void language plpgsql as $$
declare
  month timestamp := date_trunc('month', make_audit_partition.at at time zone 'UTC');
  part text := 'audit_entry_' || to_char(month, 'YYYY_MM');
begin
  if to_regclass(format('weir.%I', part)) is not null then
    return;
  end if;
  perform weir.take_turn('keep_audit');
  if to_regclass(format('weir.%I', part)) is null then
    execute format('create table weir.%I (like weir.audit_entry including defaults including constraints '
      'including comments)', part);
    execute format('comment on table weir.%I is %L', part, format('Partition of weir.audit_entry: the month %s.',
      to_char(month, 'YYYY-MM')));
    execute format('create trigger audit_is_append_only before update or delete or truncate on weir.%I '
      'for each statement execute function weir.refuse_audit_change()', part);
    -- a session of a member of weir's owner may be the first of a month
    execute format('alter table weir.%I owner to %I', part, (select pg_get_userbyid(c.relowner) from pg_class c
      where c.oid = 'weir.audit_entry'::regclass));
    execute format('alter table weir.audit_entry attach partition weir.%I for values from (%L) to (%L)', part,
      month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC');
  end if;
end $$;
comment on function weir.make_audit_partition(timestamptz) is
  'Internal. Makes the partition of the audit trail for the month of a time, unless it is there.';

create or replace function weir.record_change(operation text, object text, before jsonb default null,
  after jsonb default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  actor jsonb := weir.current_actor();
  now_at timestamptz := clock_timestamp();
begin
  if actor is null then
    return;
  end if;
  perform weir.make_audit_partition(now_at);
  insert into weir.audit_entry (at, principal, principal_kind, principal_id, key_id, remote, request_id, operation,
    object, before, after)
  values (now_at, actor ->> 'name', coalesce(actor ->> 'kind', (select p.kind from weir.principal p
    where p.id = (actor ->> 'id')::int), 'anonymous'), (actor ->> 'id')::int, actor ->> 'key_id', actor ->> 'remote',
    actor ->> 'request_id', coalesce(actor ->> 'operation', operation), object, before, after);
end $$;
comment on function weir.record_change(text, text, jsonb, jsonb) is
  'Internal. Writes down a change in the audit trail, unless the engine made it. before and after hold settings, never '
  'payloads or secrets.';

create or replace function weir.refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise insufficient_privilege using message = 'the audit trail cannot be changed',
    hint = 'weir.keep_audit drops the months whose retention is over.';
end $$;
comment on function weir.refuse_audit_change() is 'Internal. Raises 42501: the audit trail is append-only.';

create or replace trigger audit_is_append_only before update or delete or truncate on weir.audit_entry
  for each statement execute function weir.refuse_audit_change();

-- Locks: the parent and a partition that is dropped, ACCESS EXCLUSIVE, for which it waits three seconds at most.
create or replace function weir.keep_audit(retention interval default '365 days', months_ahead int default 2)
returns int language plpgsql set lock_timeout = '3s' as $$
declare
  part text;
  dropped int := 0;
begin
  if retention is null or retention < interval '1 day' then
    perform weir.refuse_argument('retention', 'must be at least a day');
  end if;
  for n in 0 .. greatest(months_ahead, 0) loop
    perform weir.make_audit_partition(now() + make_interval(months => n));
  end loop;
  for part in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'weir.audit_entry'::regclass and (to_date(right(c.relname, 7), 'YYYY_MM')
      + interval '1 month') at time zone 'UTC' <= now() - retention
    order by c.relname
  loop
    execute format('drop table weir.%I', part);
    dropped := dropped + 1;
  end loop;
  return dropped;
end $$;
comment on function weir.keep_audit(interval, int) is
  'Drops the months of the audit trail that ended longer ago than the retention, at least a day, and makes the '
  'partitions of this month and of months_ahead more. Returns how many it dropped. The service calls it. '
  'Errors: WR010.';
