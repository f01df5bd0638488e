package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	weir "github.com/weirhq/weir/client/go"
)

// The jobs of an order, each with its result.
type (
	// Reserve takes the pieces out of the stock.
	Reserve struct {
		Order int64 `json:"order"`
	}
	// Reservation is what there is to pay for.
	Reservation struct {
		Pieces int `json:"pieces"`
	}
	// Charge charges the card.
	Charge struct {
		Order       int64                   `json:"order"`
		Reservation weir.Input[Reservation] `json:"reservation"`
	}
	// Receipt is what the card company says.
	Receipt struct {
		Number string `json:"number"`
		Cents  int    `json:"cents"`
	}
	// Pack packs the parcel.
	Pack struct {
		Order int64 `json:"order"`
	}
	// Ship hands the parcel to the carrier.
	Ship struct {
		Order   int64               `json:"order"`
		Receipt weir.Input[Receipt] `json:"receipt"`
	}
	// Parcel is what the carrier says.
	Parcel struct {
		Tracking string `json:"tracking"`
	}
)

// Kind names the job.
func (Reserve) Kind() string { return "reserve" }

// Kind names the job.
func (Charge) Kind() string { return "charge" }

// Kind names the job.
func (Pack) Kind() string { return "pack" }

// Kind names the job.
func (Ship) Kind() string { return "ship" }

// Result ties a Reservation to the job.
func (Reserve) Result() (r Reservation) { return r }

// Result ties a Receipt to the job.
func (Charge) Result() (r Receipt) { return r }

// Result ties a Parcel to the job.
func (Ship) Result() (p Parcel) { return p }

// worker runs the jobs of orders.
func (s *shop) worker(client *weir.Client) *weir.Worker {
	w := weir.NewWorker(client, weir.WorkerConfig{
		Queues: []string{"orders"}, Concurrency: 20, Middleware: []weir.Middleware{weir.Logging(slog.Default())},
	})
	weir.Register(w, s.reserve)
	weir.Handle(w, s.charge, weir.Concurrency(5)) // the card company takes no more at once
	weir.Register(w, s.pack)
	weir.Register(w, s.ship)
	return w
}

// reserve changes the stock and completes the job in one transaction, so however often it is tried, the pieces are taken once.
func (s *shop) reserve(ctx context.Context, j *weir.Job[Reserve]) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var r Reservation
		err := tx.QueryRow(ctx, `with o as (update orders set reserved_at = now() where id = $1 returning item, pieces)
			update stock s set pieces = s.pieces - o.pieces from o where s.item = o.item returning o.pieces`, j.Args.Order).Scan(&r.Pieces)
		if err != nil {
			return err
		}
		return j.CompleteTx(ctx, tx, r)
	})
}

// charge calls a service outside the database, with the job's id as the idempotency key, because a job may run twice.
func (s *shop) charge(ctx context.Context, j *weir.Job[Charge]) (Receipt, error) {
	reserved, err := j.Args.Reservation.Get(j.RawJob)
	if err != nil {
		return Receipt{}, weir.Discard(err)
	}
	return callCardCompany(ctx, j.ID.String(), reserved.Pieces*995)
}

func callCardCompany(ctx context.Context, key string, cents int) (Receipt, error) {
	select {
	case <-time.After(2 * time.Millisecond):
		return Receipt{Number: "r-" + key, Cents: cents}, nil
	case <-ctx.Done():
		return Receipt{}, context.Cause(ctx)
	}
}

func (s *shop) pack(_ context.Context, j *weir.Job[Pack]) error {
	for side := range 3 {
		j.Progress(float64(side)*100/3, "folding the box")
	}
	j.Log().Info("packed", "order", j.Args.Order)
	return nil
}

func (s *shop) ship(ctx context.Context, j *weir.Job[Ship]) error {
	receipt, err := j.Args.Receipt.Get(j.RawJob)
	if err != nil {
		return weir.Discard(err)
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		parcel := Parcel{Tracking: fmt.Sprintf("p-%d", j.Args.Order)}
		_, err := tx.Exec(ctx, "update orders set receipt = $2, parcel = $3 where id = $1", j.Args.Order, receipt.Number, parcel.Tracking)
		if err != nil {
			return err
		}
		return j.CompleteTx(ctx, tx, parcel)
	})
}
