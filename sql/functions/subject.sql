-- Subjects of access tokens: who calls REST by single sign-on. A node checks the token and reads from it what the
-- subject may do. The row gives the subject an id, which jobs, leases and the audit trail name, and lets an admin
-- revoke it.

-- Called by a node about once a second for each subject that calls. It locks the subject's row, if it writes at all.
-- No row: too many subjects have been recorded.
create or replace function weir.record_subject(name text, roles text[], queues text[], tenant text)
returns table (id int, key_id text, revoked_at timestamptz, rate_per_second double precision, redact boolean)
language plpgsql as $$
#variable_conflict use_variable
declare
  max_subjects constant int := 100000;
begin
  if not exists (select from weir.principal p where p.kind = 'oidc' and p.name = record_subject.name)
    and (select count(*) from weir.principal p where p.kind = 'oidc') < max_subjects then
    insert into weir.principal (kind, name, roles, queues, tenant, created_by, key_id)
    values ('oidc', name, roles, queues, tenant, 'single sign-on', weir.new_key_id())
    on conflict do nothing;
  end if;
  update weir.principal p set roles = record_subject.roles, queues = record_subject.queues,
    tenant = record_subject.tenant
  where p.kind = 'oidc' and p.name = record_subject.name and p.revoked_at is null
    and (p.roles, p.queues, p.tenant)
      is distinct from (record_subject.roles, record_subject.queues, record_subject.tenant);
  return query select p.id, p.key_id, p.revoked_at, p.rate_per_second, p.redact
  from weir.principal p where p.kind = 'oidc' and p.name = record_subject.name;
end $$;
comment on function weir.record_subject(text, text[], text[], text) is
  'Internal. Records a subject of access tokens and what its last token allows. No row: there are too many subjects.';
