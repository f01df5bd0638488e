package cli

import "testing"

func TestBarsKeepTheHighest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		most   int
		want   string
	}{
		{[]float64{0, 1, 4, 7, 8}, 10, " ▁▄▇█"},
		{[]float64{0, 8, 0, 0, 1, 0}, 3, "█ ▁"},
		{[]float64{0, 0}, 10, "  "},
		{nil, 10, ""},
	} {
		if got := bars(c.values, c.most); got != c.want {
			t.Errorf("bars(%v, %d) = %q, want %q", c.values, c.most, got, c.want)
		}
	}
}
