//go:build unix

package client_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// What a program gets into its binary with the SDK: PostgreSQL's driver, the generated client, and the rooms of the engine that know no database.
func TestSDKImportsNothingOfTheNode(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "github.com/weirhq/weir/client/go").Output()
	if err != nil {
		t.Fatal(err)
	}
	allowed := regexp.MustCompile(`^github\.com/(weirhq/weir/(client/go(/rest)?|jobs/batch|jobs/clock)|jackc/[^ ]+|oapi-codegen/(runtime|nullable)[^ ]*|apapsch/go-jsonmerge/v2|google/uuid)$|^golang\.org/x/(sync|text)/`)
	for pkg := range strings.FieldsSeq(string(out)) {
		host, _, _ := strings.Cut(pkg, "/")
		if strings.Contains(host, ".") && !allowed.MatchString(pkg) {
			t.Errorf("the SDK imports %s", pkg)
		}
	}
}
