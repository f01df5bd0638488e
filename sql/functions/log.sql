-- Logs of jobs: lines that a worker writes while it runs one, in order, with a bound for each job.
--
-- The row of weir.job_log_total orders the calls for one job, so lines become visible in the order of their numbers.
-- The lease is locked too, so no line comes after the end of its attempt.

-- [path below the line, what is wrong], or null. weir.log_line_size counts what it lets pass.
create or replace function weir.log_line_problem(line jsonb) returns text[] language sql stable as $$
  select case
    when jsonb_typeof(line) <> 'object' then array['', 'must be an object']
    when line - '{at,level,message,fields,encrypted}'::text[] <> '{}' or line ? 'encrypted' and not weir.is_owner()
      then array['.' || weir.first_key(case when line - '{at,level,message,fields,encrypted}'::text[] <> '{}'
        then line - '{at,level,message,fields,encrypted}'::text[] else '{"encrypted": 1}' end),
        'is no field of a line']
    when line ? 'encrypted' and (line ?| '{message,fields}' or not weir.is_encrypted(line -> 'encrypted'))
      then array['.encrypted', 'stands for message and fields']
    when not line ? 'encrypted' and (jsonb_typeof(line -> 'message') is distinct from 'string'
      or length(line ->> 'message') not between 1 and 8192)
      then array['.message', 'must be a string of 1 to 8,192 characters']
    when weir.choice_problem(line -> 'level', '{debug,info,warn,error}') is not null
      then array['.level', weir.choice_problem(line -> 'level', '{debug,info,warn,error}')]
    when coalesce(jsonb_typeof(line -> 'at'), 'null') <> 'null' and weir.time_problem(line -> 'at') is not null
      then array['.at', weir.time_problem(line -> 'at')]
    when coalesce(jsonb_typeof(line -> 'fields'), 'null') not in ('object', 'null')
      then array['.fields', 'must be an object']
    when weir.size_problem(line -> 'fields', 4096) is not null
      then array['.fields', weir.size_problem(line -> 'fields', 4096)]
  end
$$;
comment on function weir.log_line_problem(jsonb) is
  'Internal. What is wrong with a line of a log, as [path, problem], or null.';

create or replace function weir.log_line_size(line jsonb) returns int language sql immutable as $$
  select octet_length(coalesce(line ->> 'message', line ->> 'encrypted'))
    + coalesce(octet_length((nullif(line -> 'fields', '{}'))::text), 0)
$$;
comment on function weir.log_line_size(jsonb) is 'Internal. Bytes of the message and the fields of a line of a log.';

create or replace function weir.refuse_bad_lines(lines jsonb) returns void language plpgsql stable as $$
declare
  bad record;
begin
  if (case when jsonb_typeof(lines) = 'array' then jsonb_array_length(lines) else 0 end) not between 1 and 1000 then
    perform weir.refuse_argument('lines', 'must be an array of 1 to 1,000 lines');
  end if;
  select e.n, p.problem into bad from jsonb_array_elements(lines) with ordinality e(line, n)
    cross join lateral (select weir.log_line_problem(e.line) as problem offset 0) p
  where p.problem is not null order by e.n limit 1;
  if found then
    perform weir.refuse_argument(format('lines[%s]%s', bad.n - 1, bad.problem[1]), bad.problem[2]);
  end if;
  -- what is encrypted is longer by a third
  if (select sum(weir.log_line_size(e.line) * case when e.line ? 'encrypted' then 0.74 else 1 end)
    from jsonb_array_elements(lines) e(line)) > 1048576 then
    perform weir.refuse_argument('lines', 'must have at most 1 MiB of messages and fields');
  end if;
end $$;
comment on function weir.refuse_bad_lines(jsonb) is 'Internal. Raises WR010 unless these are lines of a log.';

-- Locks: the job_lease row, FOR KEY SHARE, and the total of the job's log, until the transaction ends: heartbeats go
-- on, but the job cannot end, and other calls for its log wait.
create or replace function weir.log(job_id bigint, token bigint, lines jsonb, out stored int, out dropped int)
language plpgsql set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_variable
declare
  most_lines constant int := 10000;
  most_bytes constant int := 4194304;
  held record;
  had weir.job_log_total;
  added bigint;
begin
  perform weir.refuse_bad_lines(lines);
  if session_user <> current_user then
    token := (weir.own_tokens(array[job_id], array[token]))[1];
  end if;
  select l.attempt, exists (select from weir.queue q where q.id = l.queue_id and q.encrypted) as encrypted into held
  from weir.job_lease l where l.job_id = log.job_id and l.token = log.token for key share of l;
  if not found then
    perform weir.refuse_stale(job_id);
  elsif held.encrypted and exists (select from jsonb_array_elements(lines) e where not e ? 'encrypted') then
    perform weir.refuse_readable(job_id, 'line of its log');
  end if;
  insert into weir.job_log_total (job_id) values (job_id) on conflict on constraint job_log_total_pkey do nothing;
  select * into had from weir.job_log_total t where t.job_id = log.job_id for update;
  with sized as (
    select e.n, e.line, sum(weir.log_line_size(e.line)) over (order by e.n) as bytes
    from jsonb_array_elements(lines) with ordinality e(line, n)
  ), kept as (  -- what no longer fits ends the log: nothing comes after a gap
    insert into weir.job_log (job_id, number, at, attempt, level, message, fields, encrypted)
    select log.job_id, had.lines + s.n, coalesce((s.line ->> 'at')::timestamptz, clock_timestamp()), held.attempt,
      coalesce(s.line ->> 'level', 'info')::weir.log_level, s.line ->> 'message',
      nullif(nullif(s.line -> 'fields', '{}'), 'null'), s.line ->> 'encrypted'
    from sized s where had.dropped = 0 and had.lines + s.n <= most_lines and had.bytes + s.bytes <= most_bytes
    order by s.n returning number
  )
  select count(*), coalesce(max(s.bytes), 0) into stored, added
  from (select count(*) as n from kept) k join sized s on s.n <= k.n;
  dropped := jsonb_array_length(lines) - stored;
  update weir.job_log_total t set lines = t.lines + stored, bytes = t.bytes + added, dropped = t.dropped + log.dropped,
    dropped_at = coalesce(t.dropped_at, case when log.dropped > 0 then clock_timestamp() end),
    dropped_attempt = coalesce(t.dropped_attempt, case when log.dropped > 0 then held.attempt end)
  where t.job_id = log.job_id;
end $$;
comment on function weir.log(bigint, bigint, jsonb) is
  'Adds lines to the log of a job whose lease is held with this token: [{at, level, message, fields}]. A job has at '
  'most 10,000 lines and 4 MiB; what comes later is dropped. Returns how many were stored and dropped. '
  'Errors: WR001, WR002, WR010, WR023.';

-- What was dropped is told by a line behind the last, as in weir.job_logs.
create or replace function weir.read_log(of_job bigint, after int, most int, of_attempt smallint default null,
  lowest weir.log_level default null)
returns table (number int, at timestamptz, attempt smallint, level weir.log_level, message text, fields jsonb,
  encrypted text, dropped int)
language sql stable set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off as $$
  select x.* from (
    (select l.number, l.at, l.attempt, l.level, l.message, l.fields, l.encrypted, 0 as dropped
    from weir.job_log l where l.job_id = of_job and l.number > after
      and (of_attempt is null or l.attempt = of_attempt)
      and (lowest is null or l.level >= lowest)
    order by l.number limit most)
    union all
    select t.lines + 1, t.dropped_at, t.dropped_attempt, 'warn',
      'lines dropped: ' || t.dropped || '; a log has at most 10,000 lines and 4 MiB', null, null, t.dropped
    from weir.job_log_total t where t.job_id = of_job and t.dropped > 0 and t.lines + 1 > after
      and (of_attempt is null or t.dropped_attempt = of_attempt)
      and (lowest is null or lowest <= 'warn')
  ) x order by x.number limit most
$$;
comment on function weir.read_log(bigint, int, int, smallint, weir.log_level) is
  'Internal. Up to `most` lines of a job''s log behind the number `after`, of this level or graver.';

create or replace function weir.log_ends(job_ids bigint[])
returns table (job_id bigint, last int, dropped int, state text)
language sql stable set jit = off set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  select i.id, coalesce(t.lines, 0) + (coalesce(t.dropped, 0) > 0)::int, coalesce(t.dropped, 0),
    case when o.job_id is not null then o.state::text
      when not exists (select from weir.job j where j.id = i.id) then 'removed' end
  from unnest(job_ids) i(id) left join weir.job_log_total t on t.job_id = i.id
    left join weir.job_outcome o on o.job_id = i.id
$$;
comment on function weir.log_ends(bigint[]) is
  'Internal. Of each of these jobs the number of the last line of its log, how many were dropped, and how it ended.';
