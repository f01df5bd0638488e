-- Presets: filters of jobs under a name.

create or replace view weir.presets as
select p.name, p.tenant, p.title, p.description, p.filter, p.queues, false as built_in, p.created_at, p.updated_at
from weir.preset p
union all
select b.name, null, b.title, b.description, b.filter::jsonb, '{}', true, null, null
from (values
    ('cancelled_today', 'Cancelled today', 'Jobs that were cancelled since the day of UTC began.',
      '{"state": "cancelled", "finished_after": "today"}'),
    ('enqueued_lately', 'Enqueued lately', 'Jobs that were enqueued within the last 15 minutes.',
      '{"created_after": "-15m"}'),
    ('failed_lately', 'Failed lately', 'Jobs that died within the last hour.',
      '{"state": "dead", "finished_after": "-1h"}'),
    ('failed_today', 'Failed today', 'Jobs that died since the day of UTC began.',
      '{"state": "dead", "finished_after": "today"}'),
    ('held', 'Held', 'Jobs that wait for a limit, a circuit breaker, a dependency or a signal.', '{"state": "held"}'),
    ('high_priority_pending', 'High priority, pending', 'Jobs of priority 8 to 10 that have not started.',
      '{"state": ["available", "scheduled", "retryable", "held"], "min_priority": 8}'),
    ('many_retries', 'Many retries', 'Jobs with at least four attempts, so three retries or more.',
      '{"min_attempts": 4}'),
    ('never_retried', 'Never retried', 'Jobs with one attempt at most.', '{"max_attempts": 1}'),
    ('recently_completed', 'Recently completed', 'Jobs that were completed within the last hour.',
      '{"state": "completed", "finished_after": "-1h"}'),
    ('retrying', 'Retrying', 'Jobs that failed and wait for their next attempt.', '{"state": "retryable"}'),
    ('slow_today', 'Slow today', 'Jobs that were completed since the day of UTC began and ran for over five minutes.',
      '{"state": "completed", "min_run_seconds": 300, "finished_after": "today"}'),
    ('stuck', 'Stuck over an hour', 'Jobs that have been running for over an hour.',
      '{"state": "running", "started_before": "-1h"}'),
    ('waiting_long', 'Waiting for long', 'Jobs that have been available for over ten minutes.',
      '{"state": "available", "min_wait_seconds": 600}')) b(name, title, description, filter);
comment on view weir.presets is
  'One row a preset: a filter of jobs under a name, built in or saved with weir.set_preset. weir.preset_filter returns '
  'the filter of one as of now.';
comment on column weir.presets.built_in is 'It came with weir and cannot be changed.';

select weir.describe_columns('weir.presets', 'weir.preset');
