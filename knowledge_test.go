package idlewise

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func fiveSeconds(client Config) worldConfig {
	return worldConfig{latency: 10 * time.Millisecond, server: faultserver.Config{IdleTimeout: 5 * time.Second}, client: client}
}

func TestKnowledgeMakesTheRoundThroughJSONAndStartsAProcessWarm(t *testing.T) {
	var text []byte
	inWorld(t, fiveSeconds(Config{}), func(t *testing.T, w *world) {
		for range 20 {
			w.mustDo("GET", "/", "")
			time.Sleep(20 * time.Second)
		}
		k := w.tr.Knowledge()
		require.Len(t, k.Upstreams, 1)
		require.Equal(t, "confirmed", k.Upstreams[0].Confidence)
		require.InDelta(t, 5, k.Upstreams[0].Deadline.Seconds(), 0.05)
		require.Positive(t, k.Upstreams[0].Timeouts[0].Closes)
		var err error
		text, err = json.Marshal(k)
		require.NoError(t, err)
	})

	learned, err := ParseKnowledge(text)
	require.NoError(t, err)
	inWorld(t, fiveSeconds(Config{Learned: learned}), func(t *testing.T, w *world) {
		require.Equal(t, DeadlineProvisional, w.tr.Explain(w.server.URL).Source, "it may have changed since")
		w.mustDo("POST", "/", "x")
		time.Sleep(4990 * time.Millisecond)
		w.mustDo("POST", "/", "x") // which would meet the close
		require.EqualValues(t, 2, w.dials.Load())
		require.Zero(t, w.only().StaleOther)
		time.Sleep(20 * time.Second)
		w.mustDo("GET", "/", "")
		require.Equal(t, DeadlineLearned, w.tr.Explain(w.server.URL).Source, "a canary has confirmed it")
	})
	inWorld(t, fiveSeconds(Config{Learned: learned}), func(t *testing.T, w *world) {
		again := w.tr.Knowledge()
		require.Equal(t, learned.Upstreams, again.Upstreams, "what was not met is not lost")
	})
}

func TestOldKnowledgeThatNoLongerHoldsIsGivenUp(t *testing.T) {
	learned := &Knowledge{Version: 1, Upstreams: []UpstreamKnowledge{{
		Name:     "http://10.0.0.1:80",
		Timeouts: []Timeout{{Lower: 2 * time.Second, Upper: 2 * time.Second, Closes: 100, Weight: 2.6}},
	}}}
	inWorld(t, fiveSeconds(Config{Learned: learned}), func(t *testing.T, w *world) {
		require.Equal(t, 2*time.Second, w.tr.Explain(w.server.URL).ServerKeepAlive)
		for range 10 {
			w.mustDo("GET", "/", "")
			time.Sleep(20 * time.Second)
		}
		require.InDelta(t, 5, w.tr.Explain(w.server.URL).ServerKeepAlive.Seconds(), 0.05)
		require.Zero(t, w.only().StaleIdempotent)
	})
}

func TestCorruptAndForeignKnowledgeIsRefusedAndSaysWhy(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "idlewise: knowledge: unexpected end of JSON input",
		"[]":                             "idlewise: knowledge: json: cannot unmarshal array",
		`{"version": 7}`:                 "idlewise: knowledge: version: 7 is not 1; was it written by another program?",
		`{"name": "package.json"}`:       "version: 0 is not 1",
		`{"version":1,"upstreams":[{}]}`: `upstreams[0] (""): name: is empty`,
		`{"version":1,"upstreams":[{"name":"a"},{"name":"a"}]}`:                                                          `upstreams[1] ("a"): name: is there twice`,
		`{"version":1,"upstreams":[{"name":"a","timeouts":[{"lower_ns":5,"upper_ns":4,"closes":1}]}]}`:                   `timeouts[0]`,
		`{"version":1,"upstreams":[{"name":"a","timeouts":[{"lower_ns":-5,"upper_ns":4,"closes":1,"weight":1}]}]}`:       `timeouts[0]`,
		`{"version":1,"upstreams":[{"name":"a","timeouts":[{"lower_ns":5000000000,"upper_ns":5000000000,"closes":0}]}]}`: `timeouts[0]`,
	} {
		_, err := ParseKnowledge([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := New(Config{Learned: &Knowledge{}})
	require.ErrorContains(t, err, "Config.Learned: version: 0 is not 1; was it written by another program?; leave it nil to start without")
}

func FuzzKnowledge(f *testing.F) {
	f.Add([]byte(`{"version":1,"upstreams":[{"name":"http://10.0.0.1:80","timeouts":[{"lower_ns":5000000000,"upper_ns":5000000000,"closes":3,"weight":2.1,"survived":0.5}]}]}`))
	f.Add([]byte(`{"version":1,"upstreams":[{"name":"https://a:443 via http://b:80"},{"name":"http://* via http://b:80"},{"name":"\u0000 x"}]}`))
	f.Add([]byte(`{"version":1,"upstreams":[{"name":"a"},{"name":"a","timeouts":[{"lower_ns":9223372036854775807,"upper_ns":9223372036854775807,"closes":1,"weight":1e308}]}]}`))
	f.Add([]byte(`{"version":1,"upstreams":[{"name":"a","timeouts":[{"lower_ns":5,"upper_ns":4,"closes":-1,"weight":-1,"survived":-1}]}]}`))
	f.Add([]byte(`{"version":7}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := ParseKnowledge(text)
		if err != nil {
			return
		}
		tr, err := New(Config{Learned: k})
		require.NoError(t, err)
		defer tr.Close()
		for _, u := range k.Upstreams {
			tr.Explain(u.Name)
		}
		again, err := json.Marshal(tr.Knowledge())
		require.NoError(t, err)
		_, err = ParseKnowledge(again)
		require.NoError(t, err)
	})
}
