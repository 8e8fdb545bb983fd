package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// charted are the operations whose time caps what a history shard can do.
var charted = []string{"create workflow", "update workflow"}

// chart is an SVG image of the p50 with one caller: a panel for each operation, a group of bars for each delay.
func (r *results) chart() string {
	const (
		barWidth, groupGap = 16, 24
		plotHeight         = 220
		left, top          = 48, 56
		bottom             = 28
		legendLine         = 20
		textStyle          = `font-family="sans-serif" font-size="12"`
	)
	colors := []string{"#444444", "#b0b0b0", "#9ecae1", "#4292c6", "#08519c", "#fdae6b", "#f16913", "#a63603"}
	groupWidth := barWidth*len(r.Configurations) + groupGap
	panelWidth := left + groupWidth*len(r.Settings.Delays)
	width := panelWidth * len(charted)
	height := top + plotHeight + bottom + legendLine*len(r.Configurations)

	var out strings.Builder
	printf := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	text := func(x, y int, anchor, content string) {
		printf(`<text x="%d" y="%d" text-anchor="%s" %s>%s</text>`, x, y, anchor, textStyle, html.EscapeString(content))
	}
	printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d">`, width, height)
	printf(`<rect width="100%%" height="100%%" fill="white"/>`)
	text(left, 20, "start", "p50 in ms, one caller, by the network's round trip time")
	scale := r.chartScale()
	for panel, operation := range charted {
		x0, y0 := panel*panelWidth+left, top+plotHeight
		text(x0, top-12, "start", operation)
		for _, share := range []float64{0, 0.5, 1} {
			y := y0 - int(share*plotHeight)
			printf(`<line x1="%d" y1="%d" x2="%d" y2="%[2]d" stroke="#dddddd"/>`, x0, y, x0+groupWidth*len(r.Settings.Delays)-groupGap)
			text(x0-6, y+4, "end", fmt.Sprintf("%g", share*scale))
		}
		for group, delay := range r.Settings.Delays {
			x := x0 + group*groupWidth
			text(x+barWidth*len(r.Configurations)/2, y0+18, "middle", delay.String())
			for i, c := range r.Configurations {
				timing, ok := r.timing(operation, c.Name, delay, 1)
				if !ok {
					continue
				}
				barHeight := timing.P50 / scale * plotHeight
				printf(`<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"><title>%s: %s ms</title></rect>`,
					x+i*barWidth, float64(y0)-barHeight, barWidth-1, barHeight, colors[i%len(colors)], html.EscapeString(c.Title), number(timing.P50))
			}
		}
	}
	for i, c := range r.Configurations {
		y := top + plotHeight + bottom + legendLine*i
		printf(`<rect x="%d" y="%d" width="12" height="12" fill="%s"/>`, left, y, colors[i%len(colors)])
		text(left+20, y+11, "start", c.Name+": "+c.Title)
	}
	printf("</svg>")
	return out.String()
}

// chartScale returns the upper end of the axis: the next multiple of ten.
func (r *results) chartScale() float64 {
	highest := 0.0
	for _, operation := range charted {
		for _, c := range r.Configurations {
			for _, delay := range r.Settings.Delays {
				timing, _ := r.timing(operation, c.Name, delay, 1)
				highest = max(highest, timing.P50)
			}
		}
	}
	return max(10, 10*math.Ceil(highest/10))
}
