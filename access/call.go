package access

import "context"

// Call says where a change comes from, for the audit trail.
type Call struct {
	// Operation is the id of the operation in the OpenAPI document.
	Operation string
	// RequestID is the X-Request-Id of the call.
	RequestID string
	// Remote is the address of the client.
	Remote string
}

type callKey struct{}

// WithCall returns a context whose changes are recorded as made by a call.
func WithCall(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom returns the call that a change is part of, if there is one.
func CallFrom(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(Call)
	return c, ok
}
