-- Only for sqlc, which must know what exists before the first migration. Package migrations makes the schema, and
-- goose its record.
create schema weir;
create table weir.migration (id int, version_id bigint, is_applied boolean, tstamp timestamp);
