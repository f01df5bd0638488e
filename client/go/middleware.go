package weir

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Logging is middleware that logs the end of each attempt: at level debug if it went well, snoozed, cancelled by its handler or given back in a shutdown, warn if it failed, and error if that was the
// last attempt. Args, results and metadata are not logged.
func Logging(log *slog.Logger) Middleware {
	return func(next HandlerFunc) HandlerFunc {
		return func(ctx context.Context, j *RawJob) error {
			began := time.Now()
			err := next(ctx, j)
			level, what := slog.LevelDebug, "a job ran"
			o := wanted(err)
			switch {
			case err == nil:
			case o != nil && o.what == outcomeSnooze:
				what = "a job was snoozed"
			case o != nil && o.what == outcomeCancel:
				what = "a job was cancelled by its handler"
			case errors.Is(context.Cause(ctx), ErrShutdown):
				what = "a job was given back"
			case j.Last() || o != nil && o.what == outcomeDiscard:
				level, what = slog.LevelError, "the last attempt of a job failed"
			default:
				level, what = slog.LevelWarn, "an attempt failed"
			}
			attrs := []slog.Attr{
				slog.String("job", j.ID.String()), slog.String("kind", j.Kind), slog.String("queue", j.Queue), slog.Int("attempt", j.Attempt),
				slog.Duration("ran", time.Since(began)),
			}
			if err != nil {
				attrs = append(attrs, slog.Any("error", err))
			}
			log.LogAttrs(ctx, level, what, attrs...)
			return err
		}
	}
}
