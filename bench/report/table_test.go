package report

import "testing"

func TestNumbersHaveThreeDigitsThatCount(t *testing.T) {
	for value, want := range map[float64]string{0: "0", 0.456: "0.46", 12.34: "12.3", 999.4: "999", 1234: "1,230", 56789: "56,800", 10_000_000: "10,000,000"} {
		if got := number(value); got != want {
			t.Errorf("%v is written %s, want %s", value, got, want)
		}
	}
}

func TestTheMedianOfAnEvenNumberOfRoundsLiesBetweenTheMiddleTwo(t *testing.T) {
	if got := medianOf([]float64{4, 1, 3, 2}); got != (Median{Mid: 2.5, Low: 1, High: 4}) {
		t.Errorf("median of 1 to 4 is %v", got)
	}
}

func TestRatiosAreThoseOfTheMediansInTheSameCase(t *testing.T) {
	rate := func(system string, lives float64) row {
		return row{system: system, figures: map[string]Median{"lives/s": {Mid: lives}}}
	}
	got := ratios([]row{rate("weir-sql", 30000), rate("river-tuned", 7000), rate("floor", 60000)})
	if want := "Medians of lives/s, weir-sql is 4.3 × river-tuned, 0.5 × floor."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := ratios([]row{rate("pgq", 1)}); got != "" {
		t.Errorf("without weir-sql: %q", got)
	}
}
