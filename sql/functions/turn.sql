-- Turns: what one session at a time may do for all, such as a tick of the frontier or a pass of a queue's admitter.
--
-- A turn is a lock on a table without columns, held until the transaction ends. Any role that can connect may take an
-- advisory lock, and pg_locks shows the keys of those that are held, but only weir's owner may lock weir's tables. And
-- the lock of a row would give the transaction an id, so that a quiet system would write five times a second.
--
-- Turns of queues share sixteen tables. Two queues that share one are served one after the other.

create or replace function weir.turn_table(what text, id int) returns text language sql immutable
  return case what when 'advance_frontier' then 'weir_auth.turn_0' when 'keep_partitions' then 'weir_auth.turn_1'
    when 'roll_up' then 'weir_auth.turn_2' when 'keep_audit' then 'weir_auth.turn_3'
    when 'set_routes' then 'weir_auth.turn_4' when 'check_health' then 'weir_auth.turn_5'
    when 'seal' then 'weir_auth.turn_6' when 'count_queues' then 'weir_auth.turn_7'
    when 'admit' then 'weir_auth.turn_' || (16 + id % 16)::text end;
comment on function weir.turn_table(text, int) is 'Internal. The table whose lock is a turn of this kind.';

create or replace function weir.take_turn(what text, id int default 0) returns void language plpgsql as $$
begin
  execute 'lock table ' || weir.turn_table(what, id) || ' in exclusive mode';
end $$;
comment on function weir.take_turn(text, int) is
  'Internal. Waits for a turn, and keeps it until the transaction ends. id: of the queue whose admitter it is.';

create or replace function weir.try_turn(what text, id int default 0) returns boolean language plpgsql as $$
begin
  execute 'lock table ' || weir.turn_table(what, id) || ' in exclusive mode nowait';
  return true;
exception when lock_not_available then
  return false;
end $$;
comment on function weir.try_turn(text, int) is
  'Internal. weir.take_turn if no other session has the turn; returns whether it did.';
