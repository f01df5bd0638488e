package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"
)

type queuesCommand struct {
	JSON bool `name:"json" help:"Print the service's answer."`
	clientFlags
}

// queue is what people are shown of a queue.
type queue struct {
	Name                   string  `json:"name"`
	Paused                 bool    `json:"paused"`
	Available              int64   `json:"available"`
	Running                int64   `json:"running"`
	Scheduled              int64   `json:"scheduled"`
	Retryable              int64   `json:"retryable"`
	Held                   int64   `json:"held"`
	Dead                   int64   `json:"dead"`
	OldestAvailableSeconds float64 `json:"oldest_available_seconds"`
}

// Run lists all queues.
func (c *queuesCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	all, err := listAll(ctx, weir, "/v1/queues", url.Values{})
	if err != nil {
		return err
	}
	if c.JSON {
		text, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return printJSON(std.out, text)
	}
	if len(all.Items) == 0 {
		fmt.Fprintln(std.out, "There are no queues yet: a queue comes into being at its first job.")
		return nil
	}
	return printQueues(std.out, all.Items)
}

func printQueues(w io.Writer, items []json.RawMessage) error {
	paint := newPainter(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "QUEUE\tAVAILABLE\tRUNNING\tSCHEDULED\tRETRYABLE\tHELD\tDEAD\tOLDEST\tSTATE")
	for _, item := range items {
		var q queue
		if err := json.Unmarshal(item, &q); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		oldest, state := "-", "active"
		if q.Available > 0 {
			oldest = roughly(time.Duration(q.OldestAvailableSeconds * float64(time.Second)))
		}
		if q.Paused {
			state = paint.state("paused")
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", oneLine(q.Name), q.Available, q.Running, q.Scheduled, q.Retryable, q.Held, q.Dead, oldest, state)
	}
	return table.Flush()
}
