package alert

import (
	"context"
	"encoding/json"

	"github.com/weirhq/weir/jobs"
)

// postWebhook posts the alert as JSON, signed as the events of webhooks are. The id is the same in each attempt.
func (s *Sender) postWebhook(ctx context.Context, m jobs.AlertMessage, n notice) (problem string) {
	body, err := json.Marshal(n)
	if err != nil {
		return "the message cannot be written"
	}
	header, err := s.http.Headers([]string{m.Target.Secret}, "alert-"+m.ID.String(), body)
	if err != nil {
		return err.Error()
	}
	return s.http.Post(ctx, m.Target.URL, header, body, m.Target.Timeout()).Error
}
