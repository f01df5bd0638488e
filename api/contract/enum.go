package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// enums is the names of the enums, each with a place that has it: a property of a schema, or a parameter of an operation. Everything else with
// the same values gets the same name, so that a value read here can be written there.
var enums = []struct{ name, place string }{
	{"AckOutcome", "Ack.outcome"},
	{"AckStatus", "AckResult.status"},
	{"AlertAction", "AlertFinding.action"},
	{"AlertCondition", "AlertRule.condition"},
	{"AlertDeliveryState", "AlertDelivery.state"},
	{"AlertEvent", "AlertDelivery.event"},
	{"AlertResolution", "Alert.resolved_because"},
	{"AlertSeverity", "Alert.severity"},
	{"AlertState", "Alert.state"},
	{"AlertSubjectKind", "Alert.subject_kind"},
	{"AlertTargetEvent", "NewAlertTarget.events"},
	{"AlertTargetKind", "AlertTarget.kind"},
	{"AttemptErrorKind", "AttemptError.kind"},
	{"AttemptOutcome", "Attempt.outcome"},
	{"BreakerChange", "BreakerEvent.event"},
	{"BreakerPinState", "BreakerPin.state"},
	{"BreakerState", "Breaker.state"},
	{"BulkAction", "BulkRequest.action"},
	{"CallOutcome", "BreakerReport.outcome"},
	{"ComparedPeriod", "getOverview.compare"},
	{"ComponentStatus", "Component.status"},
	{"CompensationPolicy", "NewStep.on_failure"},
	{"DeliveryState", "Delivery.state"},
	{"DependencyNeed", "NewStep.needs"},
	{"DryRunOutcome", "DryRun.outcome"},
	{"DryRunState", "DryRunJob.state"},
	{"EmailEncryption", "AlertTarget.tls"},
	{"ExportFormat", "ExportRequest.format"},
	{"Facet", "getFacets.facet"},
	{"GapPolicy", "Schedule.dst_gap"},
	{"GraphEdgeKind", "GraphEdge.kind"},
	{"HeldReason", "Job.held_reason"},
	{"HealthStatus", "Health.status"},
	{"JobSort", "listJobs.sort"},
	{"JobState", "Job.state"},
	{"KeyKind", "Key.kind"},
	{"KeyState", "Key.state"},
	{"LogLevel", "LogLine.level"},
	{"MisfirePolicy", "Schedule.misfire"},
	{"NewKeyKind", "NewKey.kind"},
	{"NoJobsReason", "ClaimedJobs.reason"},
	{"OperationKind", "Operation.kind"},
	{"OperationState", "Operation.state"},
	{"OverlapPolicy", "Schedule.overlap"},
	{"PatchKind", "PatchOperation.op"},
	{"PrincipalKind", "AuditEntry.principal_kind"},
	{"PurgeableState", "PurgeRequest.state"},
	{"QueueOutlook", "Forecast.outlook"},
	{"QuotaName", "QuotaUse.quota"},
	{"ResilienceStatus", "Resilience.status"},
	{"RetryStrategy", "RetryPolicy.strategy"},
	{"Role", "Key.roles"},
	{"RunOutcome", "ScheduleRun.outcome"},
	{"ScheduleState", "Schedule.state"},
	{"SkippedOverlap", "Schedule.dst_overlap"},
	{"StoredOperationState", "listOperations.state"},
	{"SummaryStatus", "Components.status"},
	{"TimeoutPolicy", "WaitFor.on_timeout"},
	{"UniqueScope", "UniqueKey.scope"},
	{"WebhookEvent", "Webhook.events"},
	{"Weekday", "QuietHours.days"},
	{"WhileOpenPolicy", "WhileOpen.policy"},
	{"WorkerBeatState", "WorkerBeat.state"},
	{"WorkerState", "Worker.state"},
	{"WorkerShareState", "WorkerShare.state"},
	{"WorkflowFailureType", "WorkflowFailure.type"},
	{"WorkflowState", "Workflow.state"},
}

// alsoEnums is properties that have the values of an enum, and are not checked against it where the API reads them, or are only shown.
var alsoEnums = map[string]string{
	"AckResult.state":               "JobState",
	"Alert.condition":               "AlertCondition",
	"AlertFinding.condition":        "AlertCondition",
	"AlertMessage.condition":        "AlertCondition",
	"AlertMessage.resolved_because": "AlertResolution",
	"AlertMessage.state":            "AlertState",
	"AlertMessage.subject_kind":     "AlertSubjectKind",
	"AlertTarget.events":            "AlertTargetEvent",
	"Breaker.policy":                "WhileOpenPolicy",
	"GraphNode.held_reason":         "HeldReason",
	"NewWebhook.events":             "WebhookEvent",
	"OperationOptions.format":       "ExportFormat",
	"WebhookEdit.events":            "WebhookEvent",
	"WorkflowStep.held_reason":      "HeldReason",
	"WorkflowStep.on_failure":       "CompensationPolicy",
}

// nameEnums makes each enum a schema of its own.
func nameEnums(tree object) error {
	names := map[string]string{}
	for _, e := range enums {
		values, err := valuesAt(tree, e.place)
		if err != nil {
			return err
		}
		if other := names[valuesKey(values)]; other != "" {
			return fmt.Errorf("the enums %s and %s have the same values", other, e.name)
		}
		names[valuesKey(values)] = e.name
	}
	eachSchema(tree, func(schema object) {
		values := list(schema["enum"])
		name := names[valuesKey(values)]
		if len(values) == 0 || name == "" {
			return
		}
		become(schema, object{"$ref": reference(name)}, slices.Contains(kinds(schema), "null"))
	})
	for place, name := range alsoEnums {
		schema, ok := property(tree, place)
		if items, of := schema["items"].(object); of {
			schema = items
		}
		if !ok || len(list(schema["enum"])) > 0 {
			return fmt.Errorf("%s needs no enum, or is not there", place)
		}
		become(schema, object{"$ref": reference(name)}, slices.Contains(kinds(schema), "null"))
	}
	for _, e := range enums {
		if schemas(tree)[e.name] != nil {
			return fmt.Errorf("there are two schemas %s", e.name)
		}
	}
	for key, name := range names {
		var values []any
		for value := range strings.SplitSeq(key, "|") {
			values = append(values, value)
		}
		schemas(tree)[name] = object{"type": "string", "enum": values}
	}
	return nil
}

func valuesKey(values []any) string {
	var texts []string
	for _, v := range values {
		texts = append(texts, fmt.Sprint(v))
	}
	return strings.Join(texts, "|")
}

// valuesAt is the values of the enum at a place.
func valuesAt(tree object, place string) ([]any, error) {
	schema, ok := property(tree, place)
	if !ok {
		schema, ok = parameter(tree, place)
	}
	if items, of := schema["items"].(object); of {
		schema = items
	}
	values := list(schema["enum"])
	if !ok || len(values) == 0 {
		return nil, fmt.Errorf("there is no enum at %s", place)
	}
	return values, nil
}

// parameter finds a parameter of an operation: listJobs.sort.
func parameter(tree object, place string) (schema object, ok bool) {
	id, name, _ := strings.Cut(place, ".")
	eachOperation(tree, func(op object) {
		if op["operationId"] != id {
			return
		}
		for _, p := range list(op["parameters"]) {
			if p.(object)["name"] == name {
				schema, ok = p.(object)["schema"].(object)
			}
		}
	})
	return schema, ok
}

// sizeIntegers gives an integer 32 bits where its values fit. A property that is bounded where it is set is bounded where it is shown, too.
func sizeIntegers(tree object) {
	const largest = 1<<31 - 1
	fits := map[string]bool{"attempt": true, "redrives": true, "status": true}
	unbounded := map[string]bool{"count": true, "limit": true, "calls": true}
	bounded := func(schema object) bool {
		most, ok := schema["maximum"].(json.Number)
		if !ok {
			return false
		}
		n, err := most.Float64()
		return err == nil && n <= largest
	}
	properties := func(visit func(name string, schema object)) {
		for _, s := range schemas(tree) {
			fields, _ := s.(object)["properties"].(object)
			for name, field := range fields {
				if schema := field.(object); slices.Contains(kinds(schema), "integer") {
					visit(name, schema)
				}
			}
		}
	}
	properties(func(name string, schema object) {
		fits[name] = fits[name] || bounded(schema) && !unbounded[name]
	})
	properties(func(name string, schema object) {
		if fits[name] {
			schema["format"] = "int32"
		}
	})
	eachSchema(tree, func(schema object) {
		if slices.Contains(kinds(schema), "integer") && bounded(schema) {
			schema["format"] = "int32"
		}
	})
}
