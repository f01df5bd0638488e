// Command checksums is an example of a real, if small, use of weir: every file under a folder becomes a job, workers
// run sha256sum on them, and at the end the results are compared with what sha256sum says when asked directly.
//
//	checksums enqueue DIR   makes a job of each file, a thousand in a request
//	checksums worker        does one job: args on standard input, result on standard output; for `weir work`
//	checksums verify DIR    waits until the queue has no more to do, and compares
//
// It talks to weir over REST alone and uses nothing but the standard library, so it reads as a client in any language would.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
	"unicode/utf8"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "checksums:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("usage: checksums enqueue DIR | worker | verify DIR   (-h after a command lists its flags)")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	command := args[0]
	flags := flag.NewFlagSet(command, flag.ExitOnError)
	url := flags.String("url", cmp.Or(os.Getenv("WEIR_URL"), "http://127.0.0.1:8080"), "where weir is (or $WEIR_URL)")
	queue := flags.String("queue", "checksums", "the queue to use")
	timeout := flags.Duration("timeout", 10*time.Minute, "verify: how long to wait for the jobs to end")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}

	if command == "worker" && flags.NArg() == 0 {
		return work(ctx, os.Stdin, os.Stdout)
	}
	if command != "enqueue" && command != "verify" || flags.NArg() != 1 {
		return errUsage
	}
	files, err := filesUnder(flags.Arg(0))
	if err != nil {
		return err
	}
	weir := client{url: *url, queue: *queue}
	if command == "enqueue" {
		return enqueue(ctx, weir, files)
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return verify(ctx, weir, files)
}

// filesUnder lists the regular files under a folder by absolute path, as the worker runs in a folder of its own.
// It follows no symbolic links.
func filesUnder(folder string) ([]string, error) {
	root, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	var files []string
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if !utf8.ValidString(path) {
			return fmt.Errorf("the name %q is not UTF-8, so JSON cannot carry it", path)
		}
		files = append(files, path)
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there are no files under %s", root)
	}
	return files, err
}

func enqueue(ctx context.Context, weir client, files []string) error {
	began := time.Now()
	for batch := range slices.Chunk(files, 1000) {
		if err := weir.enqueue(ctx, batch); err != nil {
			return fmt.Errorf("enqueueing: %w", err)
		}
	}
	fmt.Printf("%d files enqueued to %s in %v\n", len(files), weir.queue, time.Since(began).Round(time.Millisecond))
	return nil
}
