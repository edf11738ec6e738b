package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
)

// Measures of the chart, in pixels.
const (
	panelWidth   = 360
	panelGap     = 20
	panelsBeside = 3
	nameWidth    = 86
	valueWidth   = 40
	barHeight    = 12
	barStep      = 17
	panelHead    = 26
	chartHead    = 74
)

// family is a colour of the chart, and the paths that have it.
type family struct {
	colour, means string
	paths         []string
}

func families() []family {
	return []family{
		{"#8c8c8c", "no tunnel", []string{"host", "route"}},
		{"#d9a441", "others' tunnels", []string{"ipip-kernel", "flannel", "swarm"}},
		{"#7fb3e0", "fan", []string{"ipip-ebpf", "ipip-device", "vxlan"}},
		{"#1f5fa8", "fan --fast", []string{"ipip-fast", "vxlan-fast"}},
	}
}

func colourOf(path string) string {
	for _, f := range families() {
		if slices.Contains(f.paths, path) {
			return f.colour
		}
	}
	return "#000000"
}

// bar is a path's ratio in a panel.
type bar struct {
	path string
	spread
}

// panel is a measure's part of the chart.
type panel struct {
	title string
	bars  []bar
}

// panels are the measures that a ratio to plain routing is known of.
func panels(data *results) []panel {
	var list []panel
	add := func(measures []string, better string) {
		for _, measure := range measures {
			p := panel{title: measure + " (" + better + " is better)"}
			for _, path := range data.Paths {
				if r, ok := ratio(data.Values[measure], path, base); ok {
					p.bars = append(p.bars, bar{path, r})
				}
			}
			if len(p.bars) > 0 {
				list = append(list, p)
			}
		}
	}
	add(rates(), "more")
	add(costs(), "less")
	return list
}

// drawing is an SVG that is being written.
type drawing struct{ bytes.Buffer }

func (d *drawing) text(x, y float64, how, words string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" %s>`, x, y, how)
	_ = xml.EscapeText(d, []byte(words)) // a buffer takes all
	d.WriteString("</text>\n")
}

func (d *drawing) line(x1, y1, x2, y2 float64, how string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, how)
}

func (d *drawing) rect(x, y, width, height float64, colour string) {
	fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, width, height, colour)
}

// chart draws the ratios to plain routing: a bar is their median, a whisker goes from
// the lower quarter to the upper one.
func chart(a about, data *results) []byte {
	list := panels(data)
	height := panelHead + panelGap + barStep*float64(len(data.Paths))
	rows := (len(list) + panelsBeside - 1) / panelsBeside
	const width = panelsBeside*(panelWidth+panelGap) + panelGap
	whole := chartHead + float64(rows)*height
	var d drawing
	fmt.Fprintf(&d, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" viewBox="0 0 %d %.0f" font-family="sans-serif" font-size="11">`+"\n",
		width, whole, width, whole)
	d.rect(0, 0, width, whole, "#ffffff")
	d.text(panelGap, 24, `font-size="16" font-weight="bold"`, "Ratios to plain routing (the dashed line), of one run")
	d.text(panelGap, 42, `fill="#555555"`, "kernel "+a.Kernel+", "+a.Date+"; a bar is the median of the rounds, a whisker goes from 25% to 75%")
	x := float64(panelGap)
	for _, f := range families() {
		d.rect(x, 52, barHeight, barHeight, f.colour)
		d.text(x+barHeight+5, 62, "", f.means)
		x += 130
	}
	for i, p := range list {
		d.panel(panelGap+float64(i%panelsBeside)*(panelWidth+panelGap), chartHead+float64(i/panelsBeside)*height, p)
	}
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// widest is the ratio at which a bar or a whisker is cut off, for the others to be seen.
const widest = 4

// panel draws the bars of a measure with its top left corner somewhere.
func (d *drawing) panel(left, top float64, p panel) {
	most := 1.0
	for _, b := range p.bars {
		most = max(most, min(widest, max(b.median, b.high)))
	}
	zero := left + nameWidth
	scale := (panelWidth - nameWidth - valueWidth) / most
	d.text(left, top+16, `font-weight="bold"`, p.title)
	y := top + panelHead
	bottom := y + barStep*float64(len(p.bars))
	for _, b := range p.bars {
		middle := y + barHeight/2.0
		d.text(zero-5, middle+4, `text-anchor="end"`, b.path)
		at := func(ratio float64) float64 { return zero + min(ratio, most)*scale }
		d.rect(zero, y, at(b.median)-zero, barHeight, colourOf(b.path))
		d.line(at(b.low), middle, at(b.high), middle, `stroke="#000000"`)
		for _, end := range []float64{b.low, b.high} {
			if end <= most {
				d.line(at(end), middle-3, at(end), middle+3, `stroke="#000000"`)
			}
		}
		d.text(at(max(b.median, b.high))+5, middle+4, "", fmt.Sprintf("%.2f", b.median))
		y += barStep
	}
	d.line(zero, top+panelHead-4, zero, bottom, `stroke="#555555"`)
	d.line(zero+scale, top+panelHead-4, zero+scale, bottom, `stroke="#c03030" stroke-dasharray="4 3"`)
}
