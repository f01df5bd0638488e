package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// work claims steps one by one and does them, until it is told to end. What it has in hand then it finishes.
func work(ctx context.Context, weir client, name string) error {
	for ctx.Err() == nil {
		steps, err := weir.claim(ctx, name)
		if err != nil && ctx.Err() == nil {
			fmt.Println("claiming:", err)
			time.Sleep(time.Second)
		}
		for _, s := range steps {
			finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			done, err := do(finishing, weir, s)
			if err == nil {
				err = weir.complete(finishing, s, done)
			} else {
				err = errors.Join(err, weir.fail(finishing, s, err))
			}
			cancel()
			if err != nil {
				fmt.Printf("%s %s: %v\n", s.Kind, s.ID, err)
			}
		}
	}
	return nil
}

// do does one step.
func do(ctx context.Context, weir client, s claimed) (completion, error) {
	switch s.Kind {
	case "list":
		return list(s.Args, weir.queue)
	case "count":
		c := counts{}
		for _, path := range s.Args.Files {
			if err := c.countFile(filepath.Join(s.Args.Folder, path)); err != nil {
				return completion{}, err
			}
		}
		return completion{Result: c}, nil
	case "reduce":
		c := counts{}
		err := eachResult(ctx, weir, s, func(part counts) error {
			c.take(part, s.Args.Shard)
			return nil
		})
		return completion{Result: c.summary()}, err
	case "total":
		var all summary
		err := eachResult(ctx, weir, s, all.add)
		return completion{Result: all}, err
	}
	return completion{}, fmt.Errorf("there are no steps of kind %s", s.Kind)
}

// eachResult reads the results of the steps that one depends on.
func eachResult[T any](ctx context.Context, weir client, s claimed, use func(T) error) error {
	results, err := weir.results(ctx, s)
	if err != nil {
		return err
	}
	for name, text := range results {
		var result T
		if err := json.Unmarshal(text, &result); err != nil {
			return fmt.Errorf("reading the result of %s: %w", name, err)
		}
		if err := use(result); err != nil {
			return fmt.Errorf("using the result of %s: %w", name, err)
		}
	}
	return nil
}

// list looks at what there is and adds the steps that count it, those that each add up a part of the words, and the one that adds up all.
func list(args stepArgs, queue string) (completion, error) {
	files, err := filesUnder(args.Folder)
	if err != nil {
		return completion{}, err
	}
	var steps []step
	var part []string
	var size int64
	finish := func() {
		steps = append(steps, step{
			Name: fmt.Sprint("count-", len(steps)), Kind: "count", Queue: queue, Args: stepArgs{Folder: args.Folder, Files: part}, DependsOn: []string{"list"},
		})
		part, size = nil, 0
	}
	for _, f := range files {
		part = append(part, f.path)
		if size += f.size; size >= args.Size {
			finish()
		}
	}
	if len(part) > 0 || len(steps) == 0 {
		finish()
	}
	var counted []string
	for _, s := range steps {
		counted = append(counted, s.Name)
	}
	total := step{Name: "total", Kind: "total", Queue: queue}
	for shard := range shards {
		reduce := step{Name: fmt.Sprint("reduce-", shard), Kind: "reduce", Queue: queue, Args: stepArgs{Shard: shard}, DependsOn: counted}
		total.DependsOn = append(total.DependsOn, reduce.Name)
		steps = append(steps, reduce)
	}
	return completion{Result: map[string]int{"files": len(files)}, AddSteps: append(steps, total)}, nil
}
