package main

import (
	"context"
	"encoding/json"
	"math"
	"net/url"
	"strconv"
)

// listPage is a page of a list, or all of it in the form of one page.
type listPage struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"next_cursor"`
}

// listSome reads a list until it has so many items, or all there are. The query may name filters.
func listSome(ctx context.Context, weir *client, path string, query url.Values, limit int) (listPage, error) {
	some := listPage{Items: []json.RawMessage{}}
	for {
		query.Set("limit", strconv.Itoa(min(limit-len(some.Items), 1000)))
		var page listPage
		if err := weir.get(ctx, path+"?"+query.Encode(), &page); err != nil {
			return listPage{}, err
		}
		some.Items = append(some.Items, page.Items...)
		some.NextCursor = page.NextCursor
		if page.NextCursor == nil || *page.NextCursor == "" || len(some.Items) >= limit {
			return some, nil
		}
		query.Set("cursor", *page.NextCursor)
	}
}

// listAll reads a list to its end.
func listAll(ctx context.Context, weir *client, path string, query url.Values) (listPage, error) {
	return listSome(ctx, weir, path, query, math.MaxInt)
}
