-- Owners of workers' records: the key or the login that registered one.

-- Whose a worker is. caller: {principal or login, worker and operator (which of these it is), tenant, queues}; null:
-- a session of weir's owner, or a node without authentication.
create or replace function weir.worker_login() returns jsonb language plpgsql stable as $$
declare
  kinds text[] := array(select a.access from weir_auth.sql_access a where a.role = weir.login_id()
    and a.name = session_user and a.access in ('worker', 'operator'));
begin
  return case when not weir.is_owner() then jsonb_build_object('login', weir.login_id(),
    'worker', 'worker' = any (kinds), 'operator', 'operator' = any (kinds))
    || coalesce(weir.caller_bounds('{worker,operator}'), '{}') end;
end $$;
comment on function weir.worker_login() is
  'Internal. The session''s login as a caller that keeps a worker''s record; null: the owner. Errors: 42501.';

-- A record whose owner may call no more has none.
create or replace function weir.is_owned(w weir.worker) returns boolean language sql stable
set enable_seqscan = off as $$
  select exists (select from weir.principal p where p.id = w.principal and p.revoked_at is null
      and (p.expires_at > clock_timestamp()) is not false)
    or exists (select from weir_auth.sql_access a where a.role = w.login)
$$;
comment on function weir.is_owned(weir.worker) is
  'Internal. Whether a worker''s record has an owner who may still call.';

create or replace function weir.is_own_worker(w weir.worker, caller jsonb) returns boolean language sql stable as $$
  select (caller is null
    or (caller ->> 'operator')::boolean and weir.reaches(caller, w.tenant, w.queues)
    or case when weir.is_owned(w)
      then w.principal = (caller ->> 'principal')::int or w.login = (caller ->> 'login')::oid
      else w.tenant is null or w.tenant = caller ->> 'tenant' end) is true
$$;
comment on function weir.is_own_worker(weir.worker, jsonb) is
  'Internal. Whether a caller may write a worker''s record: its own, one without an owner, or as an operator.';

create or replace function weir.may_claim_as(owner int, owning_login oid, principal int, login oid) returns boolean
language sql immutable as $$
  select owner is null and owning_login is null or coalesce(principal, 0) = 0 and login is null
    or coalesce(principal = owner, false) or coalesce(login = owning_login, false)
$$;
comment on function weir.may_claim_as(int, oid, int, oid) is
  'Internal. Whether a caller may claim under the name of a worker that a principal, a login or no caller owns.';

-- Called by a claim if one of the workers has an owner other than the caller: such a slot gets nothing. It loses its
-- worker too, or it would take the worker's turn from the owner.
create or replace function weir.own_slots(workers text[], counts int[], principals int[], login oid,
  out owned text[], out allowed int[], out refusals text[])
language sql stable set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
  select array_agg(case when m.may then s.worker end order by s.n),
         array_agg(case when m.may then s.count else 0 end order by s.n),
         array_agg(case when not m.may then 'taken' end order by s.n)
  from unnest(workers, counts, principals) with ordinality s(worker, count, principal, n)
  left join weir.worker w on w.name = s.worker
  cross join lateral (select weir.may_claim_as(w.principal, w.login, s.principal, own_slots.login) as may) m
$$;
comment on function weir.own_slots(text[], int[], int[], oid) is
  'Internal. The slots of a claim without those of workers that others own (null, 0 jobs, taken). principals and '
  'login: who claims.';
