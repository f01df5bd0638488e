package schedule

import (
	"archive/zip"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// The rules of what clock changes do to a schedule, written again in the simplest way: minute after minute, by the wall
// clock. It shares no code and no table with weir, only the time zone database that both are made from.

// zoneCase is a schedule and the times that match it, as a predicate on wall-clock time.
type zoneCase struct {
	cron    string
	takes   func(wall time.Time) bool
	policy  string // JSON members, such as "dst_gap": "skip"
	makeUp  bool   // a time in a gap runs right after it
	twice   bool   // a time that comes twice runs twice
	reach   time.Duration
	highest int // the number of slots possible in twice the span
}

// expect lists the slots of a case between two times.
func (c zoneCase) expect(location *time.Location, from, until time.Time) []time.Time {
	var slots []time.Time
	shown := map[time.Time]bool{} // wall clocks, as if they were UTC
	wallOf := func(t time.Time) time.Time {
		_, offset := t.In(location).Zone()
		return t.Add(time.Duration(offset) * time.Second)
	}
	begin := from.Add(-3 * time.Hour) // times shown before count
	before := wallOf(begin.Add(-time.Minute))
	for t := begin; t.Before(until); t = t.Add(time.Minute) {
		wall := wallOf(t)
		fires := c.takes(wall) && (c.twice || !shown[wall])
		if c.makeUp {
			for missing := before.Add(time.Minute); missing.Before(wall); missing = missing.Add(time.Minute) {
				fires = fires || c.takes(missing)
			}
		}
		if fires && !t.Before(from) {
			slots = append(slots, t)
		}
		shown[wall] = true
		before = wall
	}
	return slots
}

func zoneCases() []zoneCase {
	at := func(h, m int) func(time.Time) bool {
		return func(w time.Time) bool { return w.Hour() == h && w.Minute() == m }
	}
	every := func(minutes int) func(time.Time) bool {
		return func(w time.Time) bool { return w.Minute()%minutes == 0 }
	}
	day := 25 * time.Hour
	cases := []zoneCase{
		// Every hour: the next slot is never far, so no slot is made up for, and both of two equal hours count.
		{"* * * * *", every(1), "", false, true, 2 * time.Hour, 250},
		{"*/20 * * * *", every(20), "", false, true, 4 * time.Hour, 30},
		{"0 * * * *", every(60), "", false, true, 7 * time.Hour, 20},
		{"15 0-23 * * *", func(w time.Time) bool { return w.Minute() == 15 }, "", false, true, 7 * time.Hour, 20},
		{"45 * * * *", func(w time.Time) bool { return w.Minute() == 45 }, `"dst_gap": "run_after", "dst_overlap": "once"`, true, false, 7 * time.Hour, 20},
		// Some hours: by the wall clock.
		{"*/10 0-3 * * *", func(w time.Time) bool { return w.Minute()%10 == 0 && w.Hour() <= 3 }, "", true, false, day, 90},
		{"0 */2 * * *", func(w time.Time) bool { return w.Minute() == 0 && w.Hour()%2 == 0 }, "", true, false, day, 32},
		{"30 0,1,2,3,23 * * *", func(w time.Time) bool { return w.Minute() == 30 && (w.Hour() <= 3 || w.Hour() == 23) }, "", true, false, day, 16},
		{"30 0,1,2,3,23 * * *", func(w time.Time) bool { return w.Minute() == 30 && (w.Hour() <= 3 || w.Hour() == 23) }, `"dst_gap": "skip", "dst_overlap": "twice"`, false, true, day, 20},
	}
	for _, hour := range []int{0, 1, 2, 3, 23} { // where clocks change
		for _, minute := range []int{0, 30} {
			cron := fmt.Sprintf("%d %d * * *", minute, hour)
			cases = append(cases,
				zoneCase{cron, at(hour, minute), "", true, false, day, 5},
				zoneCase{cron, at(hour, minute), `"dst_gap": "skip", "dst_overlap": "twice"`, false, true, day, 6})
		}
	}
	return cases
}

// embeddedZones reads the time zone database that the program carries.
func embeddedZones(t *testing.T) map[string]*time.Location {
	t.Helper()
	archive, err := zip.OpenReader("../../migrations/zoneinfo.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	zones := map[string]*time.Location{}
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") || f.Name == "Factory" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if zones[f.Name], err = time.LoadLocationFromTZData(f.Name, data); err != nil {
			t.Fatal(err)
		}
	}
	return zones
}

// clockChanges finds a zone's clock changes by reading the clock every other day.
func clockChanges(location *time.Location, from, until time.Time) (changes []int64, offsets []int64) {
	offset := func(unix int64) int64 {
		_, o := time.Unix(unix, 0).In(location).Zone()
		return int64(o)
	}
	const step = 48 * 3600
	now := offset(from.Unix())
	for t := from.Unix(); t < until.Unix(); t += step {
		then := offset(t + step)
		if then != now {
			at := t + int64(searchFirst(step, func(n int) bool { return offset(t+int64(n)) != now }))
			changes, offsets = append(changes, at), append(offsets, then)
		}
		now = then
	}
	return changes, offsets
}

// searchFirst returns the lowest number up to n for which ok is true.
func searchFirst(n int, ok func(int) bool) int {
	low, high := 0, n
	for low < high {
		if middle := (low + high) / 2; ok(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

func TestZonesMatchTimeZoneDatabase(t *testing.T) {
	weirtest.Long(t, "it walks through all time zones")
	t.Parallel()
	d := weirtest.New(t)
	zones := embeddedZones(t)
	if n := weirtest.Value[int](t, d, "select count(*) from weir.time_zone"); n != len(zones) || n < 590 {
		t.Errorf("%d zones are known, of %d", n, len(zones))
	}
	from, until := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC)
	rows, err := d.Query(t.Context(), `select z.name, z.offsets[width_bucket($1::timestamptz, z.changes)]::bigint,
		coalesce((select array_agg(extract(epoch from c)::bigint order by n) from unnest(z.changes) with ordinality x(c, n) where c > $1 and c < $2), '{}'),
		coalesce((select array_agg(o::bigint order by n) from unnest(z.changes, z.offsets) with ordinality x(c, o, n) where c > $1 and c < $2), '{}') from weir.time_zone z`, from, until)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	var first int64
	var changes, offsets []int64
	if _, err := pgx.ForEachRow(rows, []any{&name, &first, &changes, &offsets}, func() error {
		_, offset := from.In(zones[name]).Zone()
		wantChanges, wantOffsets := clockChanges(zones[name], from, until)
		if first != int64(offset) || !slices.Equal(changes, wantChanges) || !slices.Equal(offsets, wantOffsets) {
			t.Errorf("%s: from %d, %v to %v; want %v to %v", name, first, changes, offsets, wantChanges, wantOffsets)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// Zones with the same clocks in these years, as most have, are checked once. Each clock change meets some of the cases,
// and each zone meets all of them over its changes.
func TestNoZoneLosesOrDoublesRun(t *testing.T) {
	weirtest.Long(t, "it walks through all time zones")
	t.Parallel()
	d := weirtest.New(t)
	cases := zoneCases()
	from, until := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2038, 1, 1, 0, 0, 0, 0, time.UTC)
	type walk struct {
		zone     string
		location *time.Location
		changes  []int64
	}
	distinct := map[string]walk{}
	zones := embeddedZones(t)
	for name, location := range zones {
		changes, offsets := clockChanges(location, from, until)
		if len(changes) > 0 {
			key := fmt.Sprint(changes, offsets)
			if w, there := distinct[key]; !there || name < w.zone {
				distinct[key] = walk{name, location, changes}
			}
		}
	}
	walks := make(chan walk, len(distinct))
	for _, w := range distinct {
		walks <- w
	}
	close(walks)
	var checked, slots atomic.Int64
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for w := range walks {
				for i, change := range w.changes {
					for k := range 2 {
						n := i*2 + k
						if len(w.changes) == 1 {
							n += int(change) // a zone's only change meets some
						}
						c := cases[n%len(cases)]
						at := time.Unix(change, 0).UTC()
						want := c.expect(w.location, at.Add(-c.reach), at.Add(c.reach))
						definition := fmt.Sprintf(`{"cron": %q, "timezone": %q`, c.cron, w.zone)
						if c.policy != "" {
							definition += ", " + c.policy
						}
						got, err := slotsBetween(t, d, definition+"}", c.highest, at.Add(-c.reach), at.Add(c.reach))
						if err != nil || !slices.EqualFunc(got, want, time.Time.Equal) {
							t.Errorf("%s at %v, %s %s:\n got %v\nwant %v\n%v", w.zone, at, c.cron, c.policy, got, want, err)
						}
						checked.Add(1)
						slots.Add(int64(len(want)))
					}
				}
			}
		})
	}
	working.Wait()
	t.Logf("%d zones of %d differ; %d stretches with %d slots", len(distinct), len(zones), checked.Load(), slots.Load())
}

func slotsBetween(t *testing.T, q weirtest.Querier, definition string, count int, from, until time.Time) ([]time.Time, error) {
	rows, err := q.Query(t.Context(), "select slot_at from weir.preview_definition($1::jsonb, $2, $3) p where not skipped and slot_at < $4 order by slot_at", definition, count, from, until)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[time.Time])
}

// The fields of a cron expression, day after day against a predicate.
func TestCronExpressionMatchesItsDays(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	last := func(w time.Time) int { return time.Date(w.Year(), w.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day() }
	nth := func(w time.Time) int { return (w.Day()-1)/7 + 1 }
	from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for cron, takes := range map[string]func(w time.Time) bool{
		"* * *":           func(time.Time) bool { return true },
		"1 * *":           func(w time.Time) bool { return w.Day() == 1 },
		"31 * *":          func(w time.Time) bool { return w.Day() == 31 },
		"29 2 *":          func(w time.Time) bool { return w.Day() == 29 && w.Month() == 2 },
		"L * *":           func(w time.Time) bool { return w.Day() == last(w) },
		"L-2,1 * ?":       func(w time.Time) bool { return w.Day() == last(w)-2 || w.Day() == 1 },
		"L-30 * *":        func(w time.Time) bool { return w.Day() == last(w)-30 },
		"? * 5#2":         func(w time.Time) bool { return w.Weekday() == 5 && nth(w) == 2 },
		"* * MON#1,fri#5": func(w time.Time) bool { return w.Weekday() == 1 && nth(w) == 1 || w.Weekday() == 5 && nth(w) == 5 },
		"* * 5L":          func(w time.Time) bool { return w.Weekday() == 5 && w.Day() > last(w)-7 },
		"* * SunL,3":      func(w time.Time) bool { return w.Weekday() == 0 && w.Day() > last(w)-7 || w.Weekday() == 3 },
		"* JAN-mar,12 *":  func(w time.Time) bool { return w.Month() <= 3 || w.Month() == 12 },
		"* */4 *":         func(w time.Time) bool { return w.Month()%4 == 1 },
		"* 2/5 *":         func(w time.Time) bool { return w.Month() == 2 || w.Month() == 7 || w.Month() == 12 },
		"* * 1-5":         func(w time.Time) bool { return w.Weekday() >= 1 && w.Weekday() <= 5 },
		"* * fri-sun":     func(w time.Time) bool { return w.Weekday() >= 5 || w.Weekday() == 0 },
		"* * 7":           func(w time.Time) bool { return w.Weekday() == 0 },
		"* * 5-7":         func(w time.Time) bool { return w.Weekday() >= 5 || w.Weekday() == 0 },
		"* * 0/2":         func(w time.Time) bool { return w.Weekday()%2 == 0 },
		"13 * 5":          func(w time.Time) bool { return w.Day() == 13 || w.Weekday() == 5 },        // either is enough
		"*/2 * 1":         func(w time.Time) bool { return w.Day()%2 == 1 && w.Weekday() == 1 },       // unless one of them begins with *
		"13 * */3":        func(w time.Time) bool { return w.Day() == 13 && w.Weekday()%3 == 0 },      // as in Vixie's cron
		"L * MON-FRI":     func(w time.Time) bool { return w.Day() == last(w) || w.Weekday()%6 != 0 }, // 0 and 6
		"1-10/3,28-31 2,11 *": func(w time.Time) bool {
			return (w.Month() == 2 || w.Month() == 11) && (w.Day() <= 10 && w.Day()%3 == 1 || w.Day() >= 28)
		},
	} {
		var want []time.Time
		for day := range 1500 {
			if w := from.AddDate(0, 0, day); takes(w) {
				want = append(want, w)
			}
		}
		want = want[:min(len(want), 200)]
		got, err := slotsBetween(t, d, fmt.Sprintf(`{"cron": "0 0 %s"}`, cron), 201, from, want[len(want)-1].Add(time.Hour))
		if err != nil || !slices.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%s: %d days from %v, want %d from %v; %v", cron, len(got), got[:min(4, len(got))], len(want), want[:min(4, len(want))], err)
		}
	}
	for name, same := range map[string]string{"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@YEARLY": "0 0 1 1 *", "@annually": "0 0 1 jan ?", " \t5  4 * * * ": "5 4 * * *"} {
		a, err := slotsBetween(t, d, fmt.Sprintf(`{"cron": %q}`, name), 20, from, from.AddDate(30, 0, 0))
		b, other := slotsBetween(t, d, fmt.Sprintf(`{"cron": %q}`, same), 20, from, from.AddDate(30, 0, 0))
		if err != nil || other != nil || len(a) != 20 || !slices.EqualFunc(a, b, time.Time.Equal) {
			t.Errorf("%q is %v, want %v; %v %v", name, a, b, err, other)
		}
	}
	seconds := weirtest.Values[float64](t, d, `select extract(epoch from slot_at - '2027-01-01T00:00:00Z')::float8 from weir.preview_definition('{"cron": "5,50-52 59 * * * *"}', 5, '2027-01-01T00:59:06Z')`)
	if !slices.Equal(seconds, []float64{3590, 3591, 3592, 7145, 7190}) {
		t.Errorf("with seconds: %v", seconds)
	}
}
