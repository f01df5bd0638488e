-- The view of health.

create or replace view weir.health as
select h.component, h.node, l.ok, l.at as checked_at, l.message, l.seconds, count(*)::int as checks,
  count(*) filter (where h.ok)::int as passed,
  round(count(*) filter (where h.ok)::numeric / count(*), 4)::float8 as success_rate,
  (select min(x.at) from weir.health_check x where x.component = h.component and x.node = h.node
    and x.at > coalesce((select max(y.at) from weir.health_check y
      where y.component = h.component and y.node = h.node and y.ok <> l.ok), '-infinity')) as since
from weir.health_check h
join lateral (select x.* from weir.health_check x where x.component = h.component and x.node = h.node
  order by x.at desc limit 1) l on true
group by h.component, h.node, l.ok, l.at, l.message, l.seconds;
comment on view weir.health is
  'One row for each component (of a node): whether its last check passed, since when, and how many of its last '
  'hundred checks did.';
comment on column weir.health.component is 'The component.';
comment on column weir.health.node is 'The node that it belongs to; empty: the whole service.';
comment on column weir.health.ok is 'Its last check passed.';
comment on column weir.health.checked_at is
  'When it was checked. Checks come every ten seconds, so an old one means that no node checks.';
comment on column weir.health.message is 'What was wrong.';
comment on column weir.health.seconds is 'How long it took to answer, if that is measured.';
comment on column weir.health.checks is 'How many checks are kept, at most a hundred.';
comment on column weir.health.passed is 'How many of them passed.';
comment on column weir.health.success_rate is 'passed divided by checks.';
comment on column weir.health.since is 'Since when its checks have had this result, as far as they go back.';
