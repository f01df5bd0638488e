// Command wordcount is an example of a workflow: it counts the words of every file under a folder, in steps that run on any number of workers, and at
// the end compares the total with a count by a single process.
//
//	wordcount submit DIR       submits the workflow, and prints its id
//	wordcount worker           works on steps until it is told to end
//	wordcount verify ID DIR    waits for the end of the workflow, and compares
//
// The workflow begins as a single step, list. When that has seen what there is, it adds the others, with its completion:
//
//	list ─┬─▶ count-0 ─┬─▶ reduce-0 ─┬─▶ total
//	      ├─▶ count-1 ─┼─▶ reduce-1 ─┤
//	      └─▶ …       ─┴─▶ …        ─┘
//
// Each reduce step adds up an eighth of the words, from the results of all count steps.
//
// It talks to weir over REST alone and uses nothing but the standard library, so it reads as a client in any language would.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "wordcount:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: wordcount submit DIR | worker | verify ID DIR   (-h after a command lists its flags)")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	command := args[0]
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	url := flags.String("url", cmp.Or(os.Getenv("WEIR_URL"), "http://127.0.0.1:8080"), "where weir is (or $WEIR_URL)")
	queue := flags.String("queue", "wordcount", "the queue to use")
	name := flags.String("name", "wordcount", "worker: its name")
	size := flags.Int64("size", 256<<10, "submit: about how many bytes a step counts")
	timeout := flags.Duration("timeout", 10*time.Minute, "verify: how long to wait for the end of the workflow")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	weir := client{url: *url, queue: *queue}
	switch {
	case command == "worker" && flags.NArg() == 0:
		return work(ctx, weir, *name)
	case command == "submit" && flags.NArg() == 1:
		folder, err := filepath.Abs(flags.Arg(0))
		if err != nil {
			return err
		}
		id, err := weir.submit(ctx, workflow{Name: "wordcount", Steps: []step{
			{Name: "list", Kind: "list", Queue: *queue, Args: stepArgs{Folder: folder, Size: *size}},
		}})
		if err == nil {
			fmt.Println(id)
		}
		return err
	case command == "verify" && flags.NArg() == 2:
		ctx, cancel := context.WithTimeout(ctx, *timeout)
		defer cancel()
		return verify(ctx, weir, flags.Arg(0), flags.Arg(1))
	}
	return errUsage
}
