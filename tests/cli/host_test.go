package cli

import (
	"net/http"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestServeAllowsTheHostsOfItsSettings(t *testing.T) {
	t.Parallel()
	s, _ := weirtest.StartServe(t, weirtest.New(t), "WEIR_ALLOWED_HOSTS=weir.example,*.internal.example")
	for host, want := range map[string]int{
		"weir.example": http.StatusOK, "WEIR.example:8080": http.StatusOK, "a.b.internal.example": http.StatusOK, "localhost": http.StatusOK,
		"internal.example": http.StatusMisdirectedRequest, "x.weir.example": http.StatusMisdirectedRequest, "evil.example": http.StatusMisdirectedRequest,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/livez", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		answer, err := s.SendRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Want(want)
	}
}

func TestServeRefusesHostsThatAreNoNames(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"http://weir.example", "weir.example:8080", "*.", "a*.example"} {
		weirtest.RunCLI(t, nil, "", "serve", "--database-url", weirtest.New(t).URL, "--addr", "127.0.0.1:0", "--allowed-hosts", host).Says(1, "name of a host")
	}
}
