-- Only for sqlc, which must know that the schema exists. Package migrations makes it, because its record lives in there.
create schema weir;
