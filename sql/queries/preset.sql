-- Presets are passed on as they were sent, so that the function finds fields that are unknown.

-- name: ListPresets :many
select p.name::text as name, coalesce(p.tenant, '')::text as tenant, p.title::text as title,
  coalesce(p.description, '')::text as description, p.filter::jsonb as filter, p.built_in::boolean as built_in,
  greatest(p.created_at) as created_at, greatest(p.updated_at) as updated_at
from weir.presets p
where (coalesce(p.tenant, ''), p.name) > (sqlc.arg(after_tenant)::text, sqlc.arg(after)::text)
  and (sqlc.narg(name)::text is null or p.name = sqlc.narg(name))
  and (p.built_in and (sqlc.narg(name)::text is not null or sqlc.narg(tenant)::text is null)
    or not p.built_in and weir.reaches(sqlc.narg(bounds)::jsonb, p.tenant, p.queues)
      and (sqlc.narg(tenant)::text is null or coalesce(p.tenant, '') = sqlc.narg(tenant)))
order by coalesce(p.tenant, ''), p.name limit sqlc.arg(max_presets)::int;

-- name: SetPreset :exec
select weir.set_preset(sqlc.arg(name)::text, sqlc.arg(preset)::jsonb - 'name', sqlc.arg(replace)::boolean,
  sqlc.narg(tenant)::text);

-- name: DeletePreset :exec
select weir.delete_preset(sqlc.arg(name)::text, sqlc.narg(tenant)::text);

-- name: PresetFilter :one
select weir.resolve_times(p.filter, clock_timestamp())::jsonb as filter from weir.presets p
where p.name = sqlc.arg(name)::text and (p.built_in or coalesce(p.tenant, '') = any (sqlc.arg(tenants)::text[])
  and weir.reaches(sqlc.narg(bounds)::jsonb, p.tenant, p.queues))
order by p.tenant nulls last limit 1;
