-- Time zones: the list of each zone's clock changes, and times written in them.

-- Called by weir migrate up. A zone only changes to that of a newer release; schedules in it are planned again.
-- Locks: the schedules of zones that change, in the order of their ids.
create or replace function weir.load_time_zones(zones jsonb, version text) returns int language plpgsql as $$
declare
  changed text[];
  s weir.schedule;
begin
  with given as (
    select z.key as name,
      array['-infinity'::timestamptz] || array(
        select to_timestamp(x::text::float8) from jsonb_array_elements(z.value -> 'changes') with ordinality c(x, n)
        order by n) as changes,
      array(select x::text::int from jsonb_array_elements(z.value -> 'offsets') with ordinality o(x, n)
        order by n) as offsets
    from jsonb_each(zones) z
  ), stored as (
    insert into weir.time_zone as t (name, changes, offsets, version)
    select g.name, g.changes, g.offsets, load_time_zones.version from given g
    on conflict (name) do update
      set changes = excluded.changes, offsets = excluded.offsets, version = excluded.version
      where t.version < excluded.version and (t.changes, t.offsets) is distinct from
        (excluded.changes, excluded.offsets)
    returning t.name
  )
  select array_agg(t.name) into changed from stored t;
  update weir.time_zone t set version = load_time_zones.version where t.version < load_time_zones.version;
  for s in
    select x.* from weir.schedule x where x.timezone = any (changed) and x.next_slot_at > clock_timestamp()
    order by x.id for update
  loop
    s.next_slot_at := (weir.next_slot(s, greatest(clock_timestamp(), s.last_slot_at))).slot_at;
    update weir.schedule x set next_slot_at = s.next_slot_at, due_at = weir.slot_due(s, s.next_slot_at)
      where x.id = s.id;
  end loop;
  return coalesce(cardinality(changed), 0);
end $$;
comment on function weir.load_time_zones(jsonb, text) is
  'Internal, for weir migrate up. Stores the time zones of a release, {name: {changes, offsets}}, with changes in Unix '
  'seconds. Returns how many zones changed.';

create or replace function weir.iso(t timestamptz) returns text language sql stable
  return to_char(t at time zone 'UTC', case when date_trunc('second', t) = t
    then 'YYYY-MM-DD"T"HH24:MI:SS"Z"' else 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' end);
comment on function weir.iso(timestamptz) is 'Internal. A time as in RFC 3339, in UTC.';

create or replace function weir.local_iso(t timestamptz, utc_offset int) returns text language sql stable
  return to_char((t at time zone 'UTC') + make_interval(secs => utc_offset), case when date_trunc('second', t) = t
      then 'YYYY-MM-DD"T"HH24:MI:SS' else 'YYYY-MM-DD"T"HH24:MI:SS.US' end)
    || case when utc_offset < 0 then '-' else '+' end || to_char(make_interval(secs => abs(utc_offset)), 'HH24:MI');
comment on function weir.local_iso(timestamptz, int) is
  'Internal. A time as in RFC 3339, in local time that is utc_offset seconds ahead of UTC.';

create or replace function weir.utc_offset(zone text, t timestamptz) returns int language sql stable as $$
  select z.offsets[width_bucket(t, z.changes)] from weir.time_zone z where z.name = zone
$$;
comment on function weir.utc_offset(text, timestamptz) is
  'Internal. Seconds that a zone is ahead of UTC at a time; null: the zone is unknown.';
