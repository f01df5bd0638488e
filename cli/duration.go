package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// timeFormat is a time to the second, without its zone.
const timeFormat = "2006-01-02 15:04:05"

// relative is how far a time is from now.
func relative(now, then time.Time) string {
	distance := then.Sub(now)
	if distance.Abs() < time.Second {
		return "now"
	}
	if distance > 0 {
		return "in " + roughly(distance)
	}
	return roughly(-distance) + " ago"
}

// roughly is a duration in a single unit.
func roughly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d/day))
	}
}

// Seconds is a number of seconds as a duration.
func Seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func localTime(t time.Time) string { return t.Local().Format(timeFormat + " MST") }

// countOf is a number of things: 1 job, 2 jobs.
func countOf[N int | int64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// duration is a duration on the command line: a number of seconds, or a number with a unit.
type duration time.Duration

// UnmarshalText is called by kong.
func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		number, err := strconv.ParseFloat(string(text), 64)
		if err != nil || !(math.Abs(number) < math.MaxInt64/1e9) {
			return fmt.Errorf("%q is not a duration: give seconds, or a unit as in 90s, 5m, 2h", text)
		}
		parsed = Seconds(number)
	}
	if parsed < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = duration(parsed)
	return nil
}

// seconds is the duration as requests have it.
func (d duration) seconds() float64 { return time.Duration(d).Seconds() }

// lifetime is a duration that may be given in days: 90d, 12h, 30m.
type lifetime time.Duration

// UnmarshalText is called by kong.
func (l *lifetime) UnmarshalText(text []byte) error {
	days, inDays := strings.CutSuffix(string(text), "d")
	if n, err := strconv.ParseFloat(days, 64); inDays && err == nil && n > 0 && n <= 36500 {
		*l = lifetime(n * 24 * float64(time.Hour))
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil || d < 0 {
		return fmt.Errorf("%q is not a duration, such as 90d or 12h", text)
	}
	*l = lifetime(d)
	return nil
}
