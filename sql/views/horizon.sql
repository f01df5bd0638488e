-- What holds back the xmin horizon.

-- Inside a DO block because sqlc reads this file too, and knows no system views.
do $do$ begin
  create or replace view weir.horizon as
  select * from (
    select 'transaction' as what, a.pid::text as name, a.application_name as application, a.state,
      age(a.backend_xmin) as xmin_age, clock_timestamp() - a.xact_start as since
    from pg_stat_activity a where a.backend_xmin is not null and a.pid <> pg_backend_pid()
    union all
    select 'replication slot', s.slot_name, s.plugin, case when s.active then 'active' else 'inactive' end,
      age(coalesce(s.xmin, s.catalog_xmin)), null
    from pg_replication_slots s where coalesce(s.xmin, s.catalog_xmin) is not null
    union all
    select 'prepared transaction', p.gid, p.owner, null, age(p.transaction), clock_timestamp() - p.prepared
      from pg_prepared_xacts p
  ) h order by h.xmin_age desc;
  comment on view weir.horizon is
  'Who holds back the xmin horizon, the oldest first: nothing that died since can be vacuumed.';
  comment on column weir.horizon.what is 'transaction, replication slot or prepared transaction.';
  comment on column weir.horizon.name is 'The pid, slot name or transaction id to end it by.';
  comment on column weir.horizon.application is
  'application_name of the session, or the slot''s plugin, or the transaction''s owner.';
  comment on column weir.horizon.state is 'State of the session or the slot.';
  comment on column weir.horizon.xmin_age is 'Transactions begun since the oldest one it still has to see.';
  comment on column weir.horizon.since is 'How long its transaction has been open.';
end $do$;
