-- Comments of columns of views.

create or replace function weir.describe_columns(view text, variadic sources text[]) returns void language plpgsql as $$
declare
  c record;
begin
  for c in
    select a.attname as name, d.description
    from pg_attribute a cross join lateral (
      select col_description(b.attrelid, b.attnum) as description
      from unnest(sources) with ordinality s(name, n) join pg_attribute b on b.attrelid = s.name::regclass
      where b.attname = a.attname and b.attnum > 0 order by s.n limit 1) d
    where a.attrelid = view::regclass and a.attnum > 0 and col_description(a.attrelid, a.attnum) is null
  loop
    execute format('comment on column %s.%I is %L', view, c.name, c.description);
  end loop;
end $$;
comment on function weir.describe_columns(text, text[]) is
  'Internal. A column of a view that is a column of one of these tables, and has no comment yet, says what that one '
  'says; the first table decides.';
