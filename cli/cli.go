// Package cli holds the client commands of weir: those that call a node over HTTP and print its answer. The struct tags
// describe the command line to kong; cmd/weir assembles and runs it.
//
// It talks to a node like any other client, and must not import api, jobs, db or migrations. It reads no environment: a
// Session says what the terminal can show and who its user is.
//
// A file is a noun. A command's flags are a struct, its Run makes one call and prints the answer through show or list,
// which also serve --json.
package cli

// Commands are the client commands.
type Commands struct {
	Enqueue    enqueueCommand    `cmd:"" help:"Enqueue a job."`
	Job        jobCommands       `cmd:"" help:"Show a job, wait for it, cancel or retry it."`
	Queue      queueCommands     `cmd:"" help:"List queues; show, pause, resume, purge or configure one."`
	Queues     listQueues        `cmd:"" hidden:"" help:"List queues."`
	Workers    workerCommands    `cmd:"" help:"List workers; show, pause, resume, drain or remove one."`
	Dead       deadCommands      `cmd:"" help:"List dead letters; show, redrive or purge them."`
	Breakers   breakerCommands   `cmd:"" help:"List circuit breakers; show, trip, reset, pin, configure or delete one."`
	Operations operationCommands `cmd:"" help:"List bulk operations that run in the background; watch or cancel one."`
	Workflow   workflowCommands  `cmd:"" aliases:"workflows" help:"List workflows; draw, submit, cancel, retry, fork or signal one."`
	Webhooks   webhookCommands   `cmd:"" help:"List webhooks; add, test or delete one, show its deliveries."`
	Keys       keyCommands       `cmd:"" help:"List API keys; make, show, rotate or revoke one."`
	Audit      auditCommand      `cmd:"" help:"List the audit trail: who changed what, when and from where."`
	Schedules  scheduleCommands  `cmd:"" help:"List schedules; show, create, preview, pause, trigger or delete one."`
}
