//go:build unix

package client_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/weirhq/weir/client/go/rest"
)

// driverVariable is set where this program is the driver of the Go clients (docs/clients/conformance.md).
const driverVariable = "WEIR_TEST_DRIVER"

func drive(args []string) {
	switch args[0] {
	case "call":
		c, err := rest.NewClientWithResponses(args[1])
		if err != nil {
			panic(err)
		}
		answerEach(func(line []byte) (any, error) { return callREST(c, line) })
	case "produce":
		p := &producer{client: sdk(args[1], args[2])}
		answerEach(p.answer)
	case "work":
		work(sdk(args[1], args[2]), args[3])
	}
}

// answerEach answers the requests of its input, line by line.
func answerEach(answer func([]byte) (any, error)) {
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		said, err := answer(lines.Bytes())
		if err != nil {
			said = map[string]any{"failed": err.Error()}
		}
		if err := out.Encode(said); err != nil {
			panic(err)
		}
	}
}

type object = map[string]any

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

// callREST calls the method of an operation: its context, the parameters of its path in their order, a struct of the others, and a body, where it has
// them.
func callREST(c *rest.ClientWithResponses, line []byte) (any, error) {
	var request struct {
		Call, Template string
		Path           map[string]string
		Query, Header  map[string]json.RawMessage
		Body           json.RawMessage
	}
	if err := json.Unmarshal(line, &request); err != nil {
		return nil, err
	}
	method := reflect.ValueOf(c).MethodByName(strings.ToUpper(request.Call[:1]) + request.Call[1:] + "WithResponse")
	if !method.IsValid() {
		return nil, fmt.Errorf("there is no method for %s", request.Call)
	}
	in := []reflect.Value{reflect.ValueOf(context.Background())}
	for _, name := range pathParameter.FindAllStringSubmatch(request.Template, -1) {
		in = append(in, reflect.ValueOf(request.Path[name[1]]))
	}
	for len(in) < method.Type().NumIn()-1 { // the last ones are functions that change the request
		of := method.Type().In(len(in))
		text := []byte(request.Body)
		if strings.HasSuffix(of.String(), "Params") {
			for name, value := range request.Header {
				request.Query[name] = value
			}
			text, _ = json.Marshal(request.Query)
		}
		value := reflect.New(of)
		if len(text) > 0 {
			d := json.NewDecoder(bytes.NewReader(text))
			d.DisallowUnknownFields()
			if err := d.Decode(value.Interface()); err != nil {
				return nil, err
			}
		}
		in = append(in, value.Elem())
	}
	out := method.Call(in)
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, err
	}
	return answered(out[0].Elem())
}

// answered is the body that an answer was decoded as.
func answered(response reflect.Value) (any, error) {
	status := response.MethodByName("StatusCode").Call(nil)[0].Int()
	if problem, _ := response.FieldByName("ApplicationProblemJSONDefault").Interface().(*rest.Problem); problem != nil {
		return object{"refused": object{"status": status, "code": problem.Code}}, nil
	}
	for i := range response.NumField() {
		if strings.HasPrefix(response.Type().Field(i).Name, "JSON") && !response.Field(i).IsNil() {
			return object{"answer": response.Field(i).Interface()}, nil
		}
	}
	if body := response.FieldByName("Body").Bytes(); len(body) > 0 {
		return nil, fmt.Errorf("an answer with status %d was not decoded: %s", status, body)
	}
	return object{"answer": nil}, nil
}
