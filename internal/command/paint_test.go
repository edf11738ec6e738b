package command

import (
	"bytes"
	"strings"
	"testing"
)

func TestPaint(t *testing.T) {
	if got := Painter(true).Bold("a") + Painter(true).Red("b") + Painter(true).Yellow("c"); strings.ReplaceAll(got, "\x1b", "E") != "E[1maE[0mE[31mbE[0mE[33mcE[0m" {
		t.Errorf("painted is %q", got)
	}
	if got := Painter(false).Bold("a"); got != "a" {
		t.Errorf("not painted is %q", got)
	}
	if PainterOf(&bytes.Buffer{}) {
		t.Error("what goes into a buffer is painted")
	}
}
