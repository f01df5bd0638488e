package db

import "testing"

// TestPartsAreNoMoreThanTheConnections: a pool without a connection would otherwise wait for ever, as no other has one too many.
func TestPartsAreNoMoreThanTheConnections(t *testing.T) {
	most := []int{16, 2, 4, 1, 5}
	for connections := range 60 {
		sum := 0
		for i, part := range parts(connections, most) {
			sum += part
			if part < 1 || part > most[i] {
				t.Errorf("%d connections: pool %d may have %d, and gets %d", connections, i, most[i], part)
			}
		}
		if sum > max(connections, len(most)) || connections >= 28 && sum != 28 {
			t.Errorf("%d connections: the parts are %d in all", connections, sum)
		}
	}
}
