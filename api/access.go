package api

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
)

// rule says who may call an operation. An admin may call all of them.
type rule struct {
	roles []access.Role
	bound bound
}

// bound says what keeps a caller to its own, who is bound to a tenant or to queues, or sees only what it enqueued.
type bound int

const (
	nothing    bound = iota // the operation shows and changes nothing of anyone's
	byItself                // the operation looks at the principal itself, or the engine does
	byJob                   // its path names a job, which must be the caller's
	byLetter                // its path names a dead letter, whose job must be the caller's
	byWorkflow              // its path names a workflow, which must be the caller's
	byQueue                 // its path names a queue, which the caller must be allowed to use
	untenanted              // it covers all tenants: a caller who is bound to one is refused
	unbound                 // it covers all tenants and queues: a caller who is bound to some is refused
)

var (
	everyone  = access.Roles
	producers = []access.Role{access.Producer}
	workers   = []access.Role{access.Worker}
	operators = []access.Role{access.Operator}
	readers   = []access.Role{access.Reader, access.Operator}
	admins    = []access.Role{access.Admin}
	// lookers also see what they enqueued themselves.
	lookers = []access.Role{access.Reader, access.Operator, access.Producer}
)

// rules has every operation. register panics on one that is missing here, so none can be forgotten.
var rules = map[string]rule{
	"getLiveness":   {nil, nothing},
	"getReadiness":  {nil, nothing},
	"getInfo":       {everyone, nothing},
	"getCaller":     {everyone, nothing},
	"getHealth":     {readers, unbound},
	"getResilience": {readers, unbound},

	"enqueueJob":       {producers, byItself},
	"enqueueJobs":      {producers, byItself},
	"getJob":           {lookers, byJob},
	"getTimeline":      {lookers, byJob},
	"getWhy":           {lookers, byJob},
	"listChildren":     {lookers, byJob},
	"listDependencies": {append(workers, lookers...), byJob},
	"cancelJob":        {append(producers, operators...), byJob},
	"retryJob":         {operators, byJob},
	"editJob":          {operators, byJob},
	"listJobs":         {lookers, byItself},
	"changeJobs":       {operators, byItself},
	"exportJobs":       {readers, byItself},

	"claimJobs":     {workers, byItself},
	"ackJobs":       {workers, byItself},
	"completeJob":   {workers, byItself},
	"failJob":       {workers, byItself},
	"snoozeJob":     {workers, byItself},
	"releaseJob":    {workers, byItself},
	"heartbeatJob":  {workers, byItself},
	"addSteps":      {workers, byItself},
	"startWorkflow": {workers, byItself},

	"listWorkers":       {readers, unbound},
	"getWorker":         {append(workers, readers...), untenanted},
	"registerWorker":    {append(workers, operators...), untenanted},
	"heartbeatWorker":   {append(workers, operators...), untenanted},
	"editWorker":        {operators, unbound},
	"removeWorker":      {operators, unbound},
	"pauseWorker":       {operators, unbound},
	"resumeWorker":      {operators, unbound},
	"drainWorker":       {operators, unbound},
	"listWorkerJobs":    {readers, unbound},
	"listWorkerHistory": {readers, unbound},

	"listQueues":        {readers, byItself},
	"getQueue":          {readers, byQueue},
	"getQueueStats":     {readers, byQueue},
	"listQueueLimits":   {readers, byQueue},
	"listQueueLines":    {readers, byQueue},
	"putQueue":          {operators, byQueue},
	"editQueue":         {operators, byQueue},
	"deleteQueue":       {operators, byQueue},
	"pauseQueue":        {operators, byQueue},
	"resumeQueue":       {operators, byQueue},
	"purgeQueue":        {operators, byQueue},
	"putKeyLimit":       {operators, byQueue},
	"deleteKeyLimit":    {operators, byQueue},
	"putTenantLimit":    {operators, byQueue},
	"deleteTenantLimit": {operators, byQueue},

	"listDeadLetters":    {readers, byItself},
	"getDeadLetter":      {readers, byLetter},
	"redriveDeadLetter":  {operators, byLetter},
	"purgeDeadLetter":    {operators, byLetter},
	"redriveDeadLetters": {operators, byItself},
	"purgeDeadLetters":   {operators, byItself},

	"listOperations":     {readers, byItself},
	"getOperation":       {readers, byItself},
	"getOperationResult": {readers, byItself},
	"cancelOperation":    {operators, byItself},

	"listBreakers":      {readers, unbound},
	"getBreaker":        {readers, unbound},
	"listBreakerEvents": {readers, unbound},
	"putBreaker":        {operators, unbound},
	"editBreaker":       {operators, unbound},
	"deleteBreaker":     {operators, unbound},
	"pinBreaker":        {operators, unbound},
	"tripBreaker":       {operators, unbound},
	"resetBreaker":      {operators, unbound},
	"reportToBreaker":   {append(workers, operators...), unbound},

	"listSchedules":     {readers, unbound},
	"getSchedule":       {readers, unbound},
	"listScheduleRuns":  {readers, unbound},
	"previewSchedule":   {readers, unbound},
	"previewDefinition": {lookers, nothing},
	"createSchedule":    {operators, unbound},
	"putSchedule":       {operators, unbound},
	"editSchedule":      {operators, unbound},
	"deleteSchedule":    {operators, unbound},
	"pauseSchedule":     {operators, unbound},
	"resumeSchedule":    {operators, unbound},
	"triggerSchedule":   {operators, unbound},

	"submitWorkflow":      {producers, byItself},
	"listWorkflows":       {lookers, byItself},
	"getWorkflow":         {lookers, byWorkflow},
	"getWorkflowGraph":    {lookers, byWorkflow},
	"getWorkflowTimeline": {lookers, byWorkflow},
	"listWorkflowSteps":   {lookers, byWorkflow},
	"signalWorkflow":      {append(producers, operators...), byWorkflow},
	"cancelWorkflow":      {operators, byWorkflow},
	"retryWorkflow":       {operators, byWorkflow},
	"forkWorkflow":        {operators, byWorkflow},

	"listWebhooks":        {readers, unbound},
	"getWebhook":          {readers, unbound},
	"listDeliveries":      {readers, unbound},
	"createWebhook":       {operators, unbound},
	"editWebhook":         {operators, unbound},
	"deleteWebhook":       {operators, unbound},
	"enableWebhook":       {operators, unbound},
	"disableWebhook":      {operators, unbound},
	"rotateWebhookSecret": {operators, unbound},
	"testWebhook":         {operators, unbound},

	"streamEvents": {readers, byItself},

	"listAudit": {operators, unbound},

	"listKeys":  {admins, unbound},
	"createKey": {admins, unbound},
	"getKey":    {admins, unbound},
	"editKey":   {admins, unbound},
	"rotateKey": {admins, unbound},
	"revokeKey": {admins, unbound},
}

// metricsRule is that of /metrics, which is no operation.
var metricsRule = rule{readers, unbound}

func ruleOf(operation string) rule {
	r, ok := rules[operation]
	if !ok {
		panic("api/access.go has no rule for the operation " + operation)
	}
	return r
}

// public says whether everyone may call it, without a credential.
func (r rule) public() bool { return len(r.roles) == 0 }

// admits refuses a principal that has none of the roles, or is bound where the operation is about everything.
func (r rule) admits(ctx context.Context, p *access.Principal) *Problem {
	if !p.Has(r.roles...) {
		return newProblem(ctx, jobs.Forbidden, fmt.Sprintf("this takes one of the roles %v, which the key does not have", r.documented()))
	}
	switch {
	case r.bound == unbound && (p.Tenant != "" || p.Limited()):
		return newProblem(ctx, jobs.Forbidden, "this covers all tenants and queues, and the key is bound to some")
	case r.bound == untenanted && p.Tenant != "":
		return newProblem(ctx, jobs.Forbidden, "this covers all tenants, and the key is bound to one")
	}
	return nil
}

// documented are the roles that may call it, the weakest first.
func (r rule) documented() []access.Role {
	if r.public() {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(access.Roles), func(role access.Role) bool {
		return role != access.Admin && !slices.Contains(r.roles, role)
	})
}

// secure documents who may call an operation, and returns the codes of the refusals.
func (r rule) secure(op *huma.Operation) []jobs.Code {
	if r.public() {
		op.Security = []map[string][]string{}
		return nil
	}
	op.Security = []map[string][]string{{bearer: {}}}
	if op.Extensions == nil {
		op.Extensions = map[string]any{}
	}
	op.Extensions["x-weir-roles"] = r.documented()
	return []jobs.Code{unauthenticated, jobs.Forbidden, rateLimited}
}

// pathField finds the field of an input that takes the object that the path names: nil if there is none.
func pathField(input reflect.Type) []int {
	for _, field := range reflect.VisibleFields(input) {
		if name, ok := field.Tag.Lookup("path"); ok && (name == "id" || name == "name") {
			return field.Index
		}
	}
	return nil
}

// keep refuses an object that is not the caller's, as if there were none.
func (a *API) keep(ctx context.Context, b bound, object string) error {
	p := access.From(ctx)
	if p == nil {
		return nil
	}
	switch b {
	case byJob:
		return a.engine.CheckJob(ctx, idOf(object))
	case byLetter:
		return a.engine.CheckDeadLetter(ctx, idOf(object))
	case byWorkflow:
		return a.engine.CheckWorkflow(ctx, idOf(object))
	case byQueue:
		return a.engine.CheckQueue(ctx, object)
	}
	return nil
}
