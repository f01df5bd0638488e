package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// verify compares the result of a workflow with a count of this process.
func verify(ctx context.Context, weir client, id, folder string) error {
	got, err := weir.total(ctx, id)
	if err != nil {
		return err
	}
	files, err := filesUnder(folder)
	if err != nil {
		return err
	}
	all := counts{}
	for _, f := range files {
		if err := all.countFile(filepath.Join(folder, f.path)); err != nil {
			return err
		}
	}
	want := all.summary()
	if got.Words != want.Words || got.Distinct != want.Distinct || got.Sum != want.Sum {
		return fmt.Errorf("the workflow counted %d words, %d distinct (%s); a single process counts %d, %d (%s)",
			got.Words, got.Distinct, got.Sum, want.Words, want.Distinct, want.Sum)
	}
	fmt.Printf("%d files, %d words, %d distinct: the workflow's count is that of a single process\n", len(files), got.Words, got.Distinct)
	for _, word := range got.Top {
		fmt.Printf("%10d %q\n", word.Count, word.Word)
	}
	return nil
}
