package main

import (
	"context"
	"encoding/json"
	"net/url"
)

// listPage is a page of a list, or all of it in the form of one page.
type listPage struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"next_cursor"`
}

// listAll reads a list to its end. The query may name filters.
func listAll(ctx context.Context, weir *client, path string, query url.Values) (listPage, error) {
	all := listPage{Items: []json.RawMessage{}}
	query.Set("limit", "1000")
	for {
		var page listPage
		if err := weir.get(ctx, path+"?"+query.Encode(), &page); err != nil {
			return listPage{}, err
		}
		all.Items = append(all.Items, page.Items...)
		if page.NextCursor == nil || *page.NextCursor == "" {
			return all, nil
		}
		query.Set("cursor", *page.NextCursor)
	}
}
