package terminal

// Painter colours words if it is true, and leaves them as they are otherwise.
type Painter bool

// Style is how a text looks.
type Style string

// The styles: green is good, yellow is under way, red needs attention.
const (
	Plain   Style = ""
	Green   Style = "\x1b[32m"
	Yellow  Style = "\x1b[33m"
	Red     Style = "\x1b[31m"
	Bold    Style = "\x1b[1m"
	Dim     Style = "\x1b[2m"
	Reverse Style = "\x1b[7m"
	Focus   Style = "\x1b[7;32m" // of a title

	reset = "\x1b[0m"
)

var stateStyles = map[string]Style{
	"completed": Green,
	"resolved":  Green, "delivered": Green,
	"running": Yellow, "acknowledged": Yellow, "pending": Yellow, "retryable": Yellow, "paused": Yellow, "draining": Yellow, "half_open": Yellow,
	"dead": Red, "lost": Red, "open": Red, "failed": Red,
	// events
	"timed_out": Red, "worker_lost": Red, "breaker_opened": Red, "workflow_failed": Red, "ERROR": Red, "WARN": Yellow,
	"breaker_half_opened": Yellow, "breaker_closed": Green, "workflow_completed": Green,
}

// StateStyle is the style of a state.
func StateStyle(state string) Style { return stateStyles[state] }

// State colours a state.
func (p Painter) State(state string) string {
	state = OneLine(state)
	return p.In(StateStyle(state), state)
}

// In gives a text, which must be safe to print, a style.
func (p Painter) In(style Style, text string) string {
	if !p || style == Plain || text == "" {
		return text
	}
	return string(style) + text + reset
}
