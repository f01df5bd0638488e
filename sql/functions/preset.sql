-- Presets: filters of jobs under a name, those that people save and the built-in ones (sql/views/preset.sql).
--
-- The times of a preset may be relative to when it is used: -90s, -15m, -1h, -7d or -2w before now, or today, where the
-- day of UTC began. Names are those of a tenant, or of none; see owner.sql. No preset takes the name of a built-in one.

-- Null: it is none.
create or replace function weir.relative_time(value text, now_at timestamptz) returns timestamptz
language sql immutable as $$
  select case when value = 'today' then date_trunc('day', now_at, 'UTC')
    when value ~ '^-[0-9]{1,9}[smhdw]$' then now_at - least(substr(value, 2, length(value) - 2)::bigint
      * case right(value, 1) when 's' then 1 when 'm' then 60 when 'h' then 3600 when 'd' then 86400
        else 604800 end, weir.max_seconds()) * interval '1 second' end
$$;
comment on function weir.relative_time(text, timestamptz) is
  'Internal. The time that today, or a text such as -1h, means at now_at: at most ten years before.';

create or replace function weir.resolve_times(filter jsonb, now_at timestamptz) returns jsonb
language sql immutable as $$
  select coalesce(jsonb_object_agg(f.key, case
    when f.key like any ('{created\_%,started\_%,finished\_%}') and jsonb_typeof(f.value) = 'string'
      then coalesce(to_jsonb(to_char(weir.relative_time(f.value #>> '{}', now_at) at time zone 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')), f.value)
    else f.value end), '{}') from jsonb_each(filter) f
$$;
comment on function weir.resolve_times(jsonb, timestamptz) is
  'Internal. A filter with its relative times as times.';

create or replace function weir.preset_problem(preset jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(preset) is distinct from 'object' then array['preset', 'must be a JSON object']
    when preset - '{title,description,filter}'::text[] <> '{}' then
      array[weir.first_key(preset - '{title,description,filter}'::text[]), 'is no field of a preset']
    when jsonb_typeof(preset -> 'title') is distinct from 'string' or length(preset ->> 'title') not between 1 and 200
      then array['title', 'must be a string of 1 to 200 characters']
    when preset ->> 'description' is not null and (jsonb_typeof(preset -> 'description') <> 'string'
      or length(preset ->> 'description') not between 1 and 1000)
      then array['description', 'must be a string of 1 to 1000 characters']
    when jsonb_typeof(preset -> 'filter') is distinct from 'object' then array['filter', 'must be an object']
    when weir.size_problem(preset -> 'filter', 8192) is not null
      then array['filter', weir.size_problem(preset -> 'filter', 8192)]
    when preset -> 'filter' ? 'bounds' then array['filter.bounds', 'is not a field of a filter of jobs']
    else weir.job_filter_problem(weir.resolve_times(preset -> 'filter', now())) end
$$;
comment on function weir.preset_problem(jsonb) is
  'Internal. The first field of a preset that is invalid, and why; null: none.';

-- Nodes read what is stored in the types of REST.
create or replace function weir.tidy_filter(filter jsonb) returns jsonb language sql immutable as $$
  select coalesce(jsonb_object_agg(f.key, case
    when f.key in ('parent_id', 'workflow_id') then to_jsonb(f.value #>> '{}')
    when jsonb_typeof(f.value) = 'number' then to_jsonb(trim_scale((f.value #>> '{}')::numeric))
    else f.value end), '{}') from jsonb_each(filter) f where f.value <> 'null'
$$;
comment on function weir.tidy_filter(jsonb) is
  'Internal. A valid filter without nulls, with ids as strings and whole numbers without a decimal point.';

create or replace function weir.refuse_unknown_preset(name text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR093',
    message = format('there is no preset %L', refuse_unknown_preset.name),
    hint = 'weir.presets lists those there are; weir.set_preset makes one.';
end $$;
comment on function weir.refuse_unknown_preset(text) is 'Internal. Raises WR093 preset_not_found.';

create or replace function weir.refuse_builtin_preset(name text) returns void language plpgsql as $$
begin
  if exists (select from weir.presets p where p.built_in and p.name = refuse_builtin_preset.name) then
    raise exception using errcode = 'WR094',
      message = format('preset %L is built in', refuse_builtin_preset.name),
      hint = 'Built-in presets stay as they are. Save a copy under another name.';
  end if;
end $$;
comment on function weir.refuse_builtin_preset(text) is
  'Internal. Raises WR094 preset_builtin for the name of a built-in preset.';

-- Locks: the table of presets, so that changes of presets take turns and their number has a bound.
create or replace function weir.set_preset(name text, preset jsonb, replace boolean default true,
  tenant text default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  problem text[] := weir.preset_problem(preset);
  bounds jsonb := weir.caller_bounds();
  owner text := weir.owner_of(bounds, tenant);
  filter jsonb := weir.tidy_filter(preset -> 'filter');
  queues text[] := coalesce(weir.texts_of(preset #> '{filter,queue}'), '{}');
  old weir.preset;
begin
  if weir.is_queue_name(set_preset.name) is not true then
    perform weir.refuse_argument('name', 'must be 1 to 128 letters, digits or _ . : -');
  elsif problem is not null then
    perform weir.refuse_argument(problem[1], problem[2]);
  elsif bounds -> 'queues' is not null and queues = '{}' then
    perform weir.refuse_argument('filter.queue', 'must be named by a caller who is bound to some');
  end if;
  perform weir.refuse_builtin_preset(set_preset.name);
  perform weir.refuse_queues_beyond(bounds, queues);
  lock table weir.preset in share row exclusive mode;
  select p.* into old from weir.preset p
  where p.name = set_preset.name and coalesce(p.tenant, '') = coalesce(owner, '');
  if old.id is not null and (not replace or not weir.reaches(bounds, old.tenant, old.queues)) then
    raise exception using errcode = 'WR095', message = format('there is a preset %L already', set_preset.name),
      hint = 'Choose another name, or replace the one that is there.';
  elsif old.id is not null then
    update weir.preset p set title = preset ->> 'title', description = preset ->> 'description', filter = filter,
      queues = queues, updated_at = clock_timestamp() where p.id = old.id;
    return;
  elsif (select count(*) >= 200 from weir.preset p where coalesce(p.tenant, '') = coalesce(owner, '')) then
    raise exception using errcode = 'WR016', message = 'there are 200 presets already',
      hint = 'Delete some first. A tenant has 200 at most, and so have all who have no tenant.';
  end if;
  insert into weir.preset (name, tenant, title, description, filter, queues)
  values (set_preset.name, owner, preset ->> 'title', preset ->> 'description', filter, queues);
end $$;
comment on function weir.set_preset(text, jsonb, boolean, text) is
  'Saves a filter of jobs under a name: {title, description, filter}. The filter is that of weir.count_jobs, at most '
  '8 KiB; its times may be relative to when it is used: -90s, -15m, -1h, -7d, -2w, or today (00:00 UTC). replace => '
  'false: it must not exist. tenant: whose it is. A tenant has 200 at most. Errors: WR010, WR011, WR016, WR094, WR095.';

-- Locks: the row of the preset.
create or replace function weir.delete_preset(name text, tenant text default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  bounds jsonb := weir.caller_bounds();
begin
  perform weir.refuse_builtin_preset(delete_preset.name);
  delete from weir.preset p where p.name = delete_preset.name
    and coalesce(p.tenant, '') = coalesce(weir.owner_of(bounds, tenant), '')
    and (delete_preset.tenant is null or p.tenant = delete_preset.tenant)
    and weir.reaches(bounds, p.tenant, p.queues);
  if not found then
    perform weir.refuse_unknown_preset(delete_preset.name);
  end if;
end $$;
comment on function weir.delete_preset(text, text) is
  'Deletes a preset that someone saved. Errors: WR093, WR094.';

create or replace function weir.preset_filter(name text, tenant text default null) returns jsonb language plpgsql
stable as $$
declare
  found_filter jsonb := (select p.filter from weir.presets p where p.name = preset_filter.name
    and (p.built_in or coalesce(p.tenant, '') = coalesce(preset_filter.tenant, '')));
begin
  if found_filter is null then
    perform weir.refuse_unknown_preset(preset_filter.name);
  end if;
  return weir.resolve_times(found_filter, clock_timestamp());
end $$;
comment on function weir.preset_filter(text, text) is
  'The filter of a preset as of now, for weir.count_jobs, weir.job_facets and weir.start_operation: '
  'weir.preset_filter(''failed_today'') || ''{"queue": "mail"}''. Its relative times are times. Errors: WR093.';
