//go:build unix

package weirtest

// CheckPlaces fails the test unless every job is in exactly one place.
func (d *Database) CheckPlaces() {
	d.T.Helper()
	if there := Value[bool](d.T, d, "select to_regclass('weir.job') is not null"); !there {
		return
	}
	for _, line := range Values[string](d.T, d, MisplacedJobs) {
		d.T.Error(line)
	}
	CheckWorkflows(d.T, d)
}

// MisplacedJobs lists what contradicts the rule that every job is in exactly one place.
const MisplacedJobs = `
with places as (
	select 'scheduled' as place, job_id, queue_id, priority from weir.job_scheduled
	union all select 'held', job_id, queue_id, priority from weir.job_held
	union all select 'ready', coalesce(r.job_id, r.seq), coalesce((select q.id from weir.queue q where q.admitted_id = r.queue_id), r.queue_id), r.priority from weir.job_ready r
	union all select 'lease', job_id, queue_id, priority from weir.job_lease
	union all select 'outcome', job_id, queue_id, null from weir.job_outcome
), numbers as (
	select seq as number from weir.job_ready union all select token from weir.job_lease
)
select format('job %s is in %s places: %s', j.id, count(p.place), string_agg(p.place, ', '))
from weir.job j left join places p on p.job_id = j.id group by j.id having count(p.place) <> 1
union all select format('%s holds job %s, which does not exist', p.place, p.job_id) from places p where not exists (select from weir.job j where j.id = p.job_id)
union all select format('%s holds job %s with another queue or priority', p.place, p.job_id)
	from places p join weir.job j on j.id = p.job_id where p.queue_id <> j.queue_id or p.priority <> j.priority
union all select format('number %s orders or fences %s jobs', number, count(*)) from numbers group by number having count(*) > 1
union all select format('job %s has come back and kept its first place', seq) from weir.job_ready r where job_id = seq or job_id is null and (attempt > 0 or exists (select from weir.queue q where q.admitted_id = r.queue_id))
union all select format('dead letter %s is not dead', d.job_id) from weir.job_dead d left join weir.job_outcome o on o.job_id = d.job_id where o.state is distinct from 'dead'
union all select format('job %s is dead and no dead letter', o.job_id) from weir.job_outcome o where o.state = 'dead' and not exists (select from weir.job_dead d where d.job_id = o.job_id)
	and not exists (select from weir.job_event e where e.job_id = o.job_id and e.kind in ('purged', 'routed') and e.at >= o.finished_at)
union all select format('weir.jobs shows %s jobs, %s of them without a state; weir.job holds %s', v.n, v.stateless, j.n)
	from (select count(*) as n, count(*) filter (where state is null) as stateless from weir.jobs) v, (select count(*) as n from weir.job) j
	where v.n <> j.n or v.stateless > 0
limit 20`
