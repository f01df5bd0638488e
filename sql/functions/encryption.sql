-- Encryption at rest: of a queue that is `encrypted`, nodes encrypt args, results and texts of errors before they come
-- here. SQL has no key. It only tells encrypted values from readable ones, and refuses readable ones for such a queue.
--
-- An encrypted value is a JSON string: weir:encrypted:1:, the id of a data key (weir_auth.data_key), a colon, base64.
-- Of an error it stands in the member `encrypted`, beside the type; the message is then '(encrypted)'. Only nodes may
-- write one: what a client sent in this form would be decrypted for its readers.

-- A body without quotes has its names already, and can be inlined.
create or replace function weir.is_encrypted(value jsonb) returns boolean language sql immutable
  return coalesce(jsonb_typeof(value) = 'string' and starts_with(value #>> '{}', 'weir:encrypted:'), false);
comment on function weir.is_encrypted(jsonb) is
  'Whether a node encrypted a JSON value: a string that begins with weir:encrypted: .';

create or replace function weir.is_readable_error(error jsonb) returns boolean language sql immutable as $$
  select not weir.is_encrypted(error -> 'encrypted')
    and error - 'type' not in ('{}', '{"message": "failed"}', '{"message": ""}')
$$;
comment on function weir.is_readable_error(jsonb) is
  'Internal. Whether an error says more than its type, and is not encrypted.';

create or replace function weir.refuse_readable(job_id bigint, what text) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR023',
    message = format('the queue of job %s is encrypted, and this %s is not', job_id, what),
    hint = 'SQL has no key. Send it to a node that has one (weir serve --encryption-key-file). Nothing was changed.';
end $$;
comment on function weir.refuse_readable(bigint, text) is 'Internal. Raises WR023 queue_encrypted.';

-- Args that are empty hide nothing.
create or replace function weir.refuse_readable_args(jobs jsonb, names text[]) returns void language plpgsql as $$
declare
  bad record;
begin
  select e.n, coalesce(e.job ->> 'queue', 'default') as queue into bad
  from jsonb_array_elements(jobs) with ordinality e(job, n)
  where coalesce(e.job -> 'args', '{}') not in ('{}', 'null') and not weir.is_encrypted(e.job -> 'args')
    and coalesce(e.job ->> 'queue', 'default') in (
      select q.name from weir.queue q where q.name = any (names) and q.encrypted)
  order by e.n limit 1;
  if found then
    raise exception using errcode = 'WR023', column = format('jobs[%s].args', bad.n - 1),
      message = format('queue %L is encrypted, and jobs[%s].args are not', bad.queue, bad.n - 1),
      hint = 'SQL has no key. Enqueue at a node that has one (weir serve --encryption-key-file), or without args.';
  end if;
end $$;
comment on function weir.refuse_readable_args(jsonb, text[]) is
  'Internal. Raises WR023 queue_encrypted for the first job with readable args in an encrypted queue.';

create or replace function weir.refuse_readable_results(encrypted bigint[], tokens bigint[], results jsonb[])
returns void language plpgsql as $$
begin
  perform from unnest(tokens, results) u(token, result)
  where u.token = any (encrypted) and u.result <> 'null' and not weir.is_encrypted(u.result);
  if found then
    raise exception using errcode = 'WR023', message = 'a queue is encrypted, and a result of its jobs is not',
      hint = 'SQL has no key. Send it to a node that has one (weir serve --encryption-key-file). Nothing was changed.';
  end if;
end $$;
comment on function weir.refuse_readable_results(bigint[], bigint[], jsonb[]) is
  'Internal. Raises WR023 queue_encrypted for a readable result of a lease with one of these tokens.';

create or replace function weir.refuse_forged(value jsonb, field text) returns void language plpgsql as $$
begin
  if weir.is_encrypted(value) and not weir.is_owner() then
    perform weir.refuse_argument(field, 'must not begin with weir:encrypted:', 'Only nodes encrypt.');
  end if;
end $$;
comment on function weir.refuse_forged(jsonb, text) is
  'Internal. Raises WR010 for a value in the form of an encrypted one that a login sends.';

create or replace function weir.refuse_encrypted_queues(queues text[]) returns void language plpgsql as $$
begin
  raise exception using errcode = 'WR023',
    message = format('queue %L is encrypted', (select q.name from weir.queue q where q.encrypted
      and q.name = any (refuse_encrypted_queues.queues) order by q.name limit 1)),
    hint = 'SQL has no key. Claim at a node that has one (weir serve --encryption-key-file).';
end $$;
comment on function weir.refuse_encrypted_queues(text[]) is
  'Internal. Raises WR023 queue_encrypted for the first of these queues that is encrypted.';

create or replace function weir.encrypted_leases(job_ids bigint[]) returns setof bigint language sql stable
set enable_seqscan = off as $$
  select l.job_id from weir.job_lease l where l.job_id = any (encrypted_leases.job_ids)
    and l.queue_id = any (array(select q.id from weir.queue q where q.encrypted))
$$;
comment on function weir.encrypted_leases(bigint[]) is
  'Internal. Those of these running jobs whose queue is encrypted.';

create or replace function weir.refuse_readable_schedule(s weir.schedule) returns void language plpgsql as $$
declare
  jobs jsonb := case when s.job is not null then jsonb_build_array(s.job) else s.workflow -> 'steps' end;
begin
  perform weir.refuse_forged(e -> 'args', 'args') from jsonb_array_elements(jobs) e;
  perform weir.refuse_readable_args(jobs, array(
    select coalesce(e ->> 'queue', 'default') from jsonb_array_elements(jobs) e));
end $$;
comment on function weir.refuse_readable_schedule(weir.schedule) is
  'Internal. Raises WR023 queue_encrypted if what a schedule makes has readable args for an encrypted queue.';
