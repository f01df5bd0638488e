-- How far everything is visible.

create or replace view weir.settled as
select w.settled_at, least(w.seq, (select min(s) from unnest(w.holder_seqs) s)) as seq
from weir.watermark w order by w.tick desc limit 1;
comment on view weir.settled is 'One row: up to where every committed row is visible.';
comment on column weir.settled.settled_at is 'Every row with a time before this is visible.';
comment on column weir.settled.seq is 'And every job up to this id.';
