-- Names in roll-ups have a bound: the first 1000 kinds and the first 10000 tenants go by name, the others together as
-- (others). A kind that holds an id would otherwise make a row for each job. Where there are fewer, nothing is
-- looked up.

create or replace function weir.name_limit(what text) returns int language sql immutable
  return case what when 'kind' then 1000 else 10000 end;
comment on function weir.name_limit(text) is 'Internal. How many kinds or tenants go by name.';

create or replace function weir.has_tenants() returns boolean language sql stable
  return exists (select from weir.rollup_name n where n.what = 'tenant');
comment on function weir.has_tenants() is
  'Internal. Whether jobs of tenants were enqueued in the last week, so that they are counted by tenant.';

create or replace function weir.names_full() returns text[] language sql stable as $$
  select coalesce(array_agg(w.what), '{}') from (values ('kind'), ('tenant')) w(what)
  where (select count(*) from weir.rollup_name n where n.what = w.what) >= weir.name_limit(w.what)
$$;
comment on function weir.names_full() is 'Internal. Of what there are as many names as go into roll-ups.';

create or replace function weir.rollup_name(what text, name text, full_of text[]) returns text language sql stable
  return case when coalesce(name, '') = '' then ''
    when what = any (full_of) and not exists (select from weir.rollup_name n
      where n.what = rollup_name.what and n.name = rollup_name.name) then '(others)'
    else name end;
comment on function weir.rollup_name(text, text, text[]) is
  'Internal. The name under which a kind or a tenant is rolled up. full_of: weir.names_full.';

create or replace function weir.note_names(wanted text, names text[]) returns void language plpgsql as $$
declare
  room int;
begin
  update weir.rollup_name n set seen_at = now() where n.what = wanted and n.name = any (names)
    and n.seen_at < now() - interval '1 day';
  room := weir.name_limit(wanted) - (select count(*) from weir.rollup_name n where n.what = wanted);
  if room > 0 then
    insert into weir.rollup_name (what, name, seen_at)
    select wanted, x.name, now() from unnest(names) x(name) where x.name <> '' and not exists (
      select from weir.rollup_name n where n.what = wanted and n.name = x.name) limit room;
  end if;
end $$;
comment on function weir.note_names(text, text[]) is
  'Internal. Gives these kinds or tenants a place while there is one.';

create or replace function weir.name_tally(tally jsonb) returns jsonb language plpgsql as $$
#variable_conflict use_column
declare
  full_of text[];
begin
  perform weir.note_names('kind', array(select distinct t ->> 'kind' from jsonb_array_elements(tally) t));
  perform weir.note_names('tenant', array(select distinct t ->> 'tenant' from jsonb_array_elements(tally) t));
  full_of := weir.names_full();
  return (select coalesce(jsonb_agg(to_jsonb(n)), '[]') from (
    select x.at, x.queue_id, weir.rollup_name('kind', x.kind, full_of) as kind,
      weir.rollup_name('tenant', x.tenant, full_of) as tenant, sum(x.enqueued) as enqueued
    from jsonb_to_recordset(name_tally.tally) x(at timestamptz, queue_id int, kind text, tenant text, enqueued bigint)
    group by 1, 2, 3, 4) n);
end $$;
comment on function weir.name_tally(jsonb) is
  'Internal. What weir.count_enqueued counted, under the names that roll-ups have for kinds and tenants.';
