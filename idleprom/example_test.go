package idleprom_test

import (
	"fmt"
	"log"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/idleprom"
)

// Two Transports of one program, told apart by a label.
func ExampleNewCollector() {
	registry := prometheus.NewRegistry()
	for _, name := range []string{"billing", "search"} {
		transport, err := idlewise.New(idlewise.Config{})
		if err != nil {
			log.Fatal(err)
		}
		defer transport.Close()
		registry.MustRegister(idleprom.NewCollector(transport, idleprom.ConstLabels(prometheus.Labels{"transport": name})))
	}
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "idlewise_upstreams" {
			for _, m := range f.Metric {
				fmt.Println(f.GetName(), m.Label[0].GetValue(), m.Gauge.GetValue())
			}
		}
	}
	// Output:
	// idlewise_upstreams billing 0
	// idlewise_upstreams search 0
}
