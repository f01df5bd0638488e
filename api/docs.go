package api

import (
	"embed"
	"io/fs"
	"net/http"
	"sync"
)

// docsFiles is Swagger UI and its page. Nothing is loaded from another host.
//
//go:embed docs/*.html docs/*.js docs/*.css docs/*.png docs/*.txt docs/LICENSE docs/NOTICE
var docsFiles embed.FS

const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// serveDocs adds /docs/ and the OpenAPI documents. Each file is its own route, so that a missing one is a problem document.
func (a *API) serveDocs() error {
	files, err := fs.Sub(docsFiles, "docs")
	if err != nil {
		return err
	}
	names, err := fs.Glob(files, "*")
	if err != nil {
		return err
	}
	server := http.StripPrefix("/docs", http.FileServerFS(files))
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", docsPolicy)
		w.Header().Set("Cache-Control", "max-age=3600")
		server.ServeHTTP(w, r)
	})
	a.mux.Handle("GET /docs/{$}", page)
	for _, name := range names {
		if name != "index.html" { // that is /docs/
			a.mux.Handle("GET /docs/"+name, page)
		}
	}
	for version, path := range map[string]string{"3.1": "/openapi.json", "3.0": "/openapi-3.0.json"} {
		document := sync.OnceValues(func() ([]byte, error) { return a.document(version) }) // takes longer than the rest of a start
		a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			text, err := document()
			if err != nil {
				panic(err) // a defect: the request fails, and the log says why
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(text)
		})
	}
	return nil
}
