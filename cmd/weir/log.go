package main

import (
	"io"
	"log/slog"
)

// logFlags configure the log, which goes to standard error.
type logFlags struct {
	LogLevel  slog.Level `help:"Lowest level to log: debug, info, warn, error." env:"WEIR_LOG_LEVEL" default:"info"`
	LogFormat string     `help:"Format of the log: text or json." env:"WEIR_LOG_FORMAT" default:"text" enum:"text,json"`
}

func (f logFlags) logger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: f.LogLevel}
	if f.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
