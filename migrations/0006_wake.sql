-- Wake-ups. A NOTIFY takes one lock for the whole database at commit, so there is none while nobody waits: a node whose workers
-- find a queue empty parks there, and whoever makes a job available in a parked queue notifies, once a statement.
--
-- The race: an enqueuer may look here, see nobody, and commit after a node has parked and looked in vain. Its transaction
-- was writing to job_ready when the node parked, so the node ticks the watermark at once, before it looks again: who is not among the writers then is
-- found by that look, and the end of those who are is seen by the next ticks (weir.watermark.late_tick).
--
-- +goose Up
create table weir.parked (
  queue text not null,
  node text not null,
  until timestamptz not null,
  constraint parked_pkey primary key (queue, node)
);
comment on table weir.parked is 'Who waits for jobs of a queue and listens on channel weir_ready.';
comment on column weir.parked.queue is 'Name of the queue; it need not exist yet.';
comment on column weir.parked.node is 'Any name that tells the waiting processes apart.';
comment on column weir.parked.until is 'Notified until then, by the database''s clock.';

-- +goose StatementBegin
create function weir.park(queues text[], node text, seconds int default 30) returns void language sql as $$
  insert into weir.parked as p (queue, node, until)
  select distinct q, park.node, clock_timestamp() + make_interval(secs => seconds) from unnest(queues) q order by q
  on conflict on constraint parked_pkey do update set until = excluded.until
$$;

create function weir.unpark(queues text[], node text) returns void language sql as $$
  delete from weir.parked p where p.node = unpark.node and p.queue = any (queues) or p.until < clock_timestamp() - interval '1 minute'
$$;

create function weir.wake(queues text[]) returns void language plpgsql as $$
declare
  waiting text := (select string_agg(distinct p.queue, ',') from weir.parked p where p.queue = any (queues) and p.until > clock_timestamp());
begin
  if waiting is not null then
    perform pg_notify('weir_ready', case when octet_length(waiting) < 7900 then waiting else '' end);
  end if;
end $$;

create function weir.resume_queue(name text) returns void language plpgsql as $$
begin
  update weir.queue q set paused_at = null, pause_reason = null, resume_at = null where q.id = weir.queue_id(resume_queue.name);
  perform weir.wake(array[resume_queue.name]);
end $$;

-- Claims go by the clock; this tells those who wait. Locks: the rows of the queues whose pause is over.
create function weir.resume_due(out resumed int, out next_at timestamptz) language plpgsql as $$
declare
  names text[];
begin
  with due as (
    update weir.queue q set paused_at = null, pause_reason = null, resume_at = null where q.resume_at <= clock_timestamp() returning q.name
  )
  select array_agg(d.name) into names from due d;
  resumed := coalesce(cardinality(names), 0);
  if resumed > 0 then
    perform weir.wake(names);
  end if;
  next_at := (select min(q.resume_at) from weir.queue q);
end $$;
-- +goose StatementEnd
comment on function weir.park(text[], text, int) is
  'From its commit on, jobs that become available in these queues are notified on channel weir_ready, for so many seconds. '
  'The payload is the queues'' names with commas between, or empty: any queue. LISTEN first, then park, then claim once more.';
comment on function weir.unpark(text[], text) is 'No more notifications for this node; also sweeps what ran out over a minute ago.';
comment on function weir.wake(text[]) is 'Internal. Notifies those of these queues where somebody is parked. At most one NOTIFY.';
comment on function weir.resume_queue(text) is 'Ends a pause. Errors: WR011.';
comment on function weir.resume_due() is
  'Wakes those who wait for jobs of queues whose pause is over (resume_at). Every node calls it, at resume_at or a second later. Returns how many, and when the next one is due.';

-- +goose Down
drop function weir.resume_due(), weir.resume_queue(text), weir.wake(text[]), weir.unpark(text[], text), weir.park(text[], text, int);
drop table weir.parked;
