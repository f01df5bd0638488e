package worker

// Exits are the exit statuses by which a program says more of its job than that the attempt failed. 0 means none.
type Exits struct {
	Later  int // not now: again after LaterSeconds; the attempt does not count
	GiveUp int // do not try again: the job is dead
	// LaterSeconds is the delay of Later, unless the program reports one.
	LaterSeconds float64
}
