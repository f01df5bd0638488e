package api

import (
	"context"
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Paging is how every list is asked for. Its cursor is opaque: what is in it may change.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"At most so many items."`
	Cursor string `query:"cursor" maxLength:"400" doc:"The next_cursor of the page before. Keep the filters as they were."`
}

// cursorTo makes the cursor of a list, which after names the last item of a page of.
func cursorTo(list, after string) *string {
	cursor := base64.RawURLEncoding.EncodeToString([]byte(list + ":" + after))
	return &cursor
}

// position is what cursorTo was given, or "" for the first page.
func (p Paging) position(ctx context.Context, list string) (string, error) {
	if p.Cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	after, mine := strings.CutPrefix(string(text), list+":")
	if err != nil || !mine || after == "" {
		return "", badCursor(ctx)
	}
	return after, nil
}

// count is the position of a list whose cursors say how many items came before; 0 for the first page.
func (p Paging) count(ctx context.Context, list string) (int, error) {
	position, err := p.position(ctx, list)
	if err != nil || position == "" {
		return 0, err
	}
	after, err := strconv.Atoi(position)
	if err != nil || after < 1 {
		return 0, badCursor(ctx)
	}
	return after, nil
}

func badCursor(ctx context.Context) *Problem {
	return invalidAt(ctx, "query.cursor", "must be a next_cursor of this list")
}

// Flag is a query parameter that is true, false, or not given. Huma knows only the first two.
type Flag struct {
	Value bool
	given bool
}

// Schema is huma's, as are Receiver and OnParamSet.
func (Flag) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeBoolean} }

func (f *Flag) Receiver() reflect.Value { return reflect.ValueOf(f).Elem().Field(0) }

func (f *Flag) OnParamSet(isSet bool, _ any) { f.given = isSet }

func (f Flag) pointer() *bool {
	if !f.given {
		return nil
	}
	return &f.Value
}
