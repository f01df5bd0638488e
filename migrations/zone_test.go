//go:build unix

package migrations_test

import (
	"testing"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/tests/weirtest"
)

// Zones of a newer release take the place of the older ones, and those of an older release do not come back. Schedules in them are planned again.
func TestANewerReleaseOfTheZonesPlansAnew(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	ask := func(sql string, args ...any) (answer string) {
		t.Helper()
		check(t, d.QueryRow(t.Context(), sql, args...).Scan(&answer))
		return answer
	}
	if version := ask("select string_agg(distinct version, ' ') from weir.time_zone"); version != migrations.ZoneVersion {
		t.Errorf("the zones are those of %s", version)
	}
	ask(`select weir.set_schedule('s', '{"cron": "0 12 * * *", "timezone": "Asia/Tokyo", "job": {"kind": "k"}}')::text`)
	const hour = "select to_char(next_at at time zone 'UTC', 'HH24') from weir.schedules"
	if h := ask(hour); h != "03" {
		t.Errorf("noon in Tokyo is %s:00 UTC", h)
	}
	for _, release := range []struct{ version, want string }{{"2019a", "03"}, {"9999a", "02"}, {"9998b", "02"}} {
		ask(`select weir.load_time_zones('{"Asia/Tokyo": {"changes": [], "offsets": [36000]}}', $1)::text`, release.version)
		if h := ask(hour); h != release.want {
			t.Errorf("with %s noon in Tokyo is %s:00 UTC, want %s", release.version, h, release.want)
		}
	}
	check(t, migrations.Up(t.Context(), d.URL))
	if h := ask(hour); h != "02" {
		t.Errorf("an older program has put its zones back: %s", h)
	}
}
