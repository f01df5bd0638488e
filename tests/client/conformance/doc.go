// Package conformance has every client do the same things, and checks that the same comes of it: the cases of client/conformance/cases.yaml, against a
// real node. docs/clients/conformance.md describes the cases, and the drivers that make a client do what a case says.
package conformance
