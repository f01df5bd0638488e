-- Retry policies: how long a job waits after a failed attempt.

create or replace function weir.retry_delay(policy jsonb, attempt int) returns interval language sql volatile
  return make_interval(secs => least(
      coalesce((policy ->> 'max_seconds')::float8, 3600),
      coalesce((policy ->> 'base_seconds')::float8, 2) * case policy ->> 'strategy'
        when 'fixed' then 1
        when 'linear' then attempt
        else 2.0 ^ least(attempt - 1, 60)
      end)
    * case when coalesce((policy ->> 'jitter')::boolean, true) then random() else 1 end);
comment on function weir.retry_delay(jsonb, int) is
  'How long to wait after failed attempt number `attempt` (1, 2, …). base_seconds (default 2) times 1 (fixed), '
  'attempt (linear) or 2^(attempt-1) (exponential, the default), at most max_seconds (default 3600); with jitter '
  '(the default) a uniformly random part of that: "full jitter", M. Brooker, Exponential Backoff And Jitter, 2015.';

create or replace function weir.retry_problem(policy jsonb) returns text language sql immutable as $$
  select case
    when jsonb_typeof(policy) <> 'object' then 'must be an object {strategy, base_seconds, max_seconds, jitter}'
    when policy - '{strategy,base_seconds,max_seconds,jitter}'::text[] <> '{}'
      then 'knows only strategy, base_seconds, max_seconds and jitter'
    when coalesce(policy ->> 'strategy', 'exponential') not in ('fixed', 'linear', 'exponential')
      then 'needs a strategy of fixed, linear or exponential'
    when weir.number_problem(policy -> 'base_seconds', 0, 604800) is not null then 'needs base_seconds from 0 to 604800'
    when weir.number_problem(policy -> 'max_seconds', 0, 604800) is not null then 'needs max_seconds from 0 to 604800'
    when policy ? 'jitter' and jsonb_typeof(policy -> 'jitter') <> 'boolean' then 'needs jitter true or false'
  end
$$;
comment on function weir.retry_problem(jsonb) is 'Internal. What is wrong with a retry policy, or null.';

create or replace function weir.default_retry() returns jsonb language sql immutable as $$
  select '{"strategy": "exponential", "base_seconds": 2, "max_seconds": 3600, "jitter": true}'::jsonb
$$;
comment on function weir.default_retry() is 'The retry policy where neither the job nor its queue has one.';
