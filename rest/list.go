package rest

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"strconv"
)

// maxPage is the most items that the service puts on one page.
const maxPage = 1000

// All is the limit of a list that is read to its end.
const All = math.MaxInt

// Page is a page of a list, or several read as one.
type Page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"next_cursor"`
}

// List reads a list, page by page, up to a number of items. The call's query may hold filters.
func List(ctx context.Context, c *Client, call Call, limit int) (Page, error) {
	call.Query = maps.Clone(call.Query)
	if call.Query == nil {
		call.Query = map[string][]string{}
	}
	list := Page{Items: []json.RawMessage{}}
	for {
		call.Query.Set("limit", strconv.Itoa(min(limit-len(list.Items), maxPage)))
		page, err := Do[Page](ctx, c, call)
		if err != nil {
			return Page{}, err
		}
		list.Items = append(list.Items, page.Items...)
		list.NextCursor = page.NextCursor
		if page.NextCursor == nil || *page.NextCursor == "" || len(list.Items) >= limit {
			return list, nil
		}
		call.Query.Set("cursor", *page.NextCursor)
	}
}
