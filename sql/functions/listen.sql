-- Wake-ups. A NOTIFY takes one lock for the whole database at commit, so weir sends one only while a claim waits: a
-- node whose workers find a queue empty parks there, and each statement that makes a job available in a parked queue
-- notifies once. The race: an enqueuer may see no parked node, and commit after a node has parked and found nothing.
-- Its transaction was writing to job_ready when the node parked, so the node ticks the watermark at once, before it
-- claims again. That claim finds the jobs of every transaction that has ended by then; the next ticks see the others
-- end (weir.watermark.late_tick).

create or replace function weir.park(queues text[], node text, seconds int default 30) returns void
language plpgsql as $$
#variable_conflict use_variable
begin
  perform weir.require_queues('worker', queues);
  insert into weir.parked as p (queue, node, until)
  select distinct q, park.node, clock_timestamp() + make_interval(secs => seconds) from unnest(queues) q order by q
  on conflict on constraint parked_pkey do update set until = excluded.until;
end $$;
comment on function weir.park(text[], text, int) is
  'From its commit on, jobs that become available in these queues are notified on channel weir_ready, for this '
  'many seconds. The payload is the queues'' names separated by commas, or empty: any queue. LISTEN first, then park, '
  'then claim once more.';

create or replace function weir.unpark(queues text[], node text) returns void language plpgsql as $$
#variable_conflict use_variable
begin
  perform weir.require_queues('worker', queues);
  delete from weir.parked p where p.node = unpark.node and p.queue = any (queues)
    or p.until < clock_timestamp() - interval '1 minute';
end $$;
comment on function weir.unpark(text[], text) is
  'Ends the notifications for this node; also removes rows that expired over a minute ago.';

create or replace function weir.wake(queues text[]) returns void language plpgsql as $$
declare
  waiting text := (select string_agg(distinct p.queue, ',') from weir.parked p where p.queue = any (queues)
    and p.until > clock_timestamp());
begin
  if waiting is not null then
    perform pg_notify('weir_ready', case when octet_length(waiting) < 7900 then waiting else '' end);
  end if;
end $$;
comment on function weir.wake(text[]) is
  'Internal. Notifies for those of these queues where a node is parked. At most one NOTIFY.';
