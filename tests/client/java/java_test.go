package java

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/client/conformance"
	"github.com/weirhq/weir/tests/weirtest"
)

const root = "../../.." // of the repository

// The Java client compiles without a warning, and does from its jar as all clients do.
func TestJavaClientConforms(t *testing.T) {
	weirtest.Long(t, "it compiles the Java client")
	t.Parallel()
	jars, javac := jackson(t), where(t, "javac")
	var sources []string
	for _, pattern := range []string{"*.java", "api/*.java", "model/*.java"} {
		found, err := filepath.Glob(filepath.Join(root, "client/java/src/main/java/io/github/weirhq/weir", pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		sources = append(sources, found...)
	}
	compile := func(to string, path []string, sources ...string) {
		arguments := []string{"-Werror", "-Xlint:all,-processing,-classfile", "-d", to, "-cp", strings.Join(path, string(filepath.ListSeparator))}
		run(t, javac, append(arguments, sources...)...)
	}
	folder := t.TempDir()
	classes, jar := filepath.Join(folder, "classes"), filepath.Join(folder, "weir.jar")
	compile(classes, jars, sources...)
	run(t, filepath.Join(filepath.Dir(javac), "jar"), "cf", jar, "-C", classes, ".")
	path := append(jars, jar, folder)
	compile(folder, path, "Driver.java")
	java := []string{filepath.Join(filepath.Dir(javac), "java"), "-cp", strings.Join(path, string(filepath.ListSeparator)), "Driver", jar}
	conformance.Calls(t, conformance.Driver{Client: "java", Command: java})
}

// A transaction over JDBC enqueues and completes, or does neither (Transaction.java).
func TestJDBCTransaction(t *testing.T) {
	t.Parallel()
	driver, javac := where(t, "jdbc"), where(t, "javac")
	classes := t.TempDir()
	run(t, javac, "-Werror", "-Xlint:all", "-d", classes, filepath.Join(root, "tests/client/java/Transaction.java"))
	s := weirtest.StartNode(t)
	c := s.DB.Config().ConnConfig
	role := "java_" + c.Database // the driver refuses the password of the tests' own role, which is hashed in fewer rounds, for speed
	s.Exec("create role " + role + " login superuser password 'java'")
	said := run(t, filepath.Join(filepath.Dir(javac), "java"), "-cp", classes+string(filepath.ListSeparator)+driver, "Transaction",
		fmt.Sprintf("jdbc:postgresql://%s:%d/%s", c.Host, c.Port, c.Database), role, "java")
	if !strings.HasSuffix(said, "committed\n") {
		t.Errorf("it said %q", said)
	}
	jobs := weirtest.Decode[struct{ Items []weirtest.Job }](s.Get("/v1/jobs?queue=jdbc")).Items
	if len(jobs) != 1 || jobs[0].Kind != "kept" || jobs[0].State != "completed" {
		t.Errorf("the jobs are %+v", jobs)
	}
}

// jackson returns Jackson's jars.
func jackson(t *testing.T) (jars []string) {
	t.Helper()
	folder := filepath.Dir(where(t, "jackson"))
	for _, name := range []string{"core", "annotations", "databind"} {
		jars = append(jars, filepath.Join(folder, "jackson-"+name+".jar"))
	}
	return jars
}

// where finds a program that the test needs.
func where(t *testing.T, need string) string {
	t.Helper()
	found, err := exec.CommandContext(t.Context(), filepath.Join(root, "scripts/setup"), "--where", need).Output()
	if err != nil {
		t.Skipf("%s is missing: run scripts/setup javac jackson jdbc", need)
	}
	path, err := filepath.EvalSymlinks(strings.TrimSpace(string(found)))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func run(t *testing.T, program string, arguments ...string) string {
	t.Helper()
	output, err := exec.CommandContext(context.WithoutCancel(t.Context()), program, arguments...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", filepath.Base(program), err, output)
	}
	return string(output)
}
