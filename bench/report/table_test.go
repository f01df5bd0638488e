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
