package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// work does one job. `weir work` starts it with the args on standard input, and takes what it writes for the result;
// an exit status other than 0 fails the attempt, with standard error as the reason.
func work(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	var args checksumArgs
	if err := json.NewDecoder(stdin).Decode(&args); err != nil {
		return fmt.Errorf("reading the args: %w", err)
	}
	file, err := os.Open(args.Path)
	if err != nil {
		return err
	}
	defer file.Close()

	// The file is handed over open. By name, sha256sum would quote an unusual one in its answer.
	command := exec.CommandContext(ctx, "sha256sum")
	command.Stdin = file
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return fmt.Errorf("sha256sum: %w", err)
	}
	sum, _, _ := strings.Cut(string(output), " ")
	return json.NewEncoder(stdout).Encode(checksumResult{Path: args.Path, SHA256: sum})
}
