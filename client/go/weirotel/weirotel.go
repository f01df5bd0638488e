// Package weirotel traces jobs from the enqueue to the end of their handlers. It uses the API of OpenTelemetry only: what is done with the spans is up
// to the provider that the program sets up, and without one nothing is.
//
//	client, err := weir.HTTP(url, weirotel.Propagate())
//	w := weir.NewWorker(client, weir.WorkerConfig{Middleware: []weir.Middleware{weirotel.Tracing()}})
package weirotel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	weir "github.com/weirhq/weir/client/go"
)

const (
	scope = "github.com/weirhq/weir/client/go"
	// Carrier is the member of a job's metadata that holds the trace context, as an object of headers of W3C Trace Context. Programs in other languages
	// may read and write it.
	Carrier = "trace"
)

// Propagate has a client write the trace context of the caller into the metadata of the jobs that it enqueues.
func Propagate() weir.ClientOption {
	return weir.OnEnqueue(func(ctx context.Context, j *weir.NewJob) { inject(ctx, j) })
}

// Inject is [Propagate] for one job: an option of weir.EnqueueTx, which has no client.
func Inject(ctx context.Context) weir.Option {
	return func(j *weir.NewJob) { inject(ctx, j) }
}

func inject(ctx context.Context, j *weir.NewJob) {
	carrier := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, carrier)
	if len(carrier) > 0 {
		weir.Metadata(Carrier, map[string]string(carrier))(j)
	}
}

// Tracing is middleware that makes a span of each attempt, as a child of the one that the job was enqueued in.
func Tracing() weir.Middleware {
	return func(next weir.HandlerFunc) weir.HandlerFunc {
		return func(ctx context.Context, j *weir.RawJob) error {
			if carrier, err := weir.MetadataValue[map[string]string](j, Carrier); err == nil {
				ctx = otel.GetTextMapPropagator().Extract(ctx, propagation.MapCarrier(carrier))
			}
			ctx, span := otel.Tracer(scope).Start(ctx, "process "+j.Kind, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
				attribute.String("messaging.system", "weir"),
				attribute.String("messaging.operation.type", "process"),
				attribute.String("messaging.destination.name", j.Queue),
				attribute.String("messaging.message.id", j.ID.String()),
				attribute.String("weir.kind", j.Kind),
				attribute.Int("weir.attempt", j.Attempt),
			))
			defer span.End()
			err := next(ctx, j)
			if err != nil {
				span.RecordError(err)
				span.SetStatus(codes.Error, err.Error())
			}
			return err
		}
	}
}
