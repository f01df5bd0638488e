package typescript

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/client/conformance"
	"github.com/weirhq/weir/tests/weirtest"
)

// The clients of an installed package do as all clients do. The calls of the cases are in a program too, so that the compiler sees that they have the
// client's types.
func TestTypeScriptClientsConform(t *testing.T) {
	prepare(t)
	t.Parallel()
	folder := installPackage(t)
	driver := conformance.Driver{Client: "typescript", Command: []string{"node", filepath.Join(folder, "build", "driver.js")}}
	write(t, filepath.Join(folder, "calls.ts"), typedCalls(t))
	compilePrograms(t, folder)
	t.Run("REST", func(t *testing.T) { conformance.Calls(t, driver) })
	t.Run("SDK", func(t *testing.T) { conformance.Work(t, driver) })
}

// installPackage packs the package, and installs that in a folder of the test's own, with the driver.
func installPackage(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "package.json"), `{"type": "module", "private": true}`)
	run(t, sdk, "npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", folder)
	packages, err := filepath.Glob(filepath.Join(folder, "*.tgz"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("there are %d packages: %v", len(packages), err)
	}
	run(t, folder, "npm", "install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", packages[0], "pg@8")
	program, err := os.ReadFile("driver.ts")
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "driver.ts"), string(program))
	return folder
}

// compilePrograms compiles the programs of a folder with the compiler of the SDK, and its types of Node.
func compilePrograms(t *testing.T, folder string) {
	t.Helper()
	modules, err := filepath.Abs(filepath.Join(sdk, "node_modules"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(modules, "@types"), filepath.Join(folder, "node_modules", "@types")); err != nil {
		t.Fatal(err)
	}
	settings := `{"compilerOptions": {"target": "ES2022", "lib": ["ES2023"], "module": "NodeNext", "strict": true, "exactOptionalPropertyTypes": true,
		"noUncheckedIndexedAccess": true, "noUnusedLocals": true, "skipLibCheck": true, "types": ["node"], "outDir": "build"}}`
	write(t, filepath.Join(folder, "tsconfig.json"), settings)
	run(t, folder, "node", filepath.Join(modules, "typescript", "bin", "tsc"))
}

// typedCalls is a program with the calls of all cases that are not refused.
func typedCalls(t *testing.T) string {
	t.Helper()
	text := new(strings.Builder)
	text.WriteString("import { http } from '@weirhq/weir'\n\nexport async function calls({ rest }: ReturnType<typeof http>): Promise<void> {\n")
	for _, request := range conformance.Requests(t, weirtest.StartNode(t)) {
		params, options := map[string]any{}, map[string]any{}
		for _, place := range []string{"path", "query", "header"} {
			if given := request[place].(map[string]any); len(given) > 0 {
				params[place] = given
				options["params"] = params
			}
		}
		if body, ok := request["body"]; ok {
			options["body"] = body
		}
		literal, err := json.Marshal(options)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(text, "  await rest.%s(%q, %s)\n", request["method"], request["template"], literal)
	}
	text.WriteString("}\n")
	return text.String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
