-- name: Horizon :many
select h.what::text as what, h.name::text as name, coalesce(h.application, '')::text as application,
  coalesce(h.state, '')::text as state, h.xmin_age::bigint as xmin_age,
  coalesce(extract(epoch from h.since), 0)::float8 as seconds
from weir.horizon h order by h.xmin_age desc limit 1;
