-- Dead letters as views show them.

create or replace view weir.dead_letters as
select d.job_id, d.died_at, q.name as queue, j.kind, j.tenant, coalesce(j.tags, '{}') as tags, o.attempt,
  o.error ->> 'type' as error_type, o.error ->> 'message' as error_message,
  o.worker, j.args, j.created_at,
  (select count(*) from weir.job_event e where e.job_id = d.job_id and e.kind = 'redriven')::int as redrives,
  (select e.detail ->> 'by' from weir.job_event e where e.job_id = d.job_id and e.kind = 'redriven' order by e.at desc
    limit 1) as redriven_by,
  d.died_at + make_interval(secs => q.dead_retention_seconds) as kept_until
from weir.job_dead d
join weir.queue q on q.id = d.queue_id
join weir.job j on j.id = d.job_id
join weir.job_outcome o on o.job_id = d.job_id;
comment on view weir.dead_letters is
  'One row a dead letter: what died, when and why. weir.redrive runs it again, weir.purge_dead removes it; weir.jobs '
  'has its failed attempts.';
comment on column weir.dead_letters.job_id is 'weir.job.id';
comment on column weir.dead_letters.died_at is 'When it died.';
comment on column weir.dead_letters.queue is 'The name of its queue.';
comment on column weir.dead_letters.kind is 'What the worker should have done.';
comment on column weir.dead_letters.tenant is 'On whose behalf it ran.';
comment on column weir.dead_letters.tags is 'Labels to find it by.';
comment on column weir.dead_letters.attempt is 'Attempts made.';
comment on column weir.dead_letters.error_type is 'The class of its last error.';
comment on column weir.dead_letters.error_message is 'Its last error.';
comment on column weir.dead_letters.worker is 'Name of the worker that held it last.';
comment on column weir.dead_letters.args is 'What it should have been done with.';
comment on column weir.dead_letters.created_at is 'When it was enqueued.';
comment on column weir.dead_letters.redrives is 'How often it was run again after it had died before.';
comment on column weir.dead_letters.redriven_by is 'Requester of the last redrive, if given.';
comment on column weir.dead_letters.kept_until is
  'It is purged soon after that: died_at plus dead_retention_seconds of its queue.';
