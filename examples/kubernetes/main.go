// Kubernetes runs a controller's calls, by client-go, against an API server that
// ends connections under its clients, and whose CA is replaced in mid-run: once
// with client-go's own transport, once with idlewise beneath client-go.
//
//	go run .
//
// It exits with 1 if client-go saw a fault through idlewise, or if there was
// none to see.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/examples/internal/trial"
	"github.com/idlewise/idlewise/faultserver"
)

const (
	rounds = 12
	idle   = 300 * time.Millisecond // after which the server closes a connection
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal("kubernetes: ", err)
	}
}

func run(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "kubernetes")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	clusters := make(map[*trial.Run]*cluster)
	var runs []*trial.Run
	for _, name := range []string{"client-go's", "idlewise"} {
		c, err := newCluster(name, filepath.Join(dir, name+".pem"))
		if err != nil {
			return err
		}
		defer c.Close()
		clusters[c.Run] = c
		runs = append(runs, c.Run)
	}
	fmt.Fprintln(out, "An API server that ends connections under its clients, and gets another CA half-way:")
	return trial.Compare(out, runs[0], runs[1], func(r *trial.Run) error {
		return clusters[r].calls(ctx, r == runs[1])
	})
}

// A cluster is an API server behind faults, and the file with its CA.
type cluster struct {
	*trial.Run
	caFile      string
	certificate atomic.Pointer[tls.Certificate]
}

func newCluster(name, caFile string) (*cluster, error) {
	c := &cluster{caFile: caFile}
	if err := c.rotate(); err != nil {
		return nil, err
	}
	var err error
	c.Run, err = trial.Start(name, faultserver.Config{
		Handler: newAPI(),
		TLS:     true,
		TLSConfig: &tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate.Load(), nil },
		},
		IdleTimeout: idle,
		Faults: []faultserver.Fault{
			// The connection's end meets the request, in HTTP/2's way.
			{Kind: faultserver.CloseWithoutGoAway, Method: "PUT", IdleAtLeast: idle / 4, Probability: 0.5},
			{Kind: faultserver.CloseWithoutGoAway, Method: "GET", IdleAtLeast: idle / 4, Probability: 0.5},
		},
		Seed: 1,
	})
	return c, err
}

// rotate gives the server a certificate of another CA, and writes that to the
// file.
func (c *cluster) rotate() error {
	cert, ca, err := newCertificate()
	if err != nil {
		return err
	}
	c.certificate.Store(&cert)
	return replace(c.caFile, ca)
}

// calls makes the calls of a controller.
func (c *cluster) calls(ctx context.Context, ours bool) error {
	cfg := &rest.Config{
		Host:            c.Server.URL,
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.caFile},
		QPS:             -1, // client-go's own pace would hide the server's
	}
	if ours {
		t := useIdlewise(cfg, 10*time.Millisecond, idlewise.Config{})
		defer t.CloseIdleConnections()
	}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper { return c.Watch(rt) }) // to count what client-go sees
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	all, err := dynamic.NewForConfigAndClient(cfg, client)
	if err != nil {
		return err
	}
	pods := all.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("default")

	for round := range rounds {
		if round == rounds/2 {
			if err := c.rotate(); err != nil {
				return err
			}
			c.Server.Restart()
			time.Sleep(20 * time.Millisecond) // until the file is read again
		}
		pod := newPod(fmt.Sprintf("pod-%d", round))
		c.Do("create", func() error {
			_, err := pods.Create(ctx, pod, metav1.CreateOptions{})
			return err
		})
		time.Sleep(idle / 3)
		pod.SetLabels(map[string]string{"round": fmt.Sprint(round)})
		c.Do("update", func() error {
			_, err := pods.Update(ctx, pod, metav1.UpdateOptions{})
			return err
		})
		time.Sleep(idle / 3)
		c.Do("get", func() error {
			got, err := pods.Get(ctx, pod.GetName(), metav1.GetOptions{})
			if err == nil && got.GetLabels()["round"] != fmt.Sprint(round) {
				err = fmt.Errorf("got the labels %v", got.GetLabels())
			}
			return err
		})
		time.Sleep(idle + time.Duration(round%3-1)*time.Millisecond)
		c.Do("list", func() error {
			list, err := pods.List(ctx, metav1.ListOptions{})
			if err == nil && len(list.Items) != round+1 {
				err = fmt.Errorf("%d pods, want %d", len(list.Items), round+1)
			}
			return err
		})
	}
	return nil
}

func newPod(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": "default"},
	}}
}
