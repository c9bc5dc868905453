// Package plots draws what the benchmarks measured, as SVG on white, so that it
// reads on a dark page too. Colours are Okabe and Ito's, which the colour-blind
// can tell apart, and each has a shape of its own.
package plots

import (
	"bytes"
	"fmt"
	"image/color"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	black     = color.RGBA{0x22, 0x22, 0x22, 0xff}
	grey      = color.RGBA{0xc4, 0xc4, 0xc4, 0xff}
	lightGrey = color.RGBA{0xe6, 0xe6, 0xe6, 0xff}
	vermilion = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
)

// A mark is how a series is drawn.
type mark struct {
	color color.Color
	shape draw.GlyphDrawer
}

// marks are given to series in their order; the last is idlewise's.
var marks = []mark{
	{black, draw.CircleGlyph{}},
	{color.RGBA{0xe6, 0x9f, 0x00, 0xff}, draw.BoxGlyph{}},
	{color.RGBA{0x56, 0xb4, 0xe9, 0xff}, draw.PyramidGlyph{}},
	{color.RGBA{0xcc, 0x79, 0xa7, 0xff}, diamond{}},
	{color.RGBA{0x00, 0x9e, 0x73, 0xff}, wedge{}},
	{color.RGBA{0x00, 0x72, 0xb2, 0xff}, draw.CircleGlyph{}},
}

// A diamond is a square on its corner, a wedge a triangle on its.
type (
	diamond struct{}
	wedge   struct{}
)

func (diamond) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, at vg.Point) {
	r := sty.Radius * 1.2
	fill(c, sty.Color, at, vg.Point{X: -r}, vg.Point{Y: r}, vg.Point{X: r}, vg.Point{Y: -r})
}

func (wedge) DrawGlyph(c *draw.Canvas, sty draw.GlyphStyle, at vg.Point) {
	r := sty.Radius * 1.1
	fill(c, sty.Color, at, vg.Point{X: -r, Y: 0.8 * r}, vg.Point{X: r, Y: 0.8 * r}, vg.Point{Y: -r})
}

func fill(c *draw.Canvas, with color.Color, at vg.Point, corners ...vg.Point) {
	var p vg.Path
	for i, corner := range corners {
		if i == 0 {
			p.Move(at.Add(corner))
		} else {
			p.Line(at.Add(corner))
		}
	}
	p.Close()
	c.SetColor(with)
	c.Fill(p)
}

func (m mark) at(radius vg.Length) draw.GlyphStyle {
	return draw.GlyphStyle{Color: m.color, Radius: radius, Shape: m.shape}
}

func textStyle(size vg.Length, x text.XAlignment) text.Style {
	return text.Style{
		Color: black, Font: font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, size),
		XAlign: x, YAlign: text.YCenter, Handler: plot.DefaultTextHandler,
	}
}

// caption writes above a panel's data. A plot.Plot's own title would not stand at
// the same height beside panels that have labels where this has none.
func caption(c draw.Canvas, title string) {
	c.FillText(textStyle(10, text.XLeft), vg.Point{X: c.Min.X, Y: c.Max.Y + 9}, title)
}

// newPlot is a panel with a quiet frame.
func newPlot() *plot.Plot {
	p := plot.New()
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle = textStyle(9, text.XCenter)
		a.Tick.Label.Font = font.From(font.Font{Typeface: "Liberation", Variant: "Sans"}, 8.5)
		a.Tick.Label.Color, a.Color, a.Tick.Color = black, black, black
		a.LineStyle.Width, a.Tick.LineStyle.Width = 0.6, 0.6
		a.Tick.Length = 3
		a.Padding = 2
	}
	p.X.Label.TextStyle.YAlign, p.Y.Label.TextStyle.YAlign = text.YBottom, text.YBottom
	return p
}

// A sheet is a picture in the making: a title, a legend, and what is below them.
type sheet struct {
	svg  *vgsvg.Canvas
	c    draw.Canvas
	body draw.Canvas
}

// head is the height of title and legend.
const head = 44

func newSheet(w, h vg.Length, title string) *sheet {
	svg := vgsvg.New(w, h)
	c := draw.New(svg)
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	style := textStyle(12, text.XLeft)
	c.FillText(style, vg.Point{X: 10, Y: h - 13}, title)
	return &sheet{svg, c, draw.Crop(c, 6, -10, 6, -head)}
}

// legend draws the names with what stands for each, in a row.
func (s *sheet) legend(names []string, draws func(i int, at vg.Point)) {
	style := textStyle(10, text.XLeft)
	x, y := vg.Length(16), s.c.Max.Y-32
	for i, name := range names {
		draws(i, vg.Point{X: x, Y: y})
		s.c.FillText(style, vg.Point{X: x + 9, Y: y}, name)
		x += 9 + style.Width(name) + 22
	}
}

// write finishes the picture.
func (s *sheet) write(file string) error {
	var b bytes.Buffer
	if _, err := s.svg.WriteTo(&b); err != nil {
		return fmt.Errorf("drawing %s: %w", file, err)
	}
	// Liberation has the widths of the fonts that most readers have instead.
	svg := strings.ReplaceAll(b.String(), "font-family:Liberation Sans", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif")
	return os.WriteFile(file, []byte(svg), 0o644)
}
