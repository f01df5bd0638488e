-- What a search for words looks at. Everything but letters and digits separates words, in the jobs and in what is
-- searched for. So order-17 is the phrase "order 17", and 17 alone finds it too; ann@example.com is found by its parts.
-- All words count, in the form in which they were written but for their case: the configuration is 'simple'.

-- A regular expression takes a fifth of the time of translate, which compares each character with all of these.
create or replace function weir.search_text(text text) returns text language sql immutable
  return regexp_replace(text, E'[][{}()<>"''`:;,.!?@#$%^&*+=_/\\\\|~\t\n\r-]+', ' ', 'g');
comment on function weir.search_text(text) is 'Internal. A text with spaces in place of everything that is no word.';

-- An encrypted value has no words. In JSON, a backslash and a letter stand for a character that separates words.
create or replace function weir.job_words(kind text, args jsonb, tags text[] default null) returns tsvector
language sql immutable as $$
  select to_tsvector('pg_catalog.simple', weir.search_text(concat_ws(' ', kind, array_to_string(tags, ' '),
    case when not weir.is_encrypted(args) then
      replace(replace(replace(replace(left(args::text, 65536), '\\', ' '), '\n', ' '), '\t', ' '), '\r', ' ') end)))
$$;
comment on function weir.job_words(text, jsonb, text[]) is
  'The words of a job''s kind, args (their first 65,536 characters as text) and tags, to search for with @@; sealed '
  'partitions of job have an index of them.';

create or replace function weir.error_words(error jsonb) returns tsvector language sql immutable
  return to_tsvector('pg_catalog.simple', weir.search_text(coalesce(error ->> 'type', '') || ' '
    || coalesce(error ->> 'message', '')));
comment on function weir.error_words(jsonb) is
  'The words of an error''s type and message, to search for with @@; sealed partitions of job_outcome and job_event '
  'have an index of them.';

-- websearch_to_tsquery would split order-17 in another way than the texts are split, so such a word becomes a phrase.
create or replace function weir.search_query(search text) returns tsquery language sql immutable as $$
  select case when numnode(q.query) > 0 then q.query end from (
    select websearch_to_tsquery('pg_catalog.simple', string_agg(case
      when m[2] is not null then m[1] || '"' || weir.search_text(m[2]) || '"'
      when w.word ~ ' ' then m[3] || '"' || w.word || '"' else m[3] || w.word end, ' ' order by n)) as query
    from regexp_matches(search, '(-?)"([^"]*)"|(-?)([^\s"]+)', 'g') with ordinality u(m, n)
    cross join lateral (select trim(weir.search_text(m[4])) as word) w
    where trim(weir.search_text(coalesce(m[2], m[4]))) <> '') q
$$;
comment on function weir.search_query(text) is
  'What to search for with @@ in weir.job_words and weir.error_words: words that must all be there, "phrases", or, and '
  '-words that must not. Null: there is no word.';
