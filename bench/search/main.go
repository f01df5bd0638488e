// Command search measures searches and statistics of a node, on the jobs that fill.sql makes:
//
//	weir migrate up && psql "$WEIR_DATABASE_URL" -f bench/search/fill.sql -c "call fill.run(10000000, 1000000)"
//	weir serve & cd bench && go run ./search
//
// It prints a table in Markdown: the median and the 95th percentile of the times of each call, of the first page, and how
// much that page had. Values differ from call to call where the query has {n}.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// calls are the paths to measure, by their name in the table.
var calls = []struct{ name, path string }{
	{"no filter", "/v1/jobs"},
	{"state, common", "/v1/jobs?state=completed"},
	{"state, rare", "/v1/jobs?state=dead"},
	{"state, several", "/v1/jobs?state=dead,cancelled"},
	{"queue", "/v1/jobs?state=completed&queue=queue_{n12}"},
	{"kind", "/v1/jobs?state=completed&kind=archive_user,render_user"},
	{"tenant, rare", "/v1/jobs?state=completed&tenant=tenant-{n199}"},
	{"tag, common", "/v1/jobs?state=completed&tag=tag_{n30}"},
	{"tag, rare", "/v1/jobs?state=completed&tag=vip"},
	{"worker", "/v1/jobs?state=completed&worker=worker-{n64}"},
	{"priority", "/v1/jobs?state=completed&priority={p}"},
	{"min_attempts", "/v1/jobs?state=completed&min_attempts=3"},
	{"max_attempts", "/v1/jobs?state=cancelled&max_attempts=1"},
	{"has_error", "/v1/jobs?has_error=true"},
	{"error_type", "/v1/jobs?error_type=DiskFull"},
	{"error, common", "/v1/jobs?error=refused"},
	{"error, rare", "/v1/jobs?error=%22host-{n500}%22"},
	{"error, none", "/v1/jobs?error=nowhere"},
	{"args, one job", "/v1/jobs?state=completed&args.order=order-{n9999999}"},
	{"args, some jobs", "/v1/jobs?state=completed&args.customer.id={n99999}"},
	{"args, common", "/v1/jobs?state=completed&args.customer.country=us"},
	{"args, none", "/v1/jobs?state=completed&args.nothing={n9}"},
	{"q, one job", "/v1/jobs?state=completed&q=order-{n9999999}"},
	{"q, some jobs", "/v1/jobs?state=completed&q=sku-{n5000}"},
	{"q, common", "/v1/jobs?state=completed&q=example.com"},
	{"q, none", "/v1/jobs?state=completed&q=nowhere"},
	{"min_run_seconds, rare", "/v1/jobs?state=completed&min_run_seconds=60"},
	{"min_run_seconds, none", "/v1/jobs?state=completed&min_run_seconds=9000"},
	{"max_run_seconds", "/v1/jobs?state=completed&max_run_seconds=0.01"},
	{"min_wait_seconds, common", "/v1/jobs?state=completed&min_wait_seconds=60"},
	{"min_wait_seconds, rare", "/v1/jobs?state=completed&min_wait_seconds=500"},
	{"max_wait_seconds", "/v1/jobs?state=completed&max_wait_seconds=0.1"},
	{"created, a day", "/v1/jobs?created_after={day}&created_before={dayafter}"},
	{"started, a day", "/v1/jobs?started_after={day}&started_before={dayafter}"},
	{"finished, a day", "/v1/jobs?finished_after={day}&finished_before={dayafter}"},
	{"together 1", "/v1/jobs?state=dead&queue=queue_{n12}&error=refused"},
	{"together 2", "/v1/jobs?state=completed&kind=archive_user&tenant=tenant-{n199}"},
	{"together 3", "/v1/jobs?state=dead&error_type=DiskFull&tenant=tenant-{n99}"},
	{"together 4", "/v1/jobs?state=completed&tag=vip&min_attempts=2"},
	{"together 5", "/v1/jobs?state=completed,cancelled&args.customer.id={n99999}&priority=5"},
	{"together 6", "/v1/jobs?q=sku-{n5000}&state=dead"},
	{"together 7", "/v1/jobs?worker=worker-{n64}&min_run_seconds=30"},
	{"together 8", "/v1/jobs?created_after={day}&created_before={dayafter}&error=%22timed+out%22"},
	{"together 9", "/v1/jobs?queue=queue_1&finished_after={day}&finished_before={dayafter}&min_run_seconds=20"},
	{"together 10", "/v1/jobs?q=%22charge+card%22+-us&state=completed&tenant=tenant-{n199}&min_attempts=2"},
	{"waiting: kind", "/v1/jobs?state=available&kind=archive_user"},
	{"waiting: args, one job", "/v1/jobs?state=available&args.order=order-1{n999999}"},
	{"facets, states and queues", "/v1/jobs/facets?facet=state,queue"},
	{"facets, no filter", "/v1/jobs/facets"},
	{"facets, dead of a queue", "/v1/jobs/facets?state=dead&queue=queue_{n12}"},
	{"facets, rare tag", "/v1/jobs/facets?state=completed&tag=vip"},
	{"stats", "/v1/stats"},
	{"throughput, 30 days", "/v1/stats/throughput?window_seconds=2592000&bucket_seconds=86400"},
	{"wait times, 30 days", "/v1/stats/wait-times?window_seconds=2592000&bucket_seconds=86400"},
	{"run times, 30 days", "/v1/stats/run-times?window_seconds=2592000&bucket_seconds=86400"},
	{"failures, 30 days", "/v1/stats/failures?window_seconds=2592000"},
	{"peaks, 30 days", "/v1/stats/peaks?window_seconds=2592000"},
	{"distribution, 30 days", "/v1/stats/distribution?window_seconds=2592000"},
	{"retries, 30 days", "/v1/stats/retries?window_seconds=2592000"},
}

// fillIn replaces the values of a path that differ from call to call.
func fillIn(path string) string {
	day := time.Now().Add(-time.Duration(2+rand.IntN(26)) * 24 * time.Hour).UTC().Truncate(time.Hour)
	pairs := []string{"{p}", strconv.Itoa(1 + rand.IntN(10)), "{day}", day.Format(time.RFC3339), "{dayafter}", day.Add(24 * time.Hour).Format(time.RFC3339)}
	for _, n := range []int{9, 12, 30, 64, 99, 199, 500, 5000, 99999, 999999, 9999999} {
		pairs = append(pairs, fmt.Sprintf("{n%d}", n), strconv.Itoa(rand.IntN(n)))
	}
	return strings.NewReplacer(pairs...).Replace(path)
}

// outcome is what one call took and answered.
type outcome struct {
	seconds float64
	items   int
	cut     bool
}

func call(ctx context.Context, url string) (outcome, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return outcome{}, fmt.Errorf("making a request: %w", err)
	}
	began := time.Now()
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return outcome{}, fmt.Errorf("calling weir: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	o := outcome{seconds: time.Since(began).Seconds()}
	if err != nil || answer.StatusCode != http.StatusOK {
		return o, fmt.Errorf("%s: %s %.300s (%w)", url, answer.Status, text, err)
	}
	var page struct {
		Items          []json.RawMessage `json:"items"`
		SearchedBackTo string            `json:"searched_back_to"`
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return o, fmt.Errorf("reading the answer: %w", err)
	}
	o.items, o.cut = len(page.Items), page.SearchedBackTo != ""
	return o, nil
}

func run(ctx context.Context, url string, rounds int, only string) error {
	of := make([][]outcome, len(calls))
	for range rounds {
		for i, c := range calls {
			if !strings.Contains(c.name, only) {
				continue
			}
			o, err := call(ctx, url+fillIn(c.path))
			if err != nil {
				return err
			}
			of[i] = append(of[i], o)
		}
	}
	fmt.Println("| call | p50 ms | p95 ms | items | pages cut |\n|---|---|---|---|---|")
	for i, c := range calls {
		if len(of[i]) == 0 {
			continue
		}
		slices.SortFunc(of[i], func(a, b outcome) int { return int(1e9 * (a.seconds - b.seconds)) })
		items, cut := 0, 0
		for _, o := range of[i] {
			items += o.items
			if o.cut {
				cut++
			}
		}
		n := len(of[i])
		fmt.Printf("| %s | %.0f | %.0f | %.1f | %d |\n", c.name, 1000*of[i][n/2].seconds, 1000*of[i][min(n-1, n*95/100)].seconds, float64(items)/float64(n), cut)
	}
	return nil
}

func main() {
	url := flag.String("url", "http://127.0.0.1:8080", "address of the node")
	rounds := flag.Int("rounds", 20, "how often each call is made")
	only := flag.String("only", "", "only the calls whose name has this")
	flag.Parse()
	if err := run(context.Background(), *url, *rounds, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
