// Package weir enqueues jobs and works on them, over REST or straight over SQL.
//
// A job is args that name their kind. A worker runs a function for each:
//
//	type SendReceipt struct{ Order int }
//
//	func (SendReceipt) Kind() string { return "send_receipt" }
//
//	client, err := weir.HTTP("http://127.0.0.1:8080") // or weir.SQL(pool)
//	client.Enqueue(ctx, SendReceipt{Order: 42}, weir.Queue("mail"))
//
//	w := weir.NewWorker(client, weir.WorkerConfig{Queues: []string{"mail"}})
//	weir.Register(w, func(ctx context.Context, job *weir.Job[SendReceipt]) error {
//		return send(ctx, job.Args.Order)
//	})
//	err = w.Run(ctx) // until ctx ends, and then until the jobs are done or given back
//
// Both ways have the same workers, handlers and calls, and jobs of both are the same jobs. [SQL] needs no node between, and completes jobs in the
// transactions of the application ([RawJob.CompleteTx]).
//
// Package weirtest has what tests need, package weirotel traces. docs/clients/go.md is the guide.
package weir
