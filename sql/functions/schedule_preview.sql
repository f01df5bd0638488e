-- Previews: the next slots of a schedule, or of a definition that is not saved.

create or replace function weir.check_preview_count(count int) returns void language plpgsql immutable as $$
begin
  if check_preview_count.count is null or check_preview_count.count not between 1 and 1000 then
    perform weir.refuse_argument('count', 'must be from 1 to 1000');
  end if;
end $$;
comment on function weir.check_preview_count(int) is
  'Internal. Raises WR010 unless a preview may have this many slots.';

create or replace function weir.preview_schedule(name text, count int default 20, "from" timestamptz default null,
  tenant text default null)
returns table (slot_at timestamptz, local text, due_at timestamptz, skipped boolean, note text)
language plpgsql stable as $$
declare
  s weir.schedule;
begin
  perform weir.check_preview_count(preview_schedule.count);
  select x.* into s from weir.schedule x where x.name = preview_schedule.name and x.deleted_at is null
    and coalesce(x.tenant, '') = coalesce(weir.owner_of(weir.caller_bounds('{operator,reader}'),
      preview_schedule.tenant), '');
  perform weir.require_schedule(s, preview_schedule.name, preview_schedule.tenant, '{operator,reader}');
  return query select * from weir.describe_slots(s, preview_schedule.count,
    coalesce(preview_schedule.from, s.next_slot_at, clock_timestamp()) - interval '1 us');
end $$;
comment on function weir.preview_schedule(text, int, timestamptz, text) is
  'The next slots of a schedule, from its next one or from a time: in UTC and in local time, when each fires with its '
  'jitter, and a note where DST moves, skips or repeats it. A skipped one does not fire. Errors: WR010, WR030.';

create or replace function weir.preview_definition(definition jsonb, count int default 20,
  "from" timestamptz default null, name text default '_')
returns table (slot_at timestamptz, local text, due_at timestamptz, skipped boolean, note text)
language plpgsql stable as $$
declare
  s weir.schedule;
begin
  perform weir.check_preview_count(preview_definition.count);
  s := weir.parse_schedule(preview_definition.name, preview_definition.definition, null, needs_job => false);
  return query select * from weir.describe_slots(s, preview_definition.count,
    coalesce(preview_definition.from - interval '1 us', clock_timestamp()));
end $$;
comment on function weir.preview_definition(jsonb, int, timestamptz, text) is
  'weir.preview_schedule for a definition that is not saved; it needs no job. Errors: WR010.';
