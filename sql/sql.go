// Package sql carries the functions and views of the schema weir. Each is `create or replace`, a file a noun; package
// migrations applies the files whose text differs from what the database has, and then those of access, which say who
// may use them. The tables they work on are in migrations/; the queries that sqlc reads are in sql/queries.
package sql

import "embed"

// Files are functions/<noun>.sql, views/<noun>.sql and access/<noun>.sql.
//
//go:embed functions/*.sql views/*.sql access/*.sql
var Files embed.FS
