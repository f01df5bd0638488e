//go:build unix

// Package weirtest gives black-box tests what they need: a migrated PostgreSQL database for each test, nodes of weir in
// this process or as the built binary, a REST client, SQL helpers, and the commands of weir.
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		d := weirtest.New(t)          // a database; d is a pool
//		s := weirtest.StartNodeOn(t, d) // a node on it; weirtest.StartNode(t) does both
//		id := s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
//		j := weirtest.ClaimOne(t, d, "q")
//		s.CLI("jobs", "show", id).Says(0, "running")
//	}
//
// Functions that take a Querier go through SQL; the methods of Node go through REST.
//
// The databases are clones of one migrated template in one cluster, which starts when the first test asks for it and
// comes from the first of these that works:
//
//  1. WEIR_TEST_DATABASE_URL, the address of a superuser of a running server
//  2. the machine's PostgreSQL programs; WEIR_POSTGRES_BIN names their folder, and defaults to what package embedded finds
//  3. a container, where a Docker engine answers
//
// Where none works, the test fails; it is never skipped. A cluster that a test process started ends with the process,
// however that ends, and so does its folder. A package that must see it end before the process does says so:
//
//	func TestMain(m *testing.M) { weirtest.Main(m) }
package weirtest
