package examples

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// The example in examples/shop: two hundred orders, while one of two shops is killed.
func TestShopShipsEachOrderOnce(t *testing.T) {
	weirtest.Long(t, "it builds a program, and waits for leases")
	t.Parallel()
	s := weirtest.StartNode(t)
	shop := weirtest.Program(t, "./examples/shop")
	settings := []string{"DATABASE_URL=" + s.DB.Direct, "SHOP_ADDR=127.0.0.1:0"}
	if setup := weirtest.StartProgram(t, settings, shop, "setup"); setup.Wait() != 0 {
		t.Fatal(setup.Output)
	}
	var addresses []string
	var shops []*weirtest.Process
	for range 2 {
		p := weirtest.StartProgram(t, settings, shop, "serve")
		var found []string
		s.Eventually("the shop takes orders", func() bool {
			found = regexp.MustCompile(`taking orders at (http\S+)`).FindStringSubmatch(p.Output.String())
			return found != nil
		})
		shops, addresses = append(shops, p), append(addresses, found[1])
	}
	order := func(address, body string) int {
		answer, err := http.Post(address, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if status := order(addresses[0], `{"item": "unicorn", "pieces": 1}`); status != http.StatusUnprocessableEntity {
		t.Errorf("an order of a unicorn: %d", status)
	}
	for i := range 200 {
		if i == 100 {
			shops[0].Kill()
		}
		if status := order(addresses[min(i/100, 1)], fmt.Sprintf(`{"item": "book", "pieces": %d}`, 1+i%3)); status != http.StatusCreated {
			t.Fatalf("order %d: %d", i, status)
		}
	}
	s.Eventually("all orders are shipped", func() bool { return s.Count("select count(*) from orders where parcel is not null") == 200 })
	s.Eventually("all workflows are completed", func() bool { return s.Count("select count(*) from weir.workflows where state = 'completed'") == 200 })
	check := weirtest.StartProgram(t, settings, shop, "check")
	if status := check.Wait(); status != 0 || !strings.Contains(check.Output.String(), "200 orders: all paid and shipped once, and 399 pieces left the stock") {
		t.Errorf("check ended with status %d:\n%s", status, check.Output)
	}
	if n := s.Count("select count(*) from weir.workflow"); n != 200 {
		t.Errorf("there are %d workflows", n)
	}
}
