-- Sealing: search indexes for partitions that take no more inserts. The current partition has none of them, because
-- they would slow down every enqueue. A function cannot build an index concurrently, so weir.seal_step returns the
-- next statement for its caller to run, one index at a time.

create or replace function weir.search_indexes() returns table (parent text, name text, definition text)
language sql immutable as $$
  values ('job', 'by_kind', '(kind, id)'), ('job', 'by_queue', '(queue_id, id)'),
    ('job', 'by_tenant', '(tenant, id) where tenant is not null'), ('job', 'by_priority', '(priority)'),
    ('job', 'tags', 'using gin (tags) where tags is not null'), ('job', 'args', 'using gin (args jsonb_path_ops)'),
    ('job', 'words', 'using gin (weir.job_words(kind, args, tags))'),
    ('job_outcome', 'by_state', $i$(state, job_id) where state <> 'completed'$i$),
    ('job_outcome', 'by_worker', '(worker)'), ('job_outcome', 'attempts', '(job_id, attempt) where attempt > 1'),
    ('job_outcome', 'error_type', $i$((error ->> 'type')) where (error ->> 'type') is not null$i$),
    ('job_outcome', 'error_words', 'using gin (weir.error_words(error)) where error is not null'),
    ('job_event', 'error_type', $i$((detail ->> 'type')) where kind in ('failed', 'timed_out', 'lost')
      and (detail ->> 'type') is not null$i$),
    ('job_event', 'error_words', $i$using gin (weir.error_words(detail))
      where kind in ('failed', 'timed_out', 'lost')$i$)
$$;
comment on function weir.search_indexes() is 'Internal. The indexes of a sealed partition, by its parent table.';

-- An invalid index was interrupted while it was built, unless another session is building it now. Partitions that
-- retention has rewritten are small and need no index. Locks: the row of the partition, and for its statistics the
-- partition, SHARE UPDATE EXCLUSIVE.
create or replace function weir.seal_step(out partition int, out statement text) language plpgsql set jit = off as $$
#variable_conflict use_column
declare
  settled bigint := (select least(w.seq, (select min(s) from unnest(w.holder_seqs) s)) from weir.watermark w
    order by w.tick desc limit 1);
  p record;
  i record;
  built record;
begin
  for p in
    select x.number, f.facts from weir.job_partition x cross join (values (true), (false)) f(facts)
    where x.kept is null and case when f.facts then x.sealed_at else x.outcomes_sealed_at end is null
      and x.number < (select s.last_value >> 32 from weir.job_id_seq s)
      and settled >= (x.number::bigint + 1) << 32  -- and all transactions that drew its ids have ended
    order by x.number, f.facts desc
  loop
    continue when not p.facts and cardinality(weir.unfinished_job_ids(p.number, 1001)) > 1000;
    for i in select s.parent || '_p' || p.number as child, s.parent || '_p' || p.number || '_'
      || s.name as index_name, s.definition
      from weir.search_indexes() s where (s.parent = 'job') = p.facts
    loop
      select x.indexrelid, x.indisvalid as valid into built from pg_class c join pg_index x on x.indexrelid = c.oid
      where c.relname = i.index_name and c.relnamespace = 'weir'::regnamespace;
      continue when built.valid;
      partition := p.number;
      if built.indexrelid is null then
        statement := format('create index concurrently %I on weir.%I %s', i.index_name, i.child, i.definition);
      elsif not exists (select from pg_stat_progress_create_index g where g.index_relid = built.indexrelid) then
        statement := format('drop index concurrently weir.%I', i.index_name);
      end if;
      return;
    end loop;
    -- Of an expression there are statistics only when its index has been analysed.
    for i in select distinct s.parent || '_p' || p.number as child from weir.search_indexes() s
      where (s.parent = 'job') = p.facts
    loop
      execute format('analyze weir.%I', i.child);
    end loop;
    if p.facts then
      update weir.job_partition x set sealed_at = clock_timestamp() where x.number = p.number;
    else
      perform weir.make_zones(p.number);
      update weir.job_partition x set outcomes_sealed_at = clock_timestamp() where x.number = p.number;
    end if;
  end loop;
end $$;
comment on function weir.seal_step() is
  'The next statement that seals a partition which takes no more jobs: it builds one search index, or drops one '
  'whose build was interrupted. Null: nothing is left, or another session is building one. Run it outside of a '
  'transaction. The service does so, one at a time; in psql, \gexec does.';
