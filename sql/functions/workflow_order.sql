-- The order of the steps of a workflow: each comes after those it depends on, and no step depends on itself.

-- The place of each step in an order in which each comes after those it depends on: the order given, where that is one.
create or replace function weir.rank_steps(g weir.step_graph, field text) returns int[] language plpgsql stable as $$
declare
  n int := cardinality(g.names);
  ordered int[];
begin
  if not exists (select from unnest(g.parents, g.children) u(parent, child) where u.parent > u.child) then
    return array(select generate_series(1, n));
  end if;
  ordered := weir.order_steps(n, g.parents, g.children);
  if cardinality(ordered) < n then
    perform weir.refuse_cycle(g.names, ordered, g.parents, g.children, g.places, field);
  end if;
  return array(select o.rank::int from unnest(ordered) with ordinality o(step, rank) order by o.step);
end $$;
comment on function weir.rank_steps(weir.step_graph, text) is
  'Internal. The place of each step in the order of dependencies. Raises WR010 where there is a cycle.';

-- Kahn's algorithm (A. B. Kahn, Topological sorting of large networks, 1962) over steps 1 to n. Dependency i: step
-- children[i] depends on parents[i], which is null for an old step. Returns the steps so that each comes after those it
-- depends on, without those in a cycle or behind one.
create or replace function weir.order_steps(n int, parents int[], children int[]) returns int[]
language plpgsql immutable as $$
declare
  open_parents int[] := array_fill(0, array[n]);
  first int[] := array_fill(0, array[n]);  -- of each step: its first dependency as a parent; next leads to the others
  next int[] := array_fill(0, array[greatest(cardinality(parents), 1)]);
  ordered int[] := '{}';
  done int := 1;
  i int;
begin
  for k in 1..coalesce(cardinality(parents), 0) loop
    continue when parents[k] is null;
    open_parents[children[k]] := open_parents[children[k]] + 1;
    next[k] := first[parents[k]];
    first[parents[k]] := k;
  end loop;
  for s in 1..n loop
    if open_parents[s] = 0 then
      ordered := ordered || s;
    end if;
  end loop;
  while done <= cardinality(ordered) loop
    i := first[ordered[done]];
    while i > 0 loop
      open_parents[children[i]] := open_parents[children[i]] - 1;
      if open_parents[children[i]] = 0 then
        ordered := ordered || children[i];
      end if;
      i := next[i];
    end loop;
    done := done + 1;
  end loop;
  return ordered;
end $$;
comment on function weir.order_steps(int, int[], int[]) is
  'Internal. Steps in the order of dependencies; those in a cycle or behind one are left out.';

-- Walks from a step that order_steps left out to one that it depends on and that was left out too, until it comes to a
-- step for the second time.
create or replace function weir.refuse_cycle(names text[], ordered int[], parents int[], children int[], places int[],
  field text)
returns void language plpgsql as $$
declare
  n int := cardinality(names);
  done boolean[] := array_fill(false, array[n]);
  up int[] := array_fill(0, array[n]);
  via int[] := array_fill(0, array[n]);
  seen int[] := array_fill(0, array[n]);
  at int;
  path int[] := '{}';
  first int;
begin
  for i in 1..cardinality(ordered) loop
    done[ordered[i]] := true;
  end loop;
  for k in reverse cardinality(parents)..1 loop
    if parents[k] is not null and not done[parents[k]] and not done[children[k]] then
      up[children[k]] := parents[k];
      via[children[k]] := places[k];
    end if;
  end loop;
  at := (select s.i from generate_series(1, n) s(i) where not done[s.i] limit 1);
  while seen[at] = 0 loop
    path := path || at;
    seen[at] := cardinality(path);
    at := up[at];
  end loop;
  path := path[seen[at]:];  -- each depends on the next, and the last on the first
  select w.i into first from unnest(path) w(i) order by w.i limit 1;
  path := path[array_position(path, first):] || path[:array_position(path, first) - 1] || first;
  perform weir.refuse_argument(format('%s[%s].depends_on[%s]', field, first - 1, via[first]), 'closes a cycle: '
      || (select string_agg(case when p.nth <= 20 or p.nth > cardinality(path) - 2 then names[p.i] else '…' end,
            ' -> ' order by p.nth desc)
          from unnest(path) with ordinality p(i, nth) where p.nth <= 21 or p.nth > cardinality(path) - 2),
    'Each arrow leads to a step that depends on the one before it. Nothing was stored.');
end $$;
comment on function weir.refuse_cycle(text[], int[], int[], int[], int[], text) is
  'Internal. Raises WR010 with the names of the steps of a cycle.';
