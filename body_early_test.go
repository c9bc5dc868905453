package idlewise

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/idlewise/idlewise/faultserver"
	"github.com/idlewise/idlewise/faultserver/memnet"
)

// countingBody gives size bytes, each telling where it stands.
type countingBody struct{ at, size int }

func (b *countingBody) Read(p []byte) (int, error) {
	n := min(len(p), b.size-b.at)
	for i := range n {
		p[i] = byte((b.at + i) / 251)
	}
	b.at += n
	if b.at == b.size {
		return n, io.EOF
	}
	return n, nil
}

func (b *countingBody) Close() error { return nil }

func digest(r io.Reader) (string, error) {
	sum := fnv.New64a()
	n, err := io.Copy(sum, r)
	return fmt.Sprintf("%d bytes, %x", n, sum.Sum64()), err
}

// The server answers the second try before it has read the body, which was recorded
// wholly or in part while the first was sent.
func TestARecordedBodyIsSentToItsEndWhateverTheServerAnswersMeanwhile(t *testing.T) {
	const size = 6 << 20
	want, err := digest(&countingBody{size: size})
	require.NoError(t, err)
	for _, h2 := range []bool{false, true} {
		for _, part := range []int64{1 << 20, size} {
			if !h2 && part < size {
				continue // the server reads on, so that it is chance whether the body is being read
			}
			t.Run(fmt.Sprintf("HTTP/2 %v, %d bytes read at first", h2, part), func(t *testing.T) {
				got := make(chan string, 1)
				h := &scripted{f: func(n int, w http.ResponseWriter, r *http.Request) {
					if n == 1 {
						io.CopyN(io.Discard, r.Body, part)
						time.Sleep(time.Second) // while it is being read, it is not repeated
						w.WriteHeader(http.StatusServiceUnavailable)
						return
					}
					http.NewResponseController(w).EnableFullDuplex()
					w.WriteHeader(http.StatusOK)
					http.NewResponseController(w).Flush()
					time.Sleep(time.Second) // the caller has the response by then
					sum, err := digest(r.Body)
					got <- fmt.Sprintf("%s, %v", sum, err)
				}}
				cfg := worldConfig{
					latency: time.Millisecond, server: faultserver.Config{Handler: h, TLS: h2},
					client: retrying(Retry{Max: 1, MaxReplayBody: size}),
				}
				inWorld(t, cfg, func(t *testing.T, w *world) {
					got = make(chan string, 1) // of this bubble
					_, err := w.send(request(t, "PUT", w.url("/"), &countingBody{size: size}))
					require.NoError(t, err)
					require.EqualValues(t, 1, w.only().Retries)
					require.Equal(t, want+", <nil>", <-got)
					synctest.Wait()
					require.Zero(t, w.tr.replays.held.Load())
				})
			})
		}
	}
}

// entries is how many children a context of context.WithCancel has.
func entries(ctx context.Context) int {
	return reflect.ValueOf(ctx).Elem().FieldByName("children").Len()
}

// ownContexts are the policies with which requests have contexts of their own.
var ownContexts = map[string]Policy{
	"none":            {},
	"Retry":           {Retry: Retry{Max: 1}},
	"BodyIdleTimeout": {BodyIdleTimeout: time.Minute},
	"both":            {Retry: Retry{Max: 1, PerTryTimeout: time.Hour}, BodyIdleTimeout: time.Minute},
}

func TestAResponseWithoutABodyNeedNotBeClosed(t *testing.T) {
	for name, pol := range ownContexts {
		for _, h2 := range []bool{false, true} {
			for _, method := range []string{"DELETE", "HEAD", "PUT"} {
				t.Run(fmt.Sprintf("%s %s HTTP/2 %v", name, method, h2), func(t *testing.T) {
					h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if r.Method != "HEAD" {
							io.Copy(io.Discard, r.Body)
							w.WriteHeader(http.StatusNoContent)
						}
					})
					cfg := worldConfig{latency: time.Millisecond, server: faultserver.Config{TLS: h2, Handler: h}, client: Config{Policies: Policies{Default: pol}}}
					inWorld(t, cfg, func(t *testing.T, w *world) {
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						for range 10 {
							var body io.Reader
							if method == "PUT" {
								body = &countingBody{size: 10_000}
							}
							_, err := w.tr.RoundTrip(request(t, method, w.url("/"), body).WithContext(ctx))
							require.NoError(t, err)
						}
						synctest.Wait()
						require.Zero(t, entries(ctx))
					})
				})
			}
		}
	}
}

// answersFirst is an HTTP/2 server that answers completely before it reads the body,
// and goes on reading (RFC 9113 §8.1). It tells how the body ended.
func answersFirst(c net.Conn, ended chan<- string) {
	defer c.Close()
	io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
	fr := xhttp2.NewFramer(c, c)
	fr.WriteSettings()
	read := 0
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *xhttp2.HeadersFrame:
			var b bytes.Buffer
			hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "202"})
			fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: b.Bytes(), EndHeaders: true})
			fr.WriteData(f.StreamID, true, []byte("taken"))
		case *xhttp2.DataFrame:
			read += len(f.Data())
			if f.StreamEnded() {
				ended <- fmt.Sprintf("all %d bytes", read)
			}
		case *xhttp2.RSTStreamFrame:
			ended <- fmt.Sprintf("%v after %d bytes", f.ErrCode, read)
		}
	}
}

func TestAnUploadOverHTTP2GoesOnAfterItsResponseWasRead(t *testing.T) {
	const parts = 10
	for name, pol := range ownContexts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := memnet.New(memnet.Options{Latency: time.Millisecond})
				l, err := n.Listen(worldAddr)
				require.NoError(t, err)
				ended := make(chan string, 1)
				go func() {
					c, err := l.Accept()
					if err == nil {
						answersFirst(c, ended)
					}
				}()
				base := &http.Transport{DialContext: n.DialContext, Protocols: new(http.Protocols)}
				base.Protocols.SetUnencryptedHTTP2(true)
				tr, err := New(Config{Base: base, Policies: Policies{Default: pol}})
				require.NoError(t, err)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				r, w := io.Pipe()
				go func() {
					for range parts {
						w.Write([]byte(strings.Repeat("x", 1000)))
						time.Sleep(time.Second)
					}
					w.Close()
				}()
				resp, err := tr.RoundTrip(request(t, "PUT", "http://"+worldAddr+"/", r).WithContext(ctx))
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "taken", string(body))
				require.Equal(t, fmt.Sprintf("all %d bytes", parts*1000), <-ended)
				synctest.Wait()
				require.Zero(t, entries(ctx), "although nobody closed the body")
				tr.Close()
				l.Close()
				time.Sleep(time.Second) // until the server has heard of it
			})
		})
	}
}

// answersInTwoSteps is an HTTP/2 server that sends the header alone and ends the
// stream a second later, with trailers.
func answersInTwoSteps(c net.Conn, header []hpack.HeaderField) {
	defer c.Close()
	io.ReadFull(c, make([]byte, len(xhttp2.ClientPreface)))
	fr := xhttp2.NewFramer(c, c)
	fr.WriteSettings()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	send := func(id uint32, end bool, fields ...hpack.HeaderField) {
		b.Reset()
		for _, f := range fields {
			enc.WriteField(f)
		}
		fr.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: id, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: end})
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *xhttp2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *xhttp2.HeadersFrame:
			send(f.StreamID, false, header...)
			time.Sleep(time.Second)
			send(f.StreamID, true, hpack.HeaderField{Name: "x-status", Value: "done"})
		}
	}
}

// A server may say that the body is empty and still have the trailers to send, as a
// handler does that flushes its header.
func TestAnEmptyBodyOverHTTP2LastsUntilItsTrailersCome(t *testing.T) {
	headers := map[string][]hpack.HeaderField{
		"Content-Length: 0": {{Name: ":status", Value: "200"}, {Name: "content-length", Value: "0"}},
		"204":               {{Name: ":status", Value: "204"}},
		"304":               {{Name: ":status", Value: "304"}},
	}
	for name, pol := range ownContexts {
		for says, header := range headers {
			t.Run(name+" "+says, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := memnet.New(memnet.Options{Latency: time.Millisecond})
					l, err := n.Listen(worldAddr)
					require.NoError(t, err)
					go func() {
						if c, err := l.Accept(); err == nil {
							answersInTwoSteps(c, header)
						}
					}()
					base := &http.Transport{DialContext: n.DialContext, Protocols: new(http.Protocols)}
					base.Protocols.SetUnencryptedHTTP2(true)
					tr, err := New(Config{Base: base, Policies: Policies{Default: pol}})
					require.NoError(t, err)
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					resp, err := tr.RoundTrip(request(t, "GET", "http://"+worldAddr+"/", nil).WithContext(ctx))
					require.NoError(t, err)
					tr.CloseIdleConnections() // it is not idle
					body, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.Empty(t, body)
					require.Equal(t, "done", resp.Trailer.Get("X-Status"))
					synctest.Wait()
					require.Zero(t, entries(ctx), "although nobody closed the body")
					tr.Close()
					l.Close()
					time.Sleep(2 * time.Second) // until the server has heard of it
				})
			})
		}
	}
}
