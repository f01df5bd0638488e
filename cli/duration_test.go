package cli

import (
	"testing"
	"time"
)

func TestRelativeTimesAreRough(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for distance, want := range map[time.Duration]string{
		0:                        "now",
		-400 * time.Millisecond:  "now",
		-2500 * time.Millisecond: "2.5 s ago",
		-90 * time.Second:        "90 s ago",
		-5 * time.Minute:         "5 min ago",
		3 * time.Hour:            "in 3 h",
		72*time.Hour + 1:         "in 3 days",
	} {
		if got := relative(now, now.Add(distance)); got != want {
			t.Errorf("%v is %q; want %q", distance, got, want)
		}
	}
}

func TestDurationsHaveUnitsOrAreSeconds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90": 90 * time.Second, "0.5": 500 * time.Millisecond, "5m": 5 * time.Minute, "0": 0, "2h30m": 150 * time.Minute,
	} {
		var d duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q is %v, %v; want %v", text, time.Duration(d), err, want)
		}
	}
	for _, text := range []string{"", "soon", "-1", "-5m", "1e300", "NaN", "-Inf", "1 h"} {
		var d duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %v", text, time.Duration(d))
		}
	}
}
