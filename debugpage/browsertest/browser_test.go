package browsertest

import (
	"context"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A browser has the page open.
type browser struct {
	*testing.T
	ctx context.Context

	ended chan struct{} // closed when nobody listens to the console any more
	wrong []string      // what it had to complain about; read after that
}

func executable(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no Chromium is installed: apt-get install chromium, or put chromium or google-chrome into the PATH")
	return ""
}

// open shows the page at url when it has got its first snapshot.
func open(t *testing.T, url string) *browser {
	t.Helper()
	b := start(t)
	b.do(chromedp.Navigate(url))
	b.until(`page.snapshot !== undefined`)
	return b
}

// start starts a browser that ends with the test, and fails the test for whatever
// the browser's console complains about.
func start(t *testing.T) *browser {
	t.Helper()
	path := executable(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1300, 1000), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	ctx, endBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(endBrowser)
	ctx, endTab := chromedp.NewContext(ctx)
	b := &browser{T: t, ctx: ctx, ended: make(chan struct{})}
	go b.listen(chromedp.Console(ctx)) // starts the browser
	t.Cleanup(func() {
		endTab()
		<-b.ended
		require.Empty(t, b.wrong, "on the browser's console")
	})
	return b
}

func (b *browser) listen(console iter.Seq2[chromedp.ConsoleMessage, error]) {
	defer close(b.ended)
	for m, err := range console {
		if err != nil {
			return
		}
		if m.IsException() || m.Type == "error" || m.Type == "warning" {
			b.wrong = append(b.wrong, m.String())
		}
	}
}

// patience is how long an action may take.
const patience = time.Minute

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	require.NoError(b, chromedp.Do(ctx, actions...))
}

// until waits for a condition in the page.
func (b *browser) until(condition string) {
	b.Helper()
	came := ask[bool](b, `new Promise(done => {
		const end = performance.now() + 20_000;
		const look = () => {
			let came = false;
			try { came = Boolean(`+condition+`); } catch {} // not all is there yet
			if (came || performance.now() > end) done(came); else setTimeout(look, 20);
		};
		look();
	})`)
	if !came {
		b.Fatalf("never came true: %s\nthe page: %s", condition,
			ask[string](b, `JSON.stringify([[...page.opened], page.asked, find("status").textContent, document.hasFocus(), document.activeElement.outerHTML.slice(0, 200)])`))
	}
}

// ask evaluates an expression in the page, and awaits it if it is a promise.
func ask[T any](b *browser, expression string) T {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	require.NoError(b, err, expression)
	return value
}

// run evaluates statements in the page.
func (b *browser) run(script string) { b.Helper(); ask[any](b, script+"; 0") }

func (b *browser) click(selector string) {
	b.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}

// screenshot writes the whole page to $SCREENSHOTS/name.png, if that is set: for
// people to look at.
func (b *browser) screenshot(name string) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	require.NoError(b, err)
	require.NoError(b, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}
