package terminal

// Painter colours words if it is true, and leaves them as they are otherwise.
type Painter bool

const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

var stateColours = map[string]string{
	"completed": green,
	"running":   yellow, "retryable": yellow, "paused": yellow, "draining": yellow, "half_open": yellow,
	"dead": red, "lost": red, "open": red, "failed": red,
}

// State colours a state: green is good, yellow is under way, red needs attention.
func (p Painter) State(state string) string {
	state = OneLine(state)
	colour := stateColours[state]
	if !p || colour == "" {
		return state
	}
	return colour + state + plain
}
