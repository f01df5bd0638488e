//go:build unix

package weirtest

import (
	"encoding/xml"
	"fmt"
	"regexp"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// The looks of a picture of a screen.
const (
	cellWidth, cellHeight = 8, 18 // in pixels
	pictureText           = "#c9d1d9"
	pictureBack           = "#161b22"
)

var pictureColours = map[ansi.BasicColor]string{ansi.Red: "#ff7b72", ansi.Green: "#7ee787", ansi.Yellow: "#e3b341"}

// Picture is the screen as an SVG image.
func (x *Terminal) Picture() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	columns, rows := x.screen.Width(), x.screen.Height()
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13.28">`+"\n",
		(columns+2)*cellWidth, (rows+1)*cellHeight)
	fmt.Fprintf(&svg, `<rect width="100%%" height="100%%" rx="6" fill="%s"/>`+"\n", pictureBack)
	for row := range rows {
		for column := 0; column < columns; {
			first := x.screen.CellAt(column, row)
			from, text := column, ""
			for ; column < columns; column++ { // cells that look the same
				cell := x.screen.CellAt(column, row)
				if cell == nil || first == nil || !cell.Style.Equal(&first.Style) {
					break
				}
				text += cell.Content
			}
			if column == from {
				column++
				continue
			}
			drawText(&svg, from, row, text, first.Style)
		}
	}
	svg.WriteString("</svg>\n")
	return svg.String()
}

func drawText(svg *strings.Builder, column, row int, text string, style uv.Style) {
	fill, back := pictureText, ""
	if basic, ok := style.Fg.(ansi.BasicColor); ok && pictureColours[basic] != "" {
		fill = pictureColours[basic]
	}
	if style.Attrs&uv.AttrReverse != 0 {
		fill, back = pictureBack, fill
	}
	weight, opacity := "", ""
	if style.Attrs&uv.AttrBold != 0 {
		weight = ` font-weight="bold"`
	}
	if style.Attrs&uv.AttrFaint != 0 {
		opacity = ` opacity="0.6"`
	}
	left, top, width := (column+1)*cellWidth, row*cellHeight+cellHeight/2, len([]rune(text))*cellWidth
	if back != "" {
		fmt.Fprintf(svg, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+"\n", left, top, width, cellHeight, back)
	}
	// Each part has its own place, so that columns stand below each other in any font.
	for _, part := range parts.FindAllStringIndex(text, -1) {
		words, before := text[part[0]:part[1]], len([]rune(text[:part[0]]))
		fmt.Fprintf(svg, `<text x="%d" y="%d" textLength="%d" fill="%s"%s%s>`, left+before*cellWidth, top+cellHeight-5, len([]rune(words))*cellWidth, fill, weight, opacity)
		_ = xml.EscapeText(svg, []byte(words))
		svg.WriteString("</text>\n")
	}
}

// parts are words with single spaces between them.
var parts = regexp.MustCompile(`[^ ]+( [^ ]+)*`)
