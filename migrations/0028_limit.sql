-- Limits: how much of a queue, of one key or of one tenant may be in flight, how fast, and who gets which share.
--
-- A queue with limits is governed. Its jobs wait in lines (job_held, reason line), one line a key or a tenant or both, and the admitter
-- (0035_admit.sql) moves them to where claims look. Which line a job waits in depends on what the limits tell apart (weir.queue.line_by), so a line's name
-- begins with that: '0' (nothing: one line), '1' and the key, '2' and the tenant, '3', the tenant, the character 31 and the key.
--
-- What is enqueued goes straight into its line, with a note of it in line_news. Whatever becomes available in any other way (a delay that is over, a retry,
-- a release) is put into job_ready under the queue's id, as in a queue without limits; there the admitter finds it, and nobody else looks. The places
-- that claims read are job_ready under minus the id.
--
-- +goose Up
create table weir.limit_override (
  queue_id int not null,
  what text not null constraint override_is_of_a_key_or_a_tenant check (what in ('key', 'tenant')),
  name text not null,
  concurrency int constraint concurrency_is_1_to_a_million check (concurrency between 1 and 1000000),
  per_second float8 constraint rate_is_above_0 check (per_second > 0),
  burst float8 constraint burst_is_1_or_more check (burst >= 1),
  weight float8 constraint weight_is_above_0 check (weight > 0),
  constraint limit_override_pkey primary key (queue_id, what, name)
);
comment on table weir.limit_override is 'Limits of single keys and tenants, in place of those that weir.queue.limits has for all. weir.limits shows both.';
comment on column weir.limit_override.queue_id is 'weir.queue.id';
comment on column weir.limit_override.what is 'key or tenant.';
comment on column weir.limit_override.name is 'Which.';
comment on column weir.limit_override.concurrency is 'So many of its jobs may be in flight; null: as the queue says for all keys.';
comment on column weir.limit_override.per_second is 'So many of its jobs are admitted a second in the long run; null: as the queue says for all keys.';
comment on column weir.limit_override.burst is 'So many at once, after a rest.';
comment on column weir.limit_override.weight is 'The tenant''s share, in proportion to those of the others that wait; null: as the queue says.';

-- +goose StatementBegin
create function weir.rate_problem(rate jsonb, field text) returns text[] language sql immutable as $$
  select case
    when rate is null or jsonb_typeof(rate) = 'null' then null
    when jsonb_typeof(rate) <> 'object' then array[field, 'must be an object {per_second, burst}']
    when rate - '{per_second,burst}'::text[] <> '{}' then array[field || '.' || weir.first_key(rate - '{per_second,burst}'::text[]), 'is no part of a rate']
    when rate ->> 'per_second' is null then array[field || '.per_second', 'is missing']
    when weir.number_problem(rate -> 'per_second', 0.00001, 1000000) is not null then array[field || '.per_second', 'must be a number from 0.00001 to 1000000']
    when weir.integer_problem(rate -> 'burst', 1, 1000000) is not null then array[field || '.burst', weir.integer_problem(rate -> 'burst', 1, 1000000)]
  end
$$;

create function weir.limits_problem(limits jsonb, field text default 'limits') returns text[] language sql immutable as $$
  select case
    when limits is null or jsonb_typeof(limits) = 'null' then null
    when jsonb_typeof(limits) <> 'object' then array[field, 'must be an object {concurrency, per_key, rate, key_rate, tenants}']
    when limits - '{concurrency,per_key,rate,key_rate,tenants}'::text[] <> '{}'
      then array[field || '.' || weir.first_key(limits - '{concurrency,per_key,rate,key_rate,tenants}'::text[]), 'is no limit']
    when weir.integer_problem(limits -> 'concurrency', 1, 1000000) is not null then array[field || '.concurrency', weir.integer_problem(limits -> 'concurrency', 1, 1000000)]
    when weir.integer_problem(limits -> 'per_key', 1, 1000000) is not null then array[field || '.per_key', weir.integer_problem(limits -> 'per_key', 1, 1000000)]
    when weir.rate_problem(limits -> 'rate', '') is not null then weir.rate_problem(limits -> 'rate', field || '.rate')
    when weir.rate_problem(limits -> 'key_rate', '') is not null then weir.rate_problem(limits -> 'key_rate', field || '.key_rate')
    when limits ->> 'tenants' is null then null
    when jsonb_typeof(limits -> 'tenants') <> 'object' then array[field || '.tenants', 'must be an object {weights}']
    when (limits -> 'tenants') - 'weights' <> '{}' then array[field || '.tenants.' || weir.first_key((limits -> 'tenants') - 'weights'), 'is no setting of tenants']
    when limits #>> '{tenants,weights}' is null then null
    when jsonb_typeof(limits #> '{tenants,weights}') <> 'object' then array[field || '.tenants.weights', 'must be an object of numbers']
    when pg_column_size(limits) > 65536 then array[field || '.tenants.weights', 'must be at most 64 KiB', 'weir.set_limit sets the weight of one tenant.']
    else (select array[field || '.tenants.weights', 'must be names of 1 to 200 characters with numbers from 0.001 to 1000']
      from jsonb_each(limits #> '{tenants,weights}') w
      where length(w.key) not between 1 and 200 or jsonb_typeof(w.value) <> 'number' or weir.number_problem(w.value, 0.001, 1000) is not null limit 1)
  end
$$;

create function weir.line_name(line_by int, tenant text, key text) returns text language sql immutable as $$
  select case line_by when 0 then '0' when 1 then '1' || coalesce(key, '') when 2 then '2' || coalesce(tenant, '') else '3' || coalesce(tenant, '') || e'\x1f' || coalesce(key, '') end
$$;

create function weir.line_tenant(name text) returns text language sql immutable as $$
  select case left(name, 1) when '2' then substr(name, 2) when '3' then split_part(substr(name, 2), e'\x1f', 1) else '' end
$$;

create function weir.line_key(name text) returns text language sql immutable as $$
  select case left(name, 1) when '1' then substr(name, 2) when '3' then split_part(name, e'\x1f', 2) else '' end
$$;

-- Locks: the queue's row. The admitter sees the new version at its next pass, a tenth of a second later at the latest (a fifth, if no queue had limits before).
create function weir.govern(queue_id int) returns void language plpgsql as $$
declare
  keyed boolean;
  shared boolean;
begin
  perform from weir.queue q where q.id = govern.queue_id for no key update;
  select coalesce(q.limits ?| '{per_key,key_rate}', false) or exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'key'),
    coalesce(q.limits ? 'tenants', false) or exists (select from weir.limit_override o where o.queue_id = q.id and o.what = 'tenant')
    into keyed, shared from weir.queue q where q.id = govern.queue_id;
  update weir.queue q set
    governed = q.limits is not null or keyed or shared,
    line_by = case when q.limits is not null or keyed or shared then keyed::int + 2 * shared::int end,
    limits_version = q.limits_version + 1
  where q.id = govern.queue_id;
end $$;

create function weir.set_limit(queue text, key text default null, tenant text default null, limits jsonb default null) returns void language plpgsql as $$
#variable_conflict use_variable
declare
  q int := weir.queue_id(set_limit.queue);
  field text := case when key is not null then 'key' else 'tenant' end;
  bad text;
begin
  if (key is null) = (tenant is null) then
    perform weir.refuse_argument('key', 'and tenant exclude each other, and one of them must be given');
  elsif length(coalesce(key, tenant)) not between 1 and 200 or coalesce(key, tenant) ~ '[\x01-\x1f]' then
    perform weir.refuse_argument(field, 'must be 1 to 200 characters, none of them a control character');
  elsif jsonb_typeof(limits) not in ('object', 'null') then
    perform weir.refuse_argument('limits', 'must be an object {concurrency, rate, weight}');
  end if;
  limits := nullif(jsonb_strip_nulls(nullif(limits, 'null')), '{}');
  bad := weir.first_key(limits - case when field = 'key' then '{concurrency,rate}'::text[] else '{weight,concurrency}' end);
  if bad is not null then
    perform weir.refuse_argument(bad, case field when 'key' then 'is no limit of a key' else 'is no limit of a tenant' end, 'A key has concurrency and rate, a tenant weight and concurrency.');
  elsif weir.integer_problem(limits -> 'concurrency', 1, 1000000) is not null then
    perform weir.refuse_argument('concurrency', weir.integer_problem(limits -> 'concurrency', 1, 1000000));
  elsif weir.number_problem(limits -> 'weight', 0.001, 1000) is not null then
    perform weir.refuse_argument('weight', weir.number_problem(limits -> 'weight', 0.001, 1000));
  elsif weir.rate_problem(limits -> 'rate', 'rate') is not null then
    perform weir.refuse_argument((weir.rate_problem(limits -> 'rate', 'rate'))[1], (weir.rate_problem(limits -> 'rate', 'rate'))[2]);
  end if;
  perform from weir.queue x where x.id = q for no key update;
  delete from weir.limit_override o where o.queue_id = q and o.what = field and o.name = coalesce(key, tenant);
  if limits is not null then
    insert into weir.limit_override (queue_id, what, name, concurrency, per_second, burst, weight)
    values (q, field, coalesce(key, tenant), (limits ->> 'concurrency')::numeric::int, (limits #>> '{rate,per_second}')::float8,
      case when limits ? 'rate' then weir.rate_burst(limits -> 'rate') end, (limits ->> 'weight')::float8);
  end if;
  perform weir.govern(q);
end $$;

create function weir.rate_burst(rate jsonb) returns float8 language sql immutable as $$
  select coalesce((rate ->> 'burst')::float8, greatest(1, ceil((rate ->> 'per_second')::float8)))
$$;
-- +goose StatementEnd
comment on function weir.rate_problem(jsonb, text) is 'Internal. What is wrong with a rate: its field and why, or null.';
comment on function weir.limits_problem(jsonb, text) is 'Internal. What is wrong with the limits of a queue: the field and why, or null.';
comment on function weir.line_name(int, text, text) is 'Internal. The line of a job, from what the limits tell apart and the job''s tenant and key.';
comment on function weir.line_tenant(text) is 'Internal. The tenant in a line''s name; empty: none.';
comment on function weir.line_key(text) is 'Internal. The concurrency key in a line''s name; empty: none.';
comment on function weir.govern(int) is 'Internal. Works out from a queue''s limits and overrides whether it is governed, and what its lines tell apart.';
comment on function weir.rate_burst(jsonb) is 'Internal. The burst of a rate: what it says, or what comes in a second, at least one.';
comment on function weir.set_limit(text, text, text, jsonb) is
  'Gives one key ({concurrency, rate: {per_second, burst}}) or one tenant ({weight, concurrency}) of a queue limits of its own, in place of those for all; null or {} takes them away. '
  'What is not named is as for all. In force within a second. Errors: WR010, WR011.';

create sequence weir.line_tick as bigint;
comment on sequence weir.line_tick is 'Draws the versions of lines and their turns.';

-- Written only by the admitter of the queue, one session at a time; a change is a new row in place of the old. Read newest first, which costs one index
-- probe however many dead rows lie behind. Rows of lines where nothing waits and nothing is in flight are removed.
create table weir.line (
  queue_id int not null,
  name text collate "C" not null,
  tick bigint not null,
  tenant text collate "C" not null,
  in_flight int not null,
  waiting int not null,
  priorities smallint[] not null,
  floors bigint[] not null,
  turn bigint,
  priority smallint,
  tokens float8,
  tokens_at timestamptz,
  rest_until timestamptz,
  constraint line_pkey primary key (queue_id, name, tick)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
create index line_open on weir.line (queue_id, tenant, priority, turn) where turn is not null;
create index line_resting on weir.line (queue_id, rest_until) where rest_until is not null;
comment on table weir.line is 'One row a line where something waits or is in flight, as the admitter last left it. weir.lines shows them as they are now.';
comment on column weir.line.queue_id is 'weir.queue.id';
comment on column weir.line.name is 'weir.line_name of its jobs; job_held.key of those that wait in it.';
comment on column weir.line.tick is 'Drawn from line_tick at each change.';
comment on column weir.line.tenant is 'The tenant whose share it uses; empty: none.';
comment on column weir.line.in_flight is 'How many of its jobs are in flight, and what line_news says of them is yet to be taken off: in job_ready under minus the queue''s id, in job_lease, or in line_kept.';
comment on column weir.line.waiting is 'About how many jobs wait in it: those that were cancelled are noticed late.';
comment on column weir.line.priorities is 'The priorities of the jobs that wait in it, the highest first; empty: nothing waits.';
comment on column weir.line.floors is 'For each of these priorities: the jobs that wait have an id (job_held.seq) above this.';
comment on column weir.line.turn is 'Its place among the open lines of its tenant and priority, drawn from line_tick; null: nothing waits, or a limit of its own keeps it closed.';
comment on column weir.line.priority is 'The highest of priorities, while it is open.';
comment on column weir.line.tokens is 'What its rate allows at once, at tokens_at; null: it has no rate.';
comment on column weir.line.tokens_at is 'When that was so.';
comment on column weir.line.rest_until is 'It has a rate, and is looked at again then.';

create table weir.tenant_share (
  queue_id int not null,
  tenant text collate "C" not null,
  tick bigint not null,
  open int not null,
  in_flight int not null,
  start float8 not null,
  takes boolean not null,
  passed bigint[] not null,
  constraint tenant_share_pkey primary key (queue_id, tenant, tick)
);
create index tenant_share_start on weir.tenant_share (queue_id, start) where takes;
comment on table weir.tenant_share is 'One row a tenant with lines, where tenants are told apart, as the admitter last left it: whose turn is next.';
comment on column weir.tenant_share.queue_id is 'weir.queue.id';
comment on column weir.tenant_share.tenant is 'Which; empty: jobs without a tenant.';
comment on column weir.tenant_share.tick is 'Drawn from line_tick at each change.';
comment on column weir.tenant_share.open is 'Its open lines.';
comment on column weir.tenant_share.in_flight is 'Its jobs in flight.';
comment on column weir.tenant_share.start is
  'Its place in virtual time, which each of its jobs moves on by 1/weight: start-time fair queueing (P. Goyal, H. Vin, H. Cheng, 1996). The lowest is served next.';
comment on column weir.tenant_share.takes is 'It has open lines, and its own concurrency has room.';
comment on column weir.tenant_share.passed is 'For priority 1 to 10: its open lines have a turn above this.';

create table weir.admission (
  queue_id int not null,
  tick bigint not null,
  version bigint not null,
  line_by smallint,
  phase text not null constraint phase_is_known check (phase in ('adopting', 'sorting', 'open', 'closing')),
  since timestamptz not null,
  holders text[] not null default '{}',
  news_after bigint not null,
  news_among bigint[] not null default '{}',
  in_flight int not null default 0,
  lines_waiting int not null default 0,
  virtual_time float8 not null default 0,
  passed bigint[] not null,
  tokens float8,
  tokens_at timestamptz,
  ready_after bigint[] not null,
  tip bigint not null default 0,
  asked_at timestamptz not null default '-infinity',
  ahead int not null,
  rested_until timestamptz not null default '-infinity',
  passed_at timestamptz not null default '-infinity',
  rate_until timestamptz,
  admitted bigint not null default 0,
  constraint admission_pkey primary key (queue_id, tick)
);
comment on table weir.admission is 'One row a governed queue: how the admitter left it. Written only by the admitter; read newest first.';
comment on column weir.admission.queue_id is 'weir.queue.id';
comment on column weir.admission.tick is 'Drawn from line_tick at each change.';
comment on column weir.admission.version is 'The weir.queue.limits_version that it goes by.';
comment on column weir.admission.line_by is 'The weir.queue.line_by that its lines were made by.';
comment on column weir.admission.phase is
  'adopting: the queue has just become governed, and what runs already is taken into account; sorting: what waits is put into other lines; open: it admits; closing: what waits goes back to where a plain queue has it.';
comment on column weir.admission.since is 'When the phase began.';
comment on column weir.admission.holders is 'While adopting: the transactions (pid:virtual transaction id) that may still claim as from a plain queue.';
comment on column weir.admission.news_after is 'It has read the news of all transactions below this id that are not in news_among.';
comment on column weir.admission.news_among is 'The transactions below news_after that were under way when it last read the news.';
comment on column weir.admission.in_flight is 'Jobs in flight: admitted, and neither ended nor back in a line.';
comment on column weir.admission.lines_waiting is 'Lines where something waits.';
comment on column weir.admission.passed is 'Where no tenants are told apart: as weir.tenant_share.passed.';
comment on column weir.admission.virtual_time is 'No tenant''s start is below this.';
comment on column weir.admission.tokens is 'What the queue''s rate allows at once, at tokens_at. Claims take from it, not admissions; what is admitted and not claimed is set apart.';
comment on column weir.admission.tokens_at is 'When that was so.';
comment on column weir.admission.ready_after is 'For priority 1 to 10: what it has admitted and nobody has claimed has a seq above this.';
comment on column weir.admission.tip is 'All that it has admitted has a seq up to this.';
comment on column weir.admission.asked_at is 'When a claim last asked for a pass and got something. Until a second later nothing is admitted ahead of claims.';
comment on column weir.admission.ahead is 'How many it admits ahead of claims that did not ask.';
comment on column weir.admission.rested_until is 'Lines that rested until then have been looked at.';
comment on column weir.admission.passed_at is 'When it last looked at what came and went.';
comment on column weir.admission.rate_until is 'The queue''s rate allows nothing before; null: it does not keep anything.';
comment on column weir.admission.admitted is 'Jobs admitted so far.';

create table weir.line_kept (
  job_id bigint not null constraint line_kept_pkey primary key,
  queue_id int not null,
  name text collate "C" not null
);
comment on table weir.line_kept is
  'Jobs that wait for another attempt and keep their line in the meantime, because it has a limit of one: nothing else of it runs until they have ended. They are in job_scheduled, or in job_ready under the queue''s id.';
comment on column weir.line_kept.job_id is 'weir.job.id';
comment on column weir.line_kept.queue_id is 'weir.queue.id';
comment on column weir.line_kept.name is 'The line.';

-- What others tell the admitter. Nobody waits for anybody here: rows are inserted in the transactions of those who enqueue and complete, found by the id of
-- their transaction, and deleted by the admitter when it has read them.
create table weir.line_news (
  queue_id int not null,
  xid bigint not null default pg_current_xact_id()::text::bigint,
  came text[],
  priorities smallint[],
  floors bigint[],
  counts int[],
  went text[],
  went_jobs bigint[],
  claimed int,
  claimed_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0, toast_tuple_target = 8160);
-- They are read once, and soon: compressing them would cost more than all else about them.
alter table weir.line_news alter came set storage external, alter priorities set storage external, alter floors set storage external, alter counts set storage external,
  alter went set storage external, alter went_jobs set storage external;
create index line_news_xid on weir.line_news (queue_id, xid);
comment on table weir.line_news is 'What happened to lines and the admitter does not know yet: one row a statement that put jobs into lines, took jobs out of flight, or claimed at a rate.';
comment on column weir.line_news.queue_id is 'weir.queue.id';
comment on column weir.line_news.xid is 'The transaction that it happened in.';
comment on column weir.line_news.came is 'Lines that jobs came to.';
comment on column weir.line_news.priorities is 'The priorities of those jobs, one row a line and priority.';
comment on column weir.line_news.floors is 'Just below the lowest id among them.';
comment on column weir.line_news.counts is 'How many came.';
comment on column weir.line_news.went is 'Lines of jobs that are no longer in flight, one entry a job.';
comment on column weir.line_news.went_jobs is 'Those jobs.';
comment on column weir.line_news.claimed is 'Of a queue with a rate: how many were claimed.';
comment on column weir.line_news.claimed_at is 'When they were.';

create type weir.line_leaver as (queue_id int, job_id bigint, name text, waits boolean);
comment on type weir.line_leaver is 'Internal. A job that has left its lease or its place: its queue, its line, and whether it goes back to waiting.';

create index job_held_line on weir.job_held (queue_id, key, priority, seq) where reason = 'line';

-- +goose StatementBegin
-- A job is in flight while it is in job_ready under minus the queue's id, in a lease with a line, or in line_kept. Who takes it out of the first two leaves word of
-- it in the same transaction, with what the deletion returned: so nothing is counted twice.
-- leavers: jobs that are no longer in flight. Locks: nothing that is there already.
create function weir.lines_left(leavers weir.line_leaver[]) returns void language plpgsql
set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  queue_ids int[];
begin
  with told as (
    insert into weir.line_news (queue_id, went, went_jobs)
    select l.queue_id, array_agg(l.name), array_agg(l.job_id) from unnest(leavers) l group by l.queue_id
    returning line_news.queue_id
  )
  select array_agg(t.queue_id) into queue_ids from told t;
  -- Those who wait for jobs of a queue are woken where something waits in its lines, so that they have it looked at. Where its rate keeps all of it, they know until when.
  perform weir.wake(array(select q.name from weir.queue q where q.id = any (queue_ids)
    and (select a.lines_waiting > 0 and (a.rate_until > clock_timestamp()) is not true from weir.admission a where a.queue_id = q.id order by a.tick desc limit 1)));
end $$;

-- Those that go back to waiting and whose line has a limit of one keep it; the others are returned.
create function weir.keep_lines(leavers weir.line_leaver[]) returns weir.line_leaver[] language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  if true = any (array(select l.waits from unnest(leavers) l)) then
    with all_of as materialized (
      select l.queue_id, l.job_id, l.name, l.waits, (l.waits and weir.line_key(l.name) <> '' and coalesce(
        (select o.concurrency from weir.limit_override o where o.queue_id = l.queue_id and o.what = 'key' and o.name = weir.line_key(l.name)),
        (select (q.limits ->> 'per_key')::int from weir.queue q where q.id = l.queue_id)) = 1) is true as keeps
      from unnest(leavers) l
    ), kept as (
      insert into weir.line_kept (job_id, queue_id, name) select a.job_id, a.queue_id, a.name from all_of a where a.keeps
    )
    select array_agg((a.queue_id, a.job_id, a.name, a.waits)::weir.line_leaver) into leavers from all_of a where not a.keeps;
  end if;
  return leavers;
end $$;

-- Of jobs that were taken out of the place where claims look, and not by a claim. Of one that has another queue by now, queue_id is the old one.
create function weir.places_left(job_ids bigint[], queue_id int default null) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
begin
  perform weir.lines_left(array(
    select (q.id, j.id, weir.line_name(coalesce(q.line_by, 0), j.tenant, j.concurrency_key), false)::weir.line_leaver
    from weir.job j join weir.queue q on q.id = coalesce(places_left.queue_id, j.queue_id) where j.id = any (job_ids)));
end $$;

-- Of jobs that may have kept their line and were taken out of where they waited for good. Locks: their rows in line_kept, which are gone then.
create function weir.kept_left(job_ids bigint[]) returns void language plpgsql
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  leavers weir.line_leaver[];
begin
  with gone as (
    delete from weir.line_kept k where k.job_id = any (kept_left.job_ids)
      and not exists (select from weir.job_scheduled s where s.job_id = k.job_id and s.queue_id = k.queue_id)
      and not exists (select from weir.job_ready r where r.job_id = k.job_id and r.queue_id = k.queue_id)
    returning k.*
  )
  select array_agg((g.queue_id, g.job_id, g.name, false)::weir.line_leaver) into leavers from gone g;
  if leavers is not null then
    perform weir.lines_left(leavers);
  end if;
end $$;
-- +goose StatementEnd
comment on function weir.lines_left(weir.line_leaver[]) is 'Internal. Leaves word for the admitter of jobs that are no longer in flight.';
comment on function weir.keep_lines(weir.line_leaver[]) is 'Internal. Lets those jobs keep their line that wait and may keep it, and returns the others.';
comment on function weir.places_left(bigint[], int) is 'Internal. Leaves word of jobs that were admitted and taken out again before anybody claimed them.';
comment on function weir.kept_left(bigint[]) is 'Internal. Takes the line from jobs that kept it and wait no longer.';

-- +goose Down
drop function weir.kept_left(bigint[]), weir.places_left(bigint[], int), weir.keep_lines(weir.line_leaver[]), weir.lines_left(weir.line_leaver[]);
drop index weir.job_held_line;
drop type weir.line_leaver;
drop table weir.line_news, weir.line_kept, weir.admission, weir.tenant_share, weir.line;
drop sequence weir.line_tick;
drop function weir.set_limit(text, text, text, jsonb), weir.rate_burst(jsonb), weir.govern(int), weir.line_key(text), weir.line_tenant(text), weir.line_name(int, text, text), weir.limits_problem(jsonb, text), weir.rate_problem(jsonb, text);
drop table weir.limit_override;
