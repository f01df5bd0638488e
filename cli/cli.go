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
	Jobs       searchJobs        `cmd:"" help:"List jobs, newest first: those that match all filters."`
	Queue      queueCommands     `cmd:"" help:"List queues; show, pause, resume, purge or configure one."`
	Queues     listQueues        `cmd:"" hidden:"" help:"List queues."`
	Workers    workerCommands    `cmd:"" help:"List workers; show, pause, resume, drain or remove one."`
	Dead       deadCommands      `cmd:"" help:"List dead letters; show, redrive or purge them."`
	Breakers   breakerCommands   `cmd:"" help:"List circuit breakers; show, trip, reset, pin, configure or delete one."`
	Operations operationCommands `cmd:"" help:"List bulk operations that run in the background; watch or cancel one."`
	Workflow   workflowCommands  `cmd:"" aliases:"workflows" help:"List workflows; draw, submit, cancel, retry, fork or signal one."`
	Presets    presetCommands    `cmd:"" help:"List presets: filters of jobs under a name; save, show or delete one."`
	Webhooks   webhookCommands   `cmd:"" help:"List webhooks; add, test or delete one, show its deliveries."`
	Alerts     alertCommands     `cmd:"" help:"List alerts; acknowledge one, set their rules and who is told."`
	Keys       keyCommands       `cmd:"" help:"List API keys; make, show, rotate or revoke one."`
	Tenants    tenantCommands    `cmd:"" help:"List tenants with quotas; show, set or delete the quota of one."`
	Tail       tailCommand       `cmd:"" help:"Print what happens as it happens: events of all jobs, or of one with its log."`
	Top        topCommand        `cmd:"" help:"Show queues, workers and what is slow or wrong on a live screen."`
	Stats      statsCommand      `cmd:"" help:"Print the numbers of the last hour: jobs by state, rates, times, what waits longest."`
	Audit      auditCommand      `cmd:"" help:"List the audit trail: who changed what, when and from where."`
	Schedules  scheduleCommands  `cmd:"" help:"List schedules; show, create, preview, pause, trigger or delete one."`
	Completion completionCommand `cmd:"" help:"Print a script that makes your shell complete command lines of weir."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what may stand at the cursor of a command line."`
}
