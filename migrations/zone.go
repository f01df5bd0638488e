package migrations

import (
	"archive/zip"
	"bytes"
	"context"
	_ "embed" // for zoneinfo.zip
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// zoneinfo is the IANA time zone database, compiled, as Go's distribution has it (lib/time/zoneinfo.zip); `make zones` brings a newer one. It is here and
// not asked of time.LoadLocation, which would rather take the machine's.
//
//go:embed zoneinfo.zip
var zoneinfo []byte

// ZoneVersion is the release of the database that zoneinfo is.
const ZoneVersion = "2025c"

// The stretch of time whose changes of clocks a database is given. Schedules do not fire in the past, nor when we are all retired.
var (
	zonesFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	zonesUntil = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// zone is a time zone as weir.load_time_zones takes it: Offsets[0] holds until Changes[0], and so on.
type zone struct {
	Changes []int64 `json:"changes"` // Unix seconds
	Offsets []int   `json:"offsets"` // seconds ahead of UTC
}

// loadZones gives the database the time zones of this program, unless it has them or those of a later release. The caller
// holds the migration lock.
func loadZones(ctx context.Context, conn *pgx.Conn) error {
	var current bool
	err := conn.QueryRow(ctx, "select exists (select from weir.time_zone where version >= $1)", ZoneVersion).Scan(&current)
	if err != nil || current {
		return explain("reading the release of time zones", err)
	}
	zones, err := readZones()
	if err != nil {
		return fmt.Errorf("reading time zones: %w", err)
	}
	text, err := json.Marshal(zones)
	if err != nil {
		return fmt.Errorf("encoding time zones: %w", err)
	}
	_, err = conn.Exec(ctx, "select weir.load_time_zones($1::jsonb, $2)", string(text), ZoneVersion)
	return explain("loading time zones", err)
}

func readZones() (map[string]zone, error) {
	archive, err := zip.NewReader(bytes.NewReader(zoneinfo), int64(len(zoneinfo)))
	if err != nil {
		return nil, err
	}
	zones := map[string]zone{}
	for _, f := range archive.File {
		if strings.HasSuffix(f.Name, "/") || f.Name == "Factory" { // a placeholder for "not set", not a place
			continue
		}
		r, err := f.Open()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		location, err := time.LoadLocationFromTZData(f.Name, data)
		if err != nil {
			return nil, err
		}
		zones[f.Name] = changesOf(location)
	}
	return zones, nil
}

// changesOf lists the changes of a zone's offset. Changes of its name or of its daylight-saving flag alone are none.
func changesOf(location *time.Location) zone {
	offsetAt := func(unix int64) int {
		_, offset := time.Unix(unix, 0).In(location).Zone()
		return offset
	}
	from, until := zonesFrom.Unix(), zonesUntil.Unix()
	z := zone{Changes: []int64{}, Offsets: []int{offsetAt(from)}}
	for from < until {
		_, bound := time.Unix(from, 0).In(location).ZoneBounds()
		if bound.IsZero() {
			return z
		}
		// In a leap year the bounds that Go 1.26 gives end before the last day of the year, although nothing changes then, and from there on do not end later.
		to := max(bound.Unix(), from+24*60*60)
		if now, then := offsetAt(from), offsetAt(to); now != then {
			low, high := from, to // the change is in (low, high]
			for high-low > 1 {
				if middle := (low + high) / 2; offsetAt(middle) == now {
					low = middle
				} else {
					high = middle
				}
			}
			z.Changes, z.Offsets = append(z.Changes, high), append(z.Offsets, then)
		}
		from = to
	}
	return z
}
