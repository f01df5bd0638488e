package cluster

import "fmt"

// Profile is a set of PostgreSQL settings with a name. In each of them fsync and synchronous_commit are on.
type Profile struct {
	Name     string
	Settings map[string]string
}

// Both profiles let 400 sessions in, because one scenario has 256 waiting workers.
var profiles = []Profile{
	{Name: "stock", Settings: map[string]string{
		"fsync":              "on",
		"synchronous_commit": "on",
		"max_connections":    "400",
	}},
	// What the documentation of PostgreSQL advises for a machine that is there for the database, and no more.
	{Name: "tuned", Settings: map[string]string{
		"fsync":                          "on",
		"synchronous_commit":             "on",
		"max_connections":                "400",
		"shared_buffers":                 "2GB",
		"wal_buffers":                    "64MB",
		"max_wal_size":                   "8GB",
		"checkpoint_timeout":             "15min",
		"wal_compression":                "lz4",
		"autovacuum_naptime":             "10s",
		"autovacuum_vacuum_cost_delay":   "0",
		"autovacuum_vacuum_scale_factor": "0.02",
		"random_page_cost":               "1.1",
	}},
}

// ProfileByName returns the profile stock or tuned.
func ProfileByName(name string) (Profile, error) {
	for _, p := range profiles {
		if p.Name == name {
			return p, nil
		}
	}
	return Profile{}, fmt.Errorf("there is no settings profile %q: it is stock or tuned", name)
}
