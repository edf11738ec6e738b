package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// The chart is well-formed, has a bar for each path in each panel, nothing leaves the
// picture, and what is written in it says what it shows.
func TestChart(t *testing.T) {
	data := sample()
	decoder := xml.NewDecoder(bytes.NewReader(chart(about{Kernel: "6.1.0-<test>"}, data)))
	var words strings.Builder
	bars := map[string]int{}
	var width, height float64
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch token := token.(type) {
		case xml.CharData:
			words.Write(token)
		case xml.StartElement:
			at := numbersOf(token)
			switch token.Name.Local {
			case "svg":
				width, height = at["width"], at["height"]
			case "rect":
				bars[attribute(token, "fill")]++
			}
			if at["x"] < 0 || at["y"] < 0 || at["x"]+at["width"] > width || at["y"]+at["height"] > height || at["x2"] > width || at["y2"] > height {
				t.Errorf("%s at %v leaves the picture of %v x %v", token.Name.Local, at, width, height)
			}
		}
	}
	// A path of no family is black; the others also are in the legend.
	if bars["#000000"] != 2 || bars[colourOf("ipip-fast")] != 3+1 || bars[colourOf("route")] != 3+1 {
		t.Errorf("rectangles by colour: %v", bars)
	}
	for _, want := range []string{"6.1.0-<test>", "a<b", "ipip-fast", udpPackets + " (more is better)", udpMedian + " (less is better)", "1.25", "fan --fast"} {
		if !strings.Contains(words.String(), want) {
			t.Errorf("the chart does not say %q", want)
		}
	}
}

func TestEveryPathHasAColour(t *testing.T) {
	for _, s := range (&bed{}).setups() {
		if colourOf(s.name) == "#000000" {
			t.Errorf("%s is of no family", s.name)
		}
	}
}

func attribute(element xml.StartElement, name string) string {
	for _, a := range element.Attr {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// numbersOf are the attributes that are numbers.
func numbersOf(element xml.StartElement) map[string]float64 {
	all := map[string]float64{}
	for _, a := range element.Attr {
		if value, err := strconv.ParseFloat(a.Value, 64); err == nil {
			all[a.Name.Local] = value
		}
	}
	return all
}
