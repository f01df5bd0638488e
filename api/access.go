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
	byTenant                // it covers what is the caller's tenant's and serves all queues: a caller who is bound to some is refused
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
	"dryRunJob":        {producers, byItself},
	"getJob":           {lookers, byJob},
	"getTimeline":      {lookers, byJob},
	"getLog":           {lookers, byJob},
	"getWhy":           {lookers, byJob},
	"compareJobs":      {lookers, byJob},
	"listSimilarJobs":  {lookers, byJob},
	"listChildren":     {lookers, byJob},
	"listDependencies": {append(workers, lookers...), byJob},
	"cancelJob":        {append(producers, operators...), byJob},
	"retryJob":         {operators, byJob},
	"replayJob":        {operators, byJob},
	"editJob":          {operators, byJob},
	"listJobs":         {lookers, byItself},
	"changeJobs":       {operators, byItself},
	"exportJobs":       {readers, byItself},
	"getFacets":        {lookers, byItself},

	"listPresets":  {readers, byItself},
	"getPreset":    {readers, byItself},
	"createPreset": {operators, byItself},
	"putPreset":    {operators, byItself},
	"deletePreset": {operators, byItself},

	"claimJobs":     {workers, byItself},
	"ackJobs":       {workers, byItself},
	"completeJob":   {workers, byItself},
	"failJob":       {workers, byItself},
	"snoozeJob":     {workers, byItself},
	"releaseJob":    {workers, byItself},
	"heartbeatJob":  {workers, byItself},
	"heartbeatJobs": {workers, byItself},
	"logJob":        {workers, byItself},
	"addSteps":      {workers, byItself},
	"startWorkflow": {workers, byItself},

	"listWorkers":       {readers, byItself},
	"getWorker":         {append(workers, readers...), byItself},
	"registerWorker":    {append(workers, operators...), byItself},
	"heartbeatWorker":   {append(workers, operators...), byItself},
	"editWorker":        {operators, byItself},
	"removeWorker":      {operators, byItself},
	"pauseWorker":       {operators, byItself},
	"resumeWorker":      {operators, byItself},
	"drainWorker":       {operators, byItself},
	"listWorkerJobs":    {readers, byItself},
	"listWorkerHistory": {readers, byItself},

	"listQueues":        {readers, byItself},
	"getQueue":          {readers, byQueue},
	"getQueueStats":     {readers, byQueue},
	"getQueueWhy":       {readers, byQueue},
	"getForecast":       {readers, byQueue},
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

	"listBreakers":      {readers, byTenant},
	"getBreaker":        {readers, byTenant},
	"listBreakerEvents": {readers, byTenant},
	"putBreaker":        {operators, byTenant},
	"editBreaker":       {operators, byTenant},
	"deleteBreaker":     {operators, byTenant},
	"pinBreaker":        {operators, byTenant},
	"tripBreaker":       {operators, byTenant},
	"resetBreaker":      {operators, byTenant},
	"reportToBreaker":   {append(workers, operators...), byTenant},

	"listSchedules":     {readers, byItself},
	"getSchedule":       {readers, byItself},
	"listScheduleRuns":  {readers, byItself},
	"previewSchedule":   {readers, byItself},
	"previewDefinition": {lookers, nothing},
	"createSchedule":    {operators, byItself},
	"putSchedule":       {operators, byItself},
	"editSchedule":      {operators, byItself},
	"deleteSchedule":    {operators, byItself},
	"pauseSchedule":     {operators, byItself},
	"resumeSchedule":    {operators, byItself},
	"triggerSchedule":   {operators, byItself},

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

	"listWebhooks":        {readers, byItself},
	"getWebhook":          {readers, byItself},
	"listDeliveries":      {readers, byItself},
	"createWebhook":       {operators, byItself},
	"editWebhook":         {operators, byItself},
	"deleteWebhook":       {operators, byItself},
	"enableWebhook":       {operators, byItself},
	"disableWebhook":      {operators, byItself},
	"rotateWebhookSecret": {operators, byItself},
	"testWebhook":         {operators, byItself},

	"listAlerts":                {readers, byItself},
	"getAlert":                  {readers, byItself},
	"listAlertDeliveries":       {readers, byItself},
	"evaluateAlerts":            {readers, byItself},
	"getAlertStats":             {readers, byItself},
	"acknowledgeAlert":          {operators, byItself},
	"listAlertRules":            {readers, byItself},
	"getAlertRule":              {readers, byItself},
	"createAlertRule":           {operators, byItself},
	"putAlertRule":              {operators, byItself},
	"editAlertRule":             {operators, byItself},
	"deleteAlertRule":           {operators, byItself},
	"muteAlertRule":             {operators, byItself},
	"unmuteAlertRule":           {operators, byItself},
	"listAlertTargets":          {readers, byItself},
	"getAlertTarget":            {readers, byItself},
	"listAlertTargetDeliveries": {readers, byItself},
	"createAlertTarget":         {admins, byItself},
	"editAlertTarget":           {admins, byItself},
	"deleteAlertTarget":         {admins, byItself},
	"testAlertTarget":           {admins, byItself},

	"streamEvents": {readers, byItself},

	"getScheduleStats": {readers, byItself},
	"getTenantStats":   {readers, byItself},
	"getWorkerStats":   {readers, byItself},
	"getWorkflowStats": {readers, byItself},
	"getOverview":      {readers, byItself},
	"getDistribution":  {readers, byItself},
	"getPeaks":         {readers, byItself},
	"getRetries":       {readers, byItself},
	"getThroughput":    {readers, byItself},
	"getWaitTimes":     {readers, byItself},
	"getRunTimes":      {readers, byItself},
	"getFailures":      {readers, byItself},

	"listAudit": {operators, unbound},

	"listTenants":  {readers, byItself},
	"getTenant":    {lookers, byItself},
	"putTenant":    {operators, unbound},
	"deleteTenant": {operators, unbound},

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
	case r.bound == byTenant && p.Limited():
		return newProblem(ctx, jobs.Forbidden, "a circuit breaker serves all queues of its tenant, and the key is bound to some")
	case r.bound == unbound && (p.Tenant != "" || p.Limited()):
		return newProblem(ctx, jobs.Forbidden, "this covers all tenants and queues, and the key is bound to some")
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
