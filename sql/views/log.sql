-- Logs of jobs, for reading.

create or replace view weir.job_logs as
select l.job_id, l.number, l.at, l.attempt, l.level, coalesce(l.message, '(encrypted)') as message, l.fields,
  l.encrypted, 0 as dropped, q.name as queue, j.tenant
from weir.job_log l join weir.job j on j.id = l.job_id join weir.queue q on q.id = j.queue_id
union all
select t.job_id, t.lines + 1, t.dropped_at, t.dropped_attempt, 'warn',
  'lines dropped: ' || t.dropped || '; a log has at most 10,000 lines and 4 MiB', null, null, t.dropped, q.name,
  j.tenant
from weir.job_log_total t join weir.job j on j.id = t.job_id join weir.queue q on q.id = j.queue_id
where t.dropped > 0;
comment on view weir.job_logs is
  'Lines of the logs of jobs, as weir.log stored them. Give a job_id, and order by number. Of a log that was full, the '
  'last line says how many were dropped.';
comment on column weir.job_logs.job_id is 'The job that the line is about.';
comment on column weir.job_logs.number is 'Its place in the job''s log, from 1, over all attempts.';
comment on column weir.job_logs.at is 'When it was written, as its worker says, or else when it came.';
comment on column weir.job_logs.attempt is 'The attempt that wrote it.';
comment on column weir.job_logs.level is 'debug, info, warn or error.';
comment on column weir.job_logs.message is 'What it says, or (encrypted).';
comment on column weir.job_logs.fields is 'More about it: an object, or null.';
comment on column weir.job_logs.encrypted is 'Message and fields as a node encrypted them; null: they are readable.';
comment on column weir.job_logs.dropped is 'In the last line of a log that was full: how many lines were dropped.';
comment on column weir.job_logs.queue is 'The job''s queue.';
comment on column weir.job_logs.tenant is 'The job''s tenant.';
