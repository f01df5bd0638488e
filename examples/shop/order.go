package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	weir "github.com/weirhq/weir/client/go"
)

// shop is the shop's database.
type shop struct{ pool *pgxpool.Pool }

func (s *shop) setup(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `
		create table if not exists stock (item text primary key, pieces int not null check (pieces >= 0));
		create table if not exists orders (id bigint generated always as identity primary key, item text not null references stock,
			pieces int not null check (pieces > 0), reserved_at timestamptz, receipt text, parcel text);
		insert into stock values ('book', 100000), ('lamp', 100000) on conflict do nothing`)
	return err
}

// Order is what a customer sends.
type Order struct {
	Item   string `json:"item"`
	Pieces int    `json:"pieces"`
}

// handler takes orders.
func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o Order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		id, err := s.place(r.Context(), o)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"id": %d}`+"\n", id)
	})
	return mux
}

// place stores an order together with the workflow that fulfils it: both are there, or neither.
func (s *shop) place(ctx context.Context, o Order) (id int64, err error) {
	return id, pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, "insert into orders (item, pieces) values ($1, $2) returning id", o.Item, o.Pieces).Scan(&id)
		if err != nil {
			return err
		}
		_, err = weir.SubmitTx(ctx, tx, fulfil(id))
		return err
	})
}

// fulfil is the workflow of an order. The parcel is packed while the card is charged; it is shipped when both are done.
func fulfil(order int64) *weir.Workflow {
	flow := weir.NewWorkflow("order", weir.WorkflowMetadata("order", order), weir.Deadline(24*time.Hour))
	in := weir.Queue("orders")
	reserved := weir.AddStep(flow, "reserve", Reserve{order}, in)
	paid := weir.AddStep(flow, "charge", Charge{order, reserved.Result()}, in, weir.Breaker("card"))
	packed := weir.AddTask(flow, "pack", Pack{order}, in, weir.After(reserved))
	weir.AddStep(flow, "ship", Ship{order, paid.Result()}, in, weir.After(packed))
	return flow
}

// check says whether all orders are fulfilled, each once.
func (s *shop) check(ctx context.Context) error {
	var orders, done, sold int64
	err := s.pool.QueryRow(ctx, `select count(*), count(parcel), coalesce(sum(pieces), 0) from orders where receipt is not null or parcel is null`).Scan(&orders, &done, &sold)
	if err != nil {
		return err
	}
	var gone int64
	if err := s.pool.QueryRow(ctx, "select 200000 - sum(pieces) from stock").Scan(&gone); err != nil {
		return err
	}
	if done < orders || gone != sold {
		return fmt.Errorf("%d of %d orders are shipped, %d pieces are sold and %d left the stock", done, orders, sold, gone)
	}
	fmt.Printf("%d orders: all paid and shipped once, and %d pieces left the stock\n", orders, gone)
	return nil
}
