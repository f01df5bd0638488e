package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/weirhq/weir/db"
)

// Facet is something that jobs are counted by.
type Facet string

// FacetNames are the facets that are counted by default.
var FacetNames = []Facet{"state", "queue", "kind", "error_type"}

// Facets are the counts of the jobs of a filter by some of their facts.
type Facets struct {
	Facets           map[Facet][]FacetValue `json:"facets" doc:"By facet: up to 50 values, the most frequent first."`
	Other            map[Facet]int64        `json:"other" doc:"By facet: the sum of the counts of all other values, if there are any."`
	Counted          int64                  `json:"counted" doc:"How many jobs were counted."`
	Estimated        bool                   `json:"estimated" doc:"Whether counting stopped at its limit of a second, or at a bound of the counts of queues. Then the counts are lower bounds."`
	SearchedBackTo   *time.Time             `json:"searched_back_to,omitempty" doc:"If counting stopped at its limit: jobs that have not ended, or were enqueued at this time or later, are counted; others are not."`
	EncryptedSkipped bool                   `json:"encrypted_not_searched,omitempty" doc:"Present with q, error and args if queues that it could be in are encrypted: their args and the texts of their errors were not searched."`
}

// FacetValue is a value and how many jobs have it.
type FacetValue struct {
	Value string `json:"value" doc:"The value." example:"mail"`
	Count int64  `json:"count" doc:"How many jobs have it." example:"1200"`
}

// Facets counts the jobs of a filter by facets, for about a second. Errors: InvalidArgument, PresetNotFound.
func (e *Engine) Facets(ctx context.Context, f Filter, facets []Facet) (Facets, error) {
	f, err := f.withPreset(ctx, e)
	if err != nil {
		return Facets{}, err
	}
	filter, err := f.encode(ctx)
	if err != nil {
		return Facets{}, err
	}
	if len(facets) == 0 {
		facets = FacetNames
	}
	names := make([]string, len(facets))
	for i, name := range facets {
		names[i] = string(name)
	}
	text, err := e.reads.JobFacets(ctx, db.JobFacetsParams{Filter: filter, Facets: names})
	if err != nil {
		return Facets{}, fromDB("counting jobs by facets", err)
	}
	counts := Facets{EncryptedSkipped: f.skipsEncrypted(ctx, e.vault)}
	if err := json.Unmarshal(text, &counts); err != nil {
		return Facets{}, fmt.Errorf("reading facets: %w", err)
	}
	counts.SearchedBackTo = utc(counts.SearchedBackTo)
	return counts, nil
}
