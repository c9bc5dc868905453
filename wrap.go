package idlewise

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
)

// maxLayers bounds how many layers of RoundTrippers are unwrapped, lest one
// that returns itself holds the program up.
const maxLayers = 100

// Wrap returns a Transport that takes over what rt carries: the dialer, TLS
// configuration, proxy and HTTP/2 settings of the *http.Transport at its
// bottom. Layers that have a method Unwrap or WrappedRoundTripper, each
// returning an http.RoundTripper, are followed down to it and kept alive,
// since some stop to renew certificates once they are garbage. What those
// layers do to requests the Transport does not do.
//
// A layer that cannot be followed is an error that names its type: put
// idlewise under it instead, as in otelhttp.NewTransport(t). So is a
// Config.Base, since rt is the base. A nil rt means http.DefaultTransport.
func Wrap(rt http.RoundTripper, cfg Config) (*Transport, error) {
	if rt == nil {
		rt = http.DefaultTransport
		fill(&cfg.MaxIdleConns, defaultTotalIdleConns) // as with a nil Base
	}
	var errs []error
	if cfg.Base != nil {
		errs = append(errs, errors.New("Config.Base: Wrap takes the base from the RoundTripper it wraps; leave Base nil or use New"))
	}
	inner, err := underlying(rt)
	if err != nil {
		errs = append(errs, fmt.Errorf("Wrap: %w", err))
	}
	t, err := build(cfg, inner, rt, errs)
	if err != nil {
		return nil, err
	}
	return t, nil
}

// WrapClient returns a copy of client whose Transport is wrapped as by Wrap.
// A nil client means http.DefaultClient; its cookie jar, redirect policy and
// timeout are kept. The client that was given, and whoever holds it, is not
// changed: use the one returned.
//
//	client, err = idlewise.WrapClient(client, idlewise.Config{})
//
// Its Transport is a *Transport, to be closed, asked or told as any.
func WrapClient(client *http.Client, cfg Config) (*http.Client, error) {
	if client == nil {
		client = http.DefaultClient
	}
	t, err := Wrap(client.Transport, cfg)
	if err != nil {
		return nil, err
	}
	wrapped := *client
	wrapped.Transport = t
	return &wrapped, nil
}

// underlying follows rt down to an *http.Transport.
func underlying(rt http.RoundTripper) (*http.Transport, error) {
	outer := rt
	for range maxLayers {
		if rt == nil || isNilPointer(rt) {
			return nil, fmt.Errorf("%s is nil; give a usable *http.Transport, or nil itself for http.DefaultTransport", layerName(outer, rt))
		}
		switch layer := rt.(type) {
		case *http.Transport:
			return layer, nil
		case *Transport:
			return nil, errors.New("it is an idlewise.Transport already; use it as it is, or wrap the transport it was made from")
		case interface{ Unwrap() http.RoundTripper }:
			rt = layer.Unwrap()
		case interface{ WrappedRoundTripper() http.RoundTripper }:
			rt = layer.WrappedRoundTripper()
		default:
			return nil, fmt.Errorf("%s has no *http.Transport to take over (no Unwrap or WrappedRoundTripper method); put idlewise under it: build it around idlewise.New's Transport, as in otelhttp.NewTransport(t)", layerName(outer, rt))
		}
	}
	return nil, fmt.Errorf("%T was unwrapped %d times without an end; its Unwrap must lead to an *http.Transport", outer, maxLayers)
}

func layerName(outer, layer http.RoundTripper) string {
	switch {
	case layer == nil && outer == nil:
		return "the RoundTripper"
	case layer == nil:
		return fmt.Sprintf("what %T wraps", outer)
	case reflect.TypeOf(outer) == reflect.TypeOf(layer): // not ==, which panics on some types
		return fmt.Sprintf("the %T", layer)
	}
	return fmt.Sprintf("the %T inside %T", layer, outer)
}

// isNilPointer reports whether rt is a typed nil.
func isNilPointer(rt http.RoundTripper) bool {
	v := reflect.ValueOf(rt)
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice, reflect.Interface:
		return v.IsNil()
	}
	return false
}
