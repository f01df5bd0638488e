-- Changes of a circuit breaker's state by hand: trip, reset, pin and unpin.

create or replace function weir.trip_breaker(name text, by text default null, reason text default null,
  open_seconds float8 default null) returns void language plpgsql set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  perform weir.check_by_and_reason(by, reason);
  if open_seconds is not null and not open_seconds between 0.1 and 31536000 then
    perform weir.refuse_argument('open_seconds', 'must be from 0.1 to 31536000');
  end if;
  b := weir.lock_breaker(trip_breaker.name);
  perform weir.refuse_pinned(b, trip_breaker.name);
  perform weir.set_breaker_state(b, 'open', by, coalesce(reason, 'by hand'), null, open_seconds);
  perform weir.record_change('tripBreaker', weir.breaker_path(b.name), jsonb_build_object('state', b.state),
    jsonb_strip_nulls(jsonb_build_object('state', 'open', 'reason', reason, 'open_seconds', open_seconds)));
end $$;
comment on function weir.trip_breaker(text, text, text, float8) is
  'Opens a breaker by hand, with an author, a reason, and the seconds until it is probed (default: its settings). An '
  'open breaker starts to wait again. Errors: WR010, WR065, WR067.';

create or replace function weir.reset_breaker(name text, by text default null, reason text default null) returns void
  language plpgsql set enable_seqscan = off as $$
declare
  b weir.breaker;
begin
  perform weir.check_by_and_reason(by, reason);
  b := weir.lock_breaker(reset_breaker.name);
  perform weir.refuse_pinned(b, reset_breaker.name);
  perform weir.record_change('resetBreaker', weir.breaker_path(b.name), jsonb_build_object('state', b.state),
    jsonb_strip_nulls(jsonb_build_object('state', 'closed', 'reason', reason)));
  b := weir.set_breaker_state(b, 'closed', by, coalesce(reason, 'by hand'));
  update weir.breaker x set openings = 0 where x.id = b.id;
end $$;
comment on function weir.reset_breaker(text, text, text) is
  'Closes a breaker by hand, with an author and a reason. Earlier samples no longer count, and held jobs come back at '
  'its ramp. Errors: WR010, WR065, WR067.';

create or replace function weir.refuse_pinned(b weir.breaker, name text) returns void language plpgsql as $$
begin
  if b.pinned is not null and (b.pinned_until > clock_timestamp()) is not false then
    raise exception using errcode = 'WR067', message = format('breaker %L is pinned %s', name, b.pinned),
      hint = 'Unpin it first: weir.pin_breaker(name, ''none''), the same over REST, or weir breakers pin NAME none.';
  end if;
end $$;
comment on function weir.refuse_pinned(weir.breaker, text) is
  'Internal. Raises WR067 breaker_pinned if the breaker, which the caller names so, is pinned.';

create or replace function weir.pin_breaker(name text, state text, by text default null, reason text default null,
  for_seconds float8 default null) returns void language plpgsql set enable_seqscan = off as $$
#variable_conflict use_variable
declare
  b weir.breaker;
  was text;
begin
  if state is null or state not in ('open', 'closed', 'none') then
    perform weir.refuse_argument('state', 'must be open, closed or none');
  elsif for_seconds is not null and (state = 'none' or not for_seconds between 0.1 and weir.max_seconds()) then
    perform weir.refuse_argument('for_seconds',
      format('must be from 0.1 to %s, and needs state open or closed', weir.max_seconds()));
  end if;
  perform weir.check_by_and_reason(by, reason);
  b := weir.lock_breaker(pin_breaker.name);
  was := b.state;
  perform weir.record_change('pinBreaker', weir.breaker_path(b.name),
    jsonb_strip_nulls(jsonb_build_object('state', b.state, 'pinned', b.pinned, 'pinned_until', b.pinned_until)),
    jsonb_strip_nulls(jsonb_build_object('pinned', state, 'for_seconds', for_seconds, 'reason', reason)));
  if state = 'none' then
    if b.pinned is not null then
      perform weir.unpin_breaker(b, by, reason);
    end if;
    return;
  end if;
  b.pinned := state;
  b.pinned_until := clock_timestamp() + make_interval(secs => for_seconds);
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by, reason, detail)
  values (b.id, b.name, 'pinned', was, state, by, reason,
    jsonb_strip_nulls(jsonb_build_object('until', b.pinned_until)));
  if was <> state then
    perform weir.set_breaker_state(b, state, by, coalesce(reason, 'pinned'));
  else
    update weir.breaker x set pinned = b.pinned, pinned_until = b.pinned_until, next_probe_at = null where x.id = b.id;
  end if;
end $$;
comment on function weir.pin_breaker(text, text, text, text, float8) is
  'Pins a breaker open or closed for for_seconds, or until it is unpinned (state none), with an author and a reason. '
  'A breaker that was pinned open is probed at once when the pin ends. Errors: WR010, WR065.';

-- A breaker that was pinned open is probed at once.
create or replace function weir.unpin_breaker(b weir.breaker, by text, reason text) returns void language plpgsql as $$
begin
  update weir.breaker x set pinned = null, pinned_until = null,
    next_probe_at = case when x.state = 'open' then clock_timestamp() end
  where x.id = b.id;
  insert into weir.breaker_event (breaker_id, breaker, event, from_state, state, by, reason)
    values (b.id, b.name, 'unpinned', b.state, b.state, unpin_breaker.by, unpin_breaker.reason);
end $$;
comment on function weir.unpin_breaker(weir.breaker, text, text) is
  'Internal. Ends a pin. The caller holds the breaker''s lock.';
