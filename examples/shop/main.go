// Command shop is an example of weir in a program with a database of its own: a web shop whose orders, stock and payments are in the same
// PostgreSQL as the jobs.
//
//	shop setup      makes the shop's tables
//	shop serve      takes orders at POST /orders, and works on their workflows
//	shop check      says whether every order is paid and shipped once, and the stock is right
//
// DATABASE_URL is the address of the database, which has weir's schema and at least one node (weir serve). SHOP_ADDR is where serve listens;
// it defaults to 127.0.0.1:8088.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	weir "github.com/weirhq/weir/client/go"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: shop setup | serve | check")
	}
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	s := &shop{pool: pool}
	switch args[0] {
	case "setup":
		return s.setup(ctx)
	case "serve":
		return s.serve(ctx, cmp.Or(os.Getenv("SHOP_ADDR"), "127.0.0.1:8088"))
	case "check":
		return s.check(ctx)
	}
	return errors.New("usage: shop setup | serve | check")
}

// serve takes orders and works on them until ctx ends.
func (s *shop) serve(ctx context.Context, address string) error {
	client := weir.SQL(s.pool)
	defer client.Close()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	defer server.Close()
	go func() { _ = server.Serve(listener) }()
	fmt.Printf("taking orders at http://%s/orders\n", listener.Addr())
	return s.worker(client).Run(ctx)
}
