package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

const podsPath = "/api/v1/namespaces/default/pods"

// An api is as much of the Kubernetes API as the example needs: the pods of a
// namespace.
type api struct {
	mu   sync.Mutex
	pods map[string]map[string]any
}

func newAPI() *api { return &api{pods: make(map[string]map[string]any)} }

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, podsPath)
	if !ok {
		status(w, http.StatusNotFound, "NotFound")
		return
	}
	name = strings.TrimPrefix(name, "/")
	var pod map[string]any
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&pod); err != nil {
			status(w, http.StatusBadRequest, "BadRequest")
			return
		}
		meta, _ := pod["metadata"].(map[string]any)
		name, _ = meta["name"].(string)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	_, exists := a.pods[name]
	switch {
	case r.Method == http.MethodGet && name == "":
		items := make([]any, 0, len(a.pods))
		for _, pod := range a.pods {
			items = append(items, pod)
		}
		answer(w, http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "PodList", "metadata": map[string]any{}, "items": items})
	case r.Method == http.MethodPost && exists:
		status(w, http.StatusConflict, "AlreadyExists")
	case r.Method == http.MethodPost:
		a.pods[name] = pod
		answer(w, http.StatusCreated, pod)
	case !exists:
		status(w, http.StatusNotFound, "NotFound")
	case r.Method == http.MethodGet:
		answer(w, http.StatusOK, a.pods[name])
	case r.Method == http.MethodPut:
		a.pods[name] = pod
		answer(w, http.StatusOK, pod)
	default:
		status(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func answer(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(object)
}

func status(w http.ResponseWriter, code int, reason string) {
	answer(w, code, map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": reason, "code": code})
}
