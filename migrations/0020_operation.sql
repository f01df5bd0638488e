-- Operations: work on many rows that is asked for in one call and done in batches, by one worker at a time.
--
-- A batch and the note of it are one transaction, so an operation that is cut off goes on where it was. next_at is when its next batch is due: an
-- operation without an end that is overdue has nobody at it.
--
-- +goose Up
create table weir.operation (
  id bigint generated always as identity constraint operation_pkey primary key,
  kind text not null constraint operation_is_known check (kind in ('redrive_dead', 'purge_dead')),
  state text not null default 'pending' constraint operation_state_is_known check (state in ('pending', 'running', 'completed', 'cancelled')),
  filter jsonb not null,
  keep_attempts boolean not null default false,
  requested_by text,
  rate_per_second float8 constraint rate_is_one_a_day_to_100_thousand_a_second check (rate_per_second between 1.0 / 86400 and 100000),
  total bigint not null,
  done bigint not null default 0,
  failed bigint not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  next_at timestamptz not null default clock_timestamp(),
  passed_at timestamptz not null default 'epoch',
  passed_id bigint not null default 0
);
create index operation_under_way on weir.operation (next_at) where finished_at is null;
comment on table weir.operation is 'Work on many rows, done in batches: which, how far, how fast. Kept for 30 days after its end.';
comment on column weir.operation.id is 'Names it.';
comment on column weir.operation.kind is 'redrive_dead: runs dead letters again. purge_dead: removes them.';
comment on column weir.operation.state is 'pending, running, then completed or cancelled.';
comment on column weir.operation.filter is 'Which dead letters, of those that died before created_at; see weir.count_dead.';
comment on column weir.operation.keep_attempts is 'With redrive_dead: the attempts so far count.';
comment on column weir.operation.requested_by is 'Who asked for it, if they said.';
comment on column weir.operation.rate_per_second is 'At most so many a second; null: as fast as they can be done.';
comment on column weir.operation.total is 'How many there were when it was asked for.';
comment on column weir.operation.done is 'How many are done.';
comment on column weir.operation.failed is 'At its end: how many of total it did not find any more, because somebody else was quicker.';
comment on column weir.operation.created_at is 'When it was asked for.';
comment on column weir.operation.started_at is 'When its first batch began.';
comment on column weir.operation.finished_at is 'When it was completed or cancelled.';
comment on column weir.operation.next_at is 'When its next batch is due.';
comment on column weir.operation.passed_at is 'It has passed all letters that died before then.';
comment on column weir.operation.passed_id is 'Of those that died just then, it has passed the ids up to this one.';

-- +goose StatementBegin
create function weir.start_operation(kind text, filter jsonb default '{}', rate_per_second float8 default null, keep_attempts boolean default false, by text default null)
returns bigint language plpgsql as $$
#variable_conflict use_variable
declare
  new_id bigint;
begin
  if kind is null or kind not in ('redrive_dead', 'purge_dead') then
    perform weir.refuse_argument('kind', 'must be redrive_dead or purge_dead');
  elsif rate_per_second not between 1.0 / 86400 and 100000 then
    perform weir.refuse_argument('rate_per_second', 'must be from 1/86400 to 100000');
  elsif weir.by_problem(by) is not null then
    perform weir.refuse_argument('by', weir.by_problem(by));
  end if;
  insert into weir.operation as o (kind, filter, keep_attempts, requested_by, rate_per_second, total)
  values (kind, filter, coalesce(keep_attempts, false), by, rate_per_second, weir.count_dead(filter)) returning o.id into new_id;
  return new_id;
end $$;

-- One batch. Whoever comes while another is at it gets over = true, as if there were nothing to do. Locks: the operation's row, then those of the letters.
create function weir.work_operation(operation_id bigint, most int default 500, out over boolean, out wait_seconds float8)
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  op weir.operation;
  looked record;
  ids bigint[];
  batch int;
  last int;
  did int := 0;
  now_at timestamptz;
begin
  over := true;
  wait_seconds := 0;
  select * into op from weir.operation o where o.id = operation_id and o.finished_at is null for update skip locked;
  if not found then
    return;
  end if;
  over := false;
  now_at := clock_timestamp();
  if op.next_at > now_at then
    wait_seconds := extract(epoch from op.next_at - now_at);
    return;
  end if;
  batch := least(most, greatest(1, ceil(coalesce(op.rate_per_second, 'infinity') / 4)));
  select array_agg(c.job_id order by c.died_at, c.job_id) as ids, array_agg(c.died_at order by c.died_at, c.job_id) as times, count(*)::int as n into looked from (
    select d.job_id, d.died_at from weir.job_dead d where (d.died_at, d.job_id) > (op.passed_at, op.passed_id) and d.died_at < op.created_at
    order by d.died_at, d.job_id limit 2000) c;
  if looked.n > 0 then
    ids := array(select u.id from weir.dead_passing(looked.ids, op.filter) p(id) join unnest(looked.ids) with ordinality u(id, n) on u.id = p.id order by u.n limit batch);
    last := case when cardinality(ids) = batch then array_position(looked.ids, ids[batch]) else looked.n end;
    if op.kind = 'redrive_dead' then
      did := (select count(*) from weir.run_again(ids, 'redriven', not op.keep_attempts, op.requested_by));
    else
      did := weir.drop_letters(ids, op.requested_by);
    end if;
  end if;
  over := looked.n = 0;
  update weir.operation o set
    state = case when over then 'completed' else 'running' end,
    done = o.done + did,
    total = greatest(o.total, o.done + did),
    failed = case when over then greatest(o.total - o.done - did, 0) else 0 end,
    started_at = coalesce(o.started_at, now_at),
    finished_at = case when over then clock_timestamp() end,
    next_at = case when o.rate_per_second is null or o.started_at is null then now_at else greatest(o.next_at, now_at - interval '0.5 s') end
      + make_interval(secs => coalesce(did / o.rate_per_second, 0)),
    passed_at = coalesce(looked.times[last], o.passed_at),
    passed_id = coalesce(looked.ids[last], o.passed_id)
  where o.id = operation_id;
end $$;

create function weir.cancel_operation(operation_id bigint) returns void language plpgsql as $$
declare
  op weir.operation;
begin
  select * into op from weir.operation o where o.id = operation_id for update;
  if not found then
    raise exception using errcode = 'WR020', message = format('there is no operation %s', operation_id), hint = 'Operations are kept for 30 days after their end.';
  elsif op.finished_at is not null then
    raise exception using errcode = 'WR021', message = format('operation %s has ended: it is %s', operation_id, op.state), hint = 'What it did is done.';
  end if;
  update weir.operation o set state = 'cancelled', finished_at = clock_timestamp() where o.id = operation_id;
end $$;

create function weir.sweep_operations(most int default 1000) returns int language sql as $$
  with gone as (
    delete from weir.operation o where o.id = any (array(
      select x.id from weir.operation x where x.finished_at < now() - interval '30 days' limit most for update skip locked)) returning o.id
  )
  select count(*)::int from gone
$$;
-- +goose StatementEnd
comment on function weir.start_operation(text, jsonb, float8, boolean, text) is
  'Asks for work on all dead letters that pass a filter (see weir.count_dead) and died before now: kind redrive_dead or purge_dead. The service does it in the background, the '
  'oldest first, at most rate_per_second. Returns the id of its row in weir.operation, which shows how far it is. Errors: WR010.';
comment on function weir.work_operation(bigint, int) is
  'Does the next batch of an operation, of at most `most`. over: there is nothing left to do, or somebody else is at it. wait_seconds: how long to wait before the next batch. '
  'The service calls it.';
comment on function weir.cancel_operation(bigint) is 'Ends an operation; what it did so far stays done. Errors: WR020, WR021.';
comment on function weir.sweep_operations(int) is 'Removes up to `most` operations that ended more than 30 days ago. Returns how many.';

-- +goose Down
drop function weir.sweep_operations(int), weir.cancel_operation(bigint), weir.work_operation(bigint, int), weir.start_operation(text, jsonb, float8, boolean, text);
drop table weir.operation;
