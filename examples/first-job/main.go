// Command first-job enqueues a job, works on it and prints its result.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	weir "github.com/weirhq/weir/client/go"
)

// Greet is the args of a job. The result is a text.
type Greet struct{ Name string }

// Kind is the name by which workers in any language know the job.
func (Greet) Kind() string { return "greet" }

// Result declares the type of the result. It is never called.
func (Greet) Result() (text string) { return text }

func main() {
	client, err := weir.HTTP(cmp.Or(os.Getenv("WEIR_URL"), "http://127.0.0.1:8080"))
	if err != nil {
		log.Fatal(err)
	}
	w := weir.NewWorker(client, weir.WorkerConfig{})
	weir.Handle(w, func(_ context.Context, job *weir.Job[Greet]) (string, error) {
		return "Hello, " + job.Args.Name + ", from Go", nil
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()

	text, err := weir.Call(ctx, client, Greet{Name: "weir"})
	stop()
	if err == nil {
		err = <-ended
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
}
