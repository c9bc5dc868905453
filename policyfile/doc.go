// Package policyfile reads idlewise's policies from YAML, and watches the file
// they are in:
//
//	default:
//	  max_idle_time: 60s
//	  retry: {max: 2, check: [502, 503, 504]}
//	upstreams:
//	  api.example.com:
//	    extends: uvicorn
//	    max_conns: 100
//	  "*.svc.cluster.local":
//	    breaker: off
//
// Keys are the names of idlewise.Policy's fields in snake_case. Durations have a
// unit, "off" is off, and what is not written is inherited. A policy can extend
// others, of the file or of the presets for well-known servers. Everything that
// is wrong with a file is reported at once, with line and column.
//
// docs/policies.md describes the format in full.
package policyfile
