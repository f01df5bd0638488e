package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verify waits until the queue has nothing left to do, then compares what the jobs say with what sha256sum says.
// Each file must have been done, and rightly, by the newest job that names it.
func verify(ctx context.Context, weir client, files []string) error {
	if err := wait(ctx, weir); err != nil {
		return fmt.Errorf("waiting for the jobs: %w", err)
	}
	newest, err := newestJobs(ctx, weir)
	if err != nil {
		return err
	}
	sums, err := sha256sums(ctx, files)
	if err != nil {
		return err
	}
	var differences []string
	for _, path := range files {
		if difference := compare(newest[path], path, sums[path]); difference != "" {
			differences = append(differences, path+": "+difference)
		}
	}
	if len(differences) > 0 {
		return fmt.Errorf("%d of %d files differ:\n%s", len(differences), len(files), strings.Join(differences, "\n"))
	}
	fmt.Printf("%d files: every result is what sha256sum says\n", len(files))
	return nil
}

func wait(ctx context.Context, weir client) error {
	began := time.Now()
	defer fmt.Println()
	for {
		left, err := weir.unfinished(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("\r%4.0f s: %d jobs left    ", time.Since(began).Seconds(), left)
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// newestJobs gives, for each path, the ended job that was enqueued last: the example may have been run before.
func newestJobs(ctx context.Context, weir client) (map[string]job, error) {
	newest := make(map[string]job)
	for _, state := range []string{"completed", "cancelled", "dead"} {
		for j, err := range weir.jobs(ctx, state) {
			if err != nil {
				return nil, fmt.Errorf("listing %s jobs: %w", state, err)
			}
			if enqueued(j) > enqueued(newest[j.Args.Path]) {
				newest[j.Args.Path] = j
			}
		}
	}
	return newest, nil
}

// enqueued orders jobs: ids grow. They are numbers in strings, as JavaScript would round such numbers.
func enqueued(j job) int64 {
	id, _ := strconv.ParseInt(j.ID, 10, 64)
	return id
}

// sha256sums asks sha256sum itself, for some hundreds of files at a time.
func sha256sums(ctx context.Context, files []string) (map[string]string, error) {
	sums := make(map[string]string, len(files))
	for batch := range slices.Chunk(files, 500) {
		arguments := append([]string{"--zero", "--"}, batch...) // --zero: no quoting of unusual names
		command := exec.CommandContext(ctx, "sha256sum", arguments...)
		command.Stderr = os.Stderr
		output, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("running sha256sum: %w", err)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(output), "\x00"), "\x00") {
			sum, path, _ := strings.Cut(line, "  ")
			sums[path] = sum
		}
	}
	return sums, nil
}

func compare(j job, path, sum string) string {
	if j.ID == "" {
		return "no job of it has ended"
	}
	if j.State != "completed" {
		return fmt.Sprintf("job %s is %s: %s", j.ID, j.State, j.Error)
	}
	var result checksumResult
	if err := json.Unmarshal(j.Result, &result); err != nil {
		return fmt.Sprintf("job %s has the result %s, which is no checksum", j.ID, j.Result)
	}
	if result.Path != path || result.SHA256 != sum {
		return fmt.Sprintf("job %s says %s, sha256sum says %s", j.ID, j.Result, sum)
	}
	return ""
}
