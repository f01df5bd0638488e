// Package sql carries the functions and views of the schema weir. Each is `create or replace`, a file a noun; package
// migrations applies the files whose text differs from what the database has. The tables they work on are in
// migrations/; the queries that sqlc reads are in sql/queries.
package sql

import "embed"

// Files are functions/<noun>.sql and views/<noun>.sql.
//
//go:embed functions/*.sql views/*.sql
var Files embed.FS
