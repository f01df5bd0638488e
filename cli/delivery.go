package cli

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/weirhq/weir/rest"
)

const (
	// testTimeout bounds the wait for the first attempt to deliver a test.
	testTimeout = 40 * time.Second

	// testInterval is how often the delivery is read meanwhile.
	testInterval = 300 * time.Millisecond
)

// tried sends a test, waits for the first attempt to deliver it, and returns that delivery as it came. deliveries lists them.
func (f answerFlags) tried(ctx context.Context, s *Session, test, deliveries rest.Call) (json.RawMessage, error) {
	type attempt struct {
		ID       string `json:"id"`
		Attempts int    `json:"attempts"`
	}
	_, sent, err := read[attempt](ctx, s, f, test)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	for {
		page, err := f.page(ctx, s, deliveries, 100)
		if err != nil {
			return nil, err
		}
		for _, answer := range page.Items {
			d, err := decode[attempt](answer)
			if err != nil {
				return nil, err
			}
			if d.ID == sent.ID && d.Attempts > 0 {
				return answer, nil
			}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ctx.Err()
			}
			return nil, errors.New("there was no attempt to deliver the test yet: does a node run chores?")
		case <-time.After(testInterval):
		}
	}
}
