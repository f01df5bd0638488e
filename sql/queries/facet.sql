-- name: JobFacets :one
select weir.job_facets(sqlc.arg(filter)::jsonb, sqlc.arg(facets)::text[])::jsonb as facets;
