-- Views: audit

create or replace view weir.audit as
select a.id, a.at, a.principal, a.principal_kind, a.principal_id, a.key_id, a.remote, a.request_id, a.operation,
  a.object, a.before, a.after
from weir.audit_entry a;
comment on view weir.audit is 'The audit trail: who changed what, when and from where.';
comment on column weir.audit.id is 'Grows with time.';
comment on column weir.audit.at is 'When it was changed, by the database''s clock.';
comment on column weir.audit.principal is
  'Who changed it: the name of an API key or of a subject; over SQL, the role that began the session.';
comment on column weir.audit.principal_kind is
  'key, cert (the holder of a client certificate), oidc (a subject of access tokens), sql, or '
  'anonymous (a caller of a node without authentication).';
comment on column weir.audit.principal_id is 'weir.principal.id; null over SQL and without authentication.';
comment on column weir.audit.key_id is 'The public part of the API key; null: there was none.';
comment on column weir.audit.remote is 'The address from which the call came; null: a local socket.';
comment on column weir.audit.request_id is 'Id of the request (X-Request-Id); null over SQL.';
comment on column weir.audit.operation is
  'The operation of REST that did it, such as pauseQueue; over SQL the one that does the same.';
comment on column weir.audit.object is 'What was changed, as its path in REST, such as queues/mail.';
comment on column weir.audit.before is 'What it was before, without payloads and secrets; null: it was not there.';
comment on column weir.audit.after is 'What it is since, in the same way; null: it is gone.';
