package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
)

const intentsPath = "/v1/payment_intents"

// A bank is as much of Stripe's API as the example needs: it makes payment
// intents, one for each Idempotency-Key, and shows them.
type bank struct {
	mu       sync.Mutex
	intents  map[string]intent // by id
	byKey    map[string]string // ids
	replayed int               // times that a key came again
}

type intent struct {
	ID     string `json:"id"`
	Object string `json:"object"`
	Amount string `json:"-"`
}

func newBank() *bank { return &bank{intents: make(map[string]intent), byKey: make(map[string]string)} }

func (b *bank) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	amount := r.FormValue("amount")
	b.mu.Lock()
	defer b.mu.Unlock()
	id := strings.TrimPrefix(r.URL.Path, intentsPath+"/")
	if r.Method == http.MethodPost {
		id = b.makeLocked(r.Header.Get("Idempotency-Key"), amount)
	}
	made, ok := b.intents[id]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error": {"type": "invalid_request_error", "code": "resource_missing"}}`)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(struct {
		intent
		Amount json.Number `json:"amount"`
	}{made, json.Number(made.Amount)})
}

func (b *bank) makeLocked(key, amount string) string {
	if id, ok := b.byKey[key]; ok {
		b.replayed++
		return id
	}
	id := fmt.Sprintf("pi_%d", len(b.intents)+1)
	b.byKey[key] = id
	b.intents[id] = intent{ID: id, Object: "payment_intent", Amount: amount}
	return id
}

// count returns how many intents there are, and how often a key came again.
func (b *bank) count() (intents, replayed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.intents), b.replayed
}
