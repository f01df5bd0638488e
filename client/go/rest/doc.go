// Package rest is weir's REST API in Go: the types of all bodies and a client with a method for each operation, generated from the OpenAPI
// document. JSON that may be anything is a json.RawMessage, a field that a request can set to null is a nullable.Nullable, and every problem is
// a Problem.
package rest
