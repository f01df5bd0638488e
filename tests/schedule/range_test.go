package schedule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// A time that JSON can hold lies in the years 1 to 9999, also in local time and with its jitter.
func TestSlotsEndBeforeTheLastDayThatCanBeWritten(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	for name, times := range map[string]string{
		"cron":     `"cron": "0 0 * * *", "timezone": "Pacific/Kiritimati", "jitter_seconds": 86400`,
		"west":     `"cron": "59 59 * * * *", "timezone": "Pacific/Pago_Pago", "dst_gap": "skip"`,
		"interval": `"every_seconds": 86401, "jitter_seconds": 86400`,
		"short":    `"every_seconds": 1`,
		"jittery":  `"cron": "59 59 23 30 12 *", "jitter_seconds": 86400`,
	} {
		for _, from := range []string{"0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z", "9999-12-30T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"} {
			s.Exec(`select count(*) from weir.preview_definition($1::jsonb, 50, $2::text::timestamptz)`, "{"+times+"}", from)
			r := s.Post("/v1/schedules/preview", fmt.Sprintf(`{%s, "from": %q, "count": 50}`, times, from)).Want(http.StatusOK)
			var slots struct {
				Items []struct {
					UTC     *time.Time `json:"utc"`
					FiresAt *time.Time `json:"fires_at"`
					Local   time.Time
				}
			}
			if err := json.Unmarshal(r.Body, &slots); err != nil {
				t.Errorf("%s from %s: %v in %v", name, from, err, r)
			}
			for _, slot := range slots.Items {
				if slot.UTC != nil && !slot.UTC.Before(last) {
					t.Errorf("%s from %s: a slot at %v", name, from, slot.UTC)
				}
			}
			if from[:4] == "0001" && len(slots.Items) != 50 {
				t.Errorf("%s from %s: %v", name, from, r)
			}
		}
		s.Post("/v1/schedules", fmt.Sprintf(`{"name": %q, %s, "starts_at": "9999-12-30T09:59:59Z", "job": {"kind": "k"}}`, name, times)).Want(http.StatusCreated)
		s.Get("/v1/schedules/" + name).Want(http.StatusOK)
		s.Get("/v1/schedules/" + name + "/preview").Want(http.StatusOK)
	}
	s.Get("/v1/schedules").Want(http.StatusOK)

	for _, at := range []string{"9999-12-31T00:00:00Z", "9999-12-31T23:59:59.999999Z"} {
		s.Post("/v1/schedules", fmt.Sprintf(`{"name": "at", "at": %q, "job": {"kind": "k"}}`, at)).RefusedAt("body.at", "before 9999-12-31")
		wantRefusal(t, weirtest.TryExec(s.DB, "select weir.set_schedule('at', $1)", fmt.Sprintf(`{"at": %q, "job": {"kind": "k"}}`, at)), "WR010", "at")
	}
	s.Post("/v1/schedules", `{"name": "at", "at": "9999-12-30T23:59:59.999999Z", "jitter_seconds": 86400, "job": {"kind": "k"}}`).Want(http.StatusCreated)
	s.Get("/v1/schedules/at").Want(http.StatusOK)
}
