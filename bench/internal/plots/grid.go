package plots

import (
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A Grid is a picture of panels in rows and columns. All have the same categories
// along the x axis and the same series.
type Grid struct {
	Title  string
	X, Y   string // what the axes show
	Ticks  []string
	Series []string
	Panels [][]Panel // by row
	// Base is drawn as a line through all panels; 0: none.
	Base float64
}

// A Panel has the points of each series in each category. The y axis is
// logarithmic.
type Panel struct {
	Title  string
	Points [][]Point // by series
}

// A Point is a value and how far it scattered. One without a value is not drawn.
type Point struct{ Value, Low, High float64 }

// Write draws the grid to a file.
func (g *Grid) Write(file string) error {
	rows, columns := len(g.Panels), 0
	plots := make([][]*plot.Plot, rows)
	for i, row := range g.Panels {
		columns = max(columns, len(row))
		for j := range row {
			plots[i] = append(plots[i], g.panel(&row[j], i == rows-1, j == 0))
		}
	}
	s := newSheet(vg.Length(columns)*225, head+vg.Length(rows)*170+14, g.Title)
	s.legend(g.Series, func(i int, at vg.Point) { s.c.DrawGlyph(marks[i].at(3.6), at) })
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 10, PadY: 22, PadTop: 18, PadRight: 4}
	for i, row := range plot.Align(plots, tiles, s.body) {
		for j, c := range row {
			plots[i][j].Draw(c)
		}
	}
	return s.write(file)
}

func (g *Grid) panel(panel *Panel, lowest, leftmost bool) *plot.Plot {
	p := newPlot()
	p.NominalX(g.Ticks...)
	p.X.Min, p.X.Max = -0.5, float64(len(g.Ticks))-0.5
	p.X.LineStyle.Width = 0.6
	if lowest {
		p.X.Label.Text = g.X
	}
	if leftmost {
		p.Y.Label.Text = g.Y
	}
	low, high := panel.bounds(g.Base)
	p.Y.Min, p.Y.Max = low, high
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = logTicks(high / low)
	p.Add(&dots{panel, g.Base})
	return p
}

// bounds leave room around all points.
func (p *Panel) bounds(base float64) (low, high float64) {
	low, high = math.Inf(1), 0.0
	note := func(v float64) {
		if v > 0 {
			low, high = min(low, v), max(high, v)
		}
	}
	note(base)
	for _, series := range p.Points {
		for _, pt := range series {
			note(pt.Value)
			note(pt.Low)
			note(pt.High)
		}
	}
	if high == 0 {
		return 0.5, 2
	}
	if base > 0 { // far enough for ticks on both sides
		low, high = min(low, base/2), max(high, base*2)
	}
	return low / 1.15, high * 1.15
}

// logTicks are labelled at 1, 2 and 5 in each decade, or at its beginning alone
// where there are many.
type logTicks float64

func (span logTicks) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range []float64{1, 2, 5} {
			v := m * math.Pow(10, e)
			if v < low || v > high {
				continue
			}
			t := plot.Tick{Value: v}
			if m == 1 || span < 300 {
				t.Label = strconv.FormatFloat(v, 'g', 3, 64)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// dots are a panel's points, beside each other within a category.
type dots struct {
	panel *Panel
	base  float64
}

func (d *dots) Plot(c draw.Canvas, p *plot.Plot) {
	caption(c, d.panel.Title)
	x, y := p.Transforms(&c)
	for _, t := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		c.StrokeLine2(draw.LineStyle{Color: lightGrey, Width: 0.5}, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
	}
	if d.base > 0 {
		c.StrokeLine2(draw.LineStyle{Color: black, Width: 0.8}, c.Min.X, y(d.base), c.Max.X, y(d.base))
	}
	n := float64(len(d.panel.Points))
	for i, series := range d.panel.Points {
		for j, pt := range series {
			if pt.Value <= 0 {
				continue
			}
			at := vg.Point{X: x(float64(j) + (float64(i)-(n-1)/2)*0.8/n), Y: y(pt.Value)}
			if pt.Low > 0 && pt.High > pt.Low {
				c.StrokeLine2(draw.LineStyle{Color: marks[i].color, Width: 1}, at.X, y(pt.Low), at.X, y(pt.High))
			}
			c.DrawGlyph(marks[i].at(3), at)
		}
	}
}
