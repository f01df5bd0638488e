-- Views: key

create or replace view weir.keys as
select p.key_id as id, p.name, p.roles, p.queues, p.tenant, p.redact, p.rate_per_second, p.created_at, p.created_by,
  p.expires_at, p.revoked_at, case when p.old_key_until > clock_timestamp() then p.old_key_until end as old_key_until,
  p.last_used_at,
  case when p.revoked_at is not null then 'revoked' when p.expires_at <= clock_timestamp() then 'expired'
    else 'active' end as state, p.kind
from weir.principal p where p.kind <> 'sql';
comment on view weir.keys is
  'Who may call REST: API keys, without their secrets, holders of client certificates, and subjects of access tokens.';
comment on column weir.keys.id is 'The public part of the key, which names it.';
comment on column weir.keys.name is 'Its name.';
comment on column weir.keys.roles is 'What it may do: producer, worker, reader, operator, admin.';
comment on column weir.keys.queues is 'Patterns of the queues that it may use, with * for any characters; null: all.';
comment on column weir.keys.tenant is 'The tenant that it is bound to; null: none.';
comment on column weir.keys.redact is 'It sees jobs without their args, results and metadata.';
comment on column weir.keys.rate_per_second is 'Most calls a second on each node; null: no limit.';
comment on column weir.keys.created_at is 'When it was made.';
comment on column weir.keys.created_by is 'Who made it.';
comment on column weir.keys.expires_at is 'Not accepted from then on; null: it does not expire.';
comment on column weir.keys.revoked_at is 'When it was revoked; null: it was not.';
comment on column weir.keys.old_key_until is 'Until when the key before the last rotation is accepted too.';
comment on column weir.keys.last_used_at is 'When it was last used; at most a minute late.';
comment on column weir.keys.state is 'active, expired or revoked.';
comment on column weir.keys.kind is
  'key, cert (a client certificate with this name) or oidc (a subject of access tokens).';
