package weir

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Workflow is a set of steps that wait for each other, to be submitted as a whole. [NewWorkflow] makes one, [AddStep] and its like add steps, and
// [Client.Submit] or [SubmitTx] stores it. It is for one goroutine.
type Workflow struct {
	definition workflowDefinition
	names      map[string]bool
	depends    *[]string // of the step whose args are being encoded
	errs       []error
}

type workflowDefinition struct {
	Name            string         `json:"name"`
	Steps           []*step        `json:"steps"`
	OnFailure       string         `json:"on_failure,omitempty"`
	DeadlineSeconds int            `json:"deadline_seconds,omitempty"`
	Metadata        map[string]any `json:"metadata,omitempty"`

	key string
}

// step is a step of a workflow as weir takes it.
type step struct {
	Name         string              `json:"name"`
	Kind         string              `json:"-"`
	Job          NewJob              `json:"-"`
	DependsOn    []string            `json:"depends_on,omitempty"`
	Needs        string              `json:"needs,omitempty"`
	OnFailure    string              `json:"on_failure,omitempty"`
	Compensation string              `json:"compensation,omitempty"`
	WaitFor      map[string]any      `json:"wait_for,omitempty"`
	Workflow     *workflowDefinition `json:"workflow,omitempty"`
}

// MarshalJSON writes the members of the job beside those of the step. A step that waits, or is a workflow, has no kind.
func (s *step) MarshalJSON() ([]byte, error) {
	type plain step
	own, err := json.Marshal((*plain)(s))
	if err != nil {
		return nil, err
	}
	job, err := json.Marshal(struct {
		*NewJob
		Kind string `json:"kind,omitempty"`
	}{&s.Job, s.Kind})
	if err != nil || string(job) == "{}" {
		return own, err
	}
	return append(append(own[:len(own)-1], ','), job[1:]...), nil
}

// WorkflowOption sets something of a workflow.
type WorkflowOption func(*workflowDefinition)

// OnFailure says what happens to a workflow when a step dies: fail_fast, continue or compensate. Defaults to fail_fast.
func OnFailure(what string) WorkflowOption {
	return func(d *workflowDefinition) { d.OnFailure = what }
}

// Deadline is how long a workflow may take, in whole seconds. Then it fails. Defaults to no bound.
func Deadline(d time.Duration) WorkflowOption {
	return func(w *workflowDefinition) { w.DeadlineSeconds = wholeSeconds(d) }
}

// WorkflowMetadata adds a member to what is kept with a workflow.
func WorkflowMetadata(name string, value any) WorkflowOption {
	return func(d *workflowDefinition) {
		if d.Metadata == nil {
			d.Metadata = map[string]any{}
		}
		d.Metadata[name] = value
	}
}

// WorkflowIdempotencyKey makes a second submission with the same key answer with the first workflow, for 24 hours. Without it [Client.Submit] makes
// one for each call.
func WorkflowIdempotencyKey(key string) WorkflowOption {
	return func(d *workflowDefinition) { d.key = key }
}

// NewWorkflow begins a workflow.
func NewWorkflow(name string, opts ...WorkflowOption) *Workflow {
	w := &Workflow{definition: workflowDefinition{Name: name}, names: map[string]bool{}}
	for _, o := range opts {
		o(&w.definition)
	}
	return w
}

// Step is a step of a workflow whose result is an R.
type Step[R any] struct {
	w    *Workflow
	name string
}

// Name is the step's name in its workflow.
func (s Step[R]) Name() string { return s.name }

// Result stands for the step's result in the args of a later step, which then depends on it.
func (s Step[R]) Result() Input[R] { return Input[R]{step: s.name, w: s.w} }

// AnyStep is a step with a result of any type.
type AnyStep interface {
	// Name is the step's name in its workflow.
	Name() string
}

// Input is a field of the args of a step that takes the result of another step: the sender sets it to [Step.Result], and the handler calls Get.
type Input[R any] struct {
	step string
	w    *Workflow
}

// inputForm is how an Input is written.
type inputForm struct {
	ResultOf string `json:"result_of"`
}

// MarshalJSON writes the name of the step, and makes the step whose args these are depend on it.
func (in Input[R]) MarshalJSON() ([]byte, error) {
	if in.w != nil && in.w.depends != nil {
		*in.w.depends = append(*in.w.depends, in.step)
	}
	return json.Marshal(inputForm{in.step})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (in *Input[R]) UnmarshalJSON(text []byte) error {
	var form inputForm
	err := json.Unmarshal(text, &form)
	in.step = form.ResultOf
	return err
}

// Get decodes the result that came with the job. Errors: [ErrNotFound] where that step did not complete.
func (in Input[R]) Get(j *RawJob) (R, error) { return Dependency[R](j, in.step) }

// StepOption sets something of a step. Each [Option] of a job is one too, but for [Unique], [UniqueFor] and [IdempotencyKey].
type StepOption interface{ applyStep(*step) }

func (o Option) applyStep(s *step) { o(&s.Job) }

type stepOption func(*step)

func (o stepOption) applyStep(s *step) { o(s) }

// After makes a step wait for others, beside those whose results are in its args.
func After(steps ...AnyStep) StepOption {
	return stepOption(func(s *step) {
		for _, other := range steps {
			s.DependsOn = append(s.DependsOn, other.Name())
		}
	})
}

// Needs says when a step runs: completed (default) when all it depends on completed, ended when all have ended in any way, any when one completed.
func Needs(what string) StepOption { return stepOption(func(s *step) { s.Needs = what }) }

// StepOnFailure says what happens to the workflow when this step dies. Defaults to what the workflow says.
func StepOnFailure(what string) StepOption { return stepOption(func(s *step) { s.OnFailure = what }) }

// UndoneBy names the step that undoes this one, if the workflow compensates. It gets this step's result.
func UndoneBy(compensation AnyStep) StepOption {
	return stepOption(func(s *step) { s.Compensation = compensation.Name() })
}

func (w *Workflow) add(s *step, opts []StepOption) {
	for _, o := range opts {
		o.applyStep(s)
	}
	if w.names[s.Name] {
		w.errs = append(w.errs, fmt.Errorf("weir: workflow %s has two steps %q", w.definition.Name, s.Name))
	}
	w.names[s.Name] = true
	w.definition.Steps = append(w.definition.Steps, s)
}

// AddStep adds a step whose result has the type that its args name. Names are unique in a workflow, 1 to 200 characters.
func AddStep[A Produces[R], R any](w *Workflow, name string, args A, opts ...StepOption) Step[R] {
	w.addJob(name, args, opts)
	return Step[R]{w, name}
}

// NoResult is the result of a step that has none.
type NoResult struct{}

// AddTask adds a step without a result.
func AddTask(w *Workflow, name string, args any, opts ...StepOption) Step[NoResult] {
	w.addJob(name, args, opts)
	return Step[NoResult]{w, name}
}

func (w *Workflow) addJob(name string, args any, opts []StepOption) {
	s := &step{Name: name}
	w.depends = &s.DependsOn
	s.Job = New(args)
	w.depends = nil
	s.Kind = s.Job.Kind
	w.add(s, opts)
	switch {
	case s.Job.err != nil:
		w.errs = append(w.errs, s.Job.err)
	case s.Job.Unique != nil || s.Job.idempotencyKey != "":
		w.errs = append(w.errs, fmt.Errorf("weir: step %q has a key of its own: only a workflow has one", name))
	}
}

// AddPause adds a step that completes this long after those before it, without a worker.
func AddPause(w *Workflow, name string, d time.Duration, opts ...StepOption) Step[NoResult] {
	w.add(&step{Name: name, WaitFor: map[string]any{"seconds": d.Seconds()}}, opts)
	return Step[NoResult]{w, name}
}

// AddSignal adds a step that completes when the workflow gets a signal, whose payload is its result. If that does not come within a timeout, the step
// dies; 0: it waits as long as it takes.
func AddSignal[P any](w *Workflow, name, signal string, timeout time.Duration, opts ...StepOption) Step[P] {
	wait := map[string]any{"signal": signal}
	if timeout > 0 {
		wait["timeout_seconds"] = timeout.Seconds()
	}
	w.add(&step{Name: name, WaitFor: wait}, opts)
	return Step[P]{w, name}
}

// ChildResult is the result of a step that is a workflow.
type ChildResult struct {
	WorkflowID ID     `json:"workflow_id"`
	State      string `json:"state"`
	// Results are those of its last steps, by name.
	Results map[string]json.RawMessage `json:"results"`
}

// AddWorkflow adds a step that is a workflow itself.
func AddWorkflow(w *Workflow, name string, child *Workflow, opts ...StepOption) Step[ChildResult] {
	w.errs = append(w.errs, child.errs...)
	w.add(&step{Name: name, Workflow: &child.definition}, opts)
	return Step[ChildResult]{w, name}
}

// text is the definition as weir takes it, with an idempotency key if there is one.
func (w *Workflow) text(key string) ([]byte, error) {
	if err := errors.Join(w.errs...); err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		workflowDefinition
		Key string `json:"idempotency_key,omitempty"`
	}{w.definition, key})
}

// Submit stores a workflow and returns its id once it is committed. It tries again as [Client.Enqueue] does. Errors: *[Error], whose Field names the
// place: steps[3].depends_on[0].
func (c *Client) Submit(ctx context.Context, w *Workflow) (ID, error) {
	for _, s := range w.definition.Steps {
		for _, hook := range c.onEnqueue {
			if s.Kind != "" {
				hook(ctx, &s.Job)
			}
		}
	}
	key := w.definition.key
	if key == "" && c.retryFor > 0 {
		key = rand.Text()
	}
	var id ID
	err := c.again(ctx, isAway, func(ctx context.Context) (err error) {
		id, err = c.t.submitWorkflow(ctx, w, key)
		return err
	})
	return id, err
}

// WorkflowState is a workflow as a reader sees it.
type WorkflowState struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
	// State is running, stopping, compensating, completed, failed or cancelled.
	State string `json:"state"`
	// Progress is how many of its steps have ended, in percent.
	Progress  float64 `json:"progress"`
	Steps     int     `json:"steps"`
	Completed int     `json:"completed"`
	Dead      int     `json:"dead"`
	Cancelled int     `json:"cancelled"`
	Running   int     `json:"running"`
	Waiting   int     `json:"waiting"`
	// Failure is why it failed or was stopped: an object.
	Failure json.RawMessage `json:"failure"`
}

// Workflow returns a workflow as it is now. Over SQL it takes a login that reads all queues, or weir's owner. Errors: [ErrNotFound].
func (c *Client) Workflow(ctx context.Context, id ID) (*WorkflowState, error) {
	return c.t.workflow(ctx, id)
}

// Signal tells a workflow something that its steps of [AddSignal] wait for, now or later. Over SQL it takes access as an operator.
func (c *Client) Signal(ctx context.Context, workflow ID, name string, payload any) error {
	text, err := json.Marshal(payload)
	if err != nil {
		return fmt.Errorf("weir: encoding the payload of a signal: %w", err)
	}
	return c.t.signal(ctx, workflow, name, text)
}
