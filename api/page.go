package api

import (
	"context"
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// Paging is the parameters of every list. Cursors are opaque; their content may change.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"Maximum number of items."`
	Cursor string `query:"cursor" maxLength:"400" doc:"The next_cursor of the previous page. Do not change the filters."`
}

// cursorTo makes the cursor of a list, where position names the last item of a page.
func cursorTo(list, position string) *string {
	cursor := base64.RawURLEncoding.EncodeToString([]byte(list + ":" + position))
	return &cursor
}

// position is what cursorTo was given, or "" for the first page.
func (p Paging) position(ctx context.Context, list string) (string, error) {
	if p.Cursor == "" {
		return "", nil
	}
	text, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	after, mine := strings.CutPrefix(string(text), list+":")
	if err != nil || !mine || after == "" || textProblem(after) != "" {
		return "", badCursor(ctx)
	}
	return after, nil
}

// count is the position of a list whose cursors are the number of items before; 0 for the first page.
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

// before is the position of a list whose cursors are ids, newest first: the page begins below it. 0 for the first page.
func (p Paging) before(ctx context.Context, list string) (jobs.ID, error) {
	position, err := p.position(ctx, list)
	if err != nil || position == "" {
		return 0, err
	}
	var id jobs.ID
	if id.UnmarshalText([]byte(position)) != nil || id == 0 {
		return 0, badCursor(ctx)
	}
	return id, nil
}

// oneMore is how many items to ask for: one beyond the page tells whether another page follows.
func (p Paging) oneMore() int { return p.Limit + 1 }

// trim makes a page of the items that oneMore asked for, and its next cursor. position names an item in a cursor. A list that was cut, as its
// items are long, goes on after those that it has.
func trim[T any](ctx context.Context, p Paging, list string, items []T, position func(T) string) ([]T, *string) {
	if len(items) <= p.Limit && (len(items) == 0 || !jobs.IsCut(ctx)) {
		return items, nil
	}
	items = items[:min(len(items), p.Limit)]
	return items, cursorTo(list, position(items[len(items)-1]))
}

// trimCounted is trim for a list whose cursors are the number of items before.
func trimCounted[T any](ctx context.Context, p Paging, list string, items []T, before int) ([]T, *string) {
	return trim(ctx, p, list, items, func(T) string { return strconv.Itoa(before + min(len(items), p.Limit)) })
}

func badCursor(ctx context.Context) *Problem {
	return invalidAt(ctx, "query.cursor", "must be a next_cursor of this list")
}

// Optional is a query parameter whose zero value is not its absence. Huma cannot tell them apart.
type Optional[T any] struct {
	Value T
	given bool
}

// Schema is huma's, as are Receiver and OnParamSet.
func (Optional[T]) Schema(r huma.Registry) *huma.Schema {
	return huma.SchemaFromType(r, reflect.TypeFor[T]())
}

func (o *Optional[T]) Receiver() reflect.Value { return reflect.ValueOf(o).Elem().Field(0) }

func (o *Optional[T]) OnParamSet(isSet bool, _ any) { o.given = isSet }

func (o Optional[T]) pointer() *T {
	if !o.given {
		return nil
	}
	return &o.Value
}
