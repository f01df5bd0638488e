package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

type facetsInput struct {
	Facet []jobs.Facet `query:"facet" maxItems:"8" enum:"state,queue,kind,error_type,tenant,worker,tag,priority" doc:"What to count by. Defaults to state, queue, kind and error_type."`
	JobQuery
}

type facetsOutput struct {
	Body jobs.Facets
}

func (a *API) registerFacets() {
	register(a, huma.Operation{
		OperationID: "getFacets", Method: http.MethodGet, Path: "/v1/jobs/facets", Tags: []string{tagJobs},
		Summary: "Count jobs by facets",
		Description: "How many of the jobs that match all filters have which state, queue, kind and so on. A job counts " +
			"once for each class among the errors of its attempts, and for each of its tags. Counting takes about a second " +
			"at most, newest jobs first; where it did not come to an end, `estimated` is true and the counts are lower bounds. " +
			"Counts by state and queue of a filter with nothing else are quick and exact far longer.",
	}, documented{answer: jobs.Facets{
		Facets: map[jobs.Facet][]jobs.FacetValue{"state": {{Value: "completed", Count: 1200}, {Value: "dead", Count: 3}}},
		Other:  map[jobs.Facet]int64{}, Counted: 1203,
	}, problems: []jobs.Code{jobs.PresetNotFound}}, a.getFacets)
}

func (a *API) getFacets(ctx context.Context, in *facetsInput) (*facetsOutput, error) {
	filter, err := in.filter(ctx)
	if err != nil {
		return nil, err
	}
	facets, err := a.engine.Facets(ctx, filter, in.Facet)
	if err != nil {
		return nil, err
	}
	return &facetsOutput{Body: facets}, nil
}
