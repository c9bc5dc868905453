package plots

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Strips is a picture of histograms above each other that share their x axis.
type Strips struct {
	Title    string
	X        string
	Parts    []string // of every bar, from its foot up
	From, To float64  // the x axis
	Marked   float64  // a line there
	Strips   []Strip
}

// A Strip is one histogram. Bars gives the shares of the parts, from 0 to 1, in
// bins of equal width.
type Strip struct {
	Title string
	Bars  [][]float64
}

var partColors = []color.Color{vermilion, grey}

// Write draws the strips to a file.
func (s *Strips) Write(file string) error {
	n := len(s.Strips)
	var plots [][]*plot.Plot
	for i, strip := range s.Strips {
		p := newPlot()
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = s.From, s.To, 0, 1
		p.Y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 0.5, Label: "50 %"}, {Value: 1, Label: "100 %"}}
		p.X.Tick.Marker = s.ticks(i == n-1)
		if i == n-1 {
			p.X.Label.Text = s.X
		}
		p.Add(&bars{s, &strip})
		plots = append(plots, []*plot.Plot{p})
	}
	sh := newSheet(680, head+vg.Length(n)*68+30, s.Title)
	sh.legend(s.Parts, func(i int, at vg.Point) {
		r := vg.Rectangle{Min: vg.Point{X: at.X - 4, Y: at.Y - 4}, Max: vg.Point{X: at.X + 4, Y: at.Y + 4}}
		sh.c.SetColor(partColors[i])
		sh.c.Fill(r.Path())
	})
	tiles := draw.Tiles{Rows: n, Cols: 1, PadY: 20, PadTop: 16, PadRight: 12}
	for i, row := range plot.Align(plots, tiles, sh.body) {
		plots[i][0].Draw(row[0])
	}
	return sh.write(file)
}

func (s *Strips) ticks(labelled bool) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for i := range 8 {
		t := plot.Tick{Value: s.From + float64(i)*(s.To-s.From)/7}
		if labelled {
			t.Label = fmt.Sprintf("%.2f", t.Value)
		}
		ticks = append(ticks, t)
	}
	return ticks
}

type bars struct {
	s     *Strips
	strip *Strip
}

func (b *bars) Plot(c draw.Canvas, p *plot.Plot) {
	caption(c, b.strip.Title)
	x, y := p.Transforms(&c)
	width := (b.s.To - b.s.From) / float64(max(1, len(b.strip.Bars)))
	for i, parts := range b.strip.Bars {
		from := b.s.From + float64(i)*width
		foot := 0.0
		for j, share := range parts {
			if share <= 0 {
				continue
			}
			r := vg.Rectangle{Min: vg.Point{X: x(from), Y: y(foot)}, Max: vg.Point{X: x(from + width), Y: y(foot + share)}}
			c.SetColor(partColors[j])
			c.Fill(r.Path())
			foot += share
		}
	}
	dashed := draw.LineStyle{Color: black, Width: 0.8, Dashes: []vg.Length{3, 2}}
	c.StrokeLine2(dashed, x(b.s.Marked), c.Min.Y, x(b.s.Marked), c.Max.Y)
}
