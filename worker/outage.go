package worker

import (
	"log/slog"
	"time"
)

// outage logs when something begins to fail and when it works again, and not each attempt.
type outage struct {
	log   *slog.Logger
	what  string
	since time.Time
}

func (o *outage) note(err error) {
	if o.since.IsZero() {
		o.since = time.Now()
		o.log.Warn(o.what+" fails; retrying until it works", "error", err)
	}
}

func (o *outage) over() {
	if !o.since.IsZero() {
		o.log.Info(o.what+" works again", "after", time.Since(o.since).Round(time.Millisecond).String())
		o.since = time.Time{}
	}
}
