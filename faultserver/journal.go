package faultserver

import (
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// Journal is the server's record of every connection and every request, and of
// how often the handler ran for each request's key. All methods may be called
// from any goroutine at any time, also after Close.
//
// What a client has seen is in the journal already: a row is brought up to date
// before the last byte of a response, a FIN or a RST leaves the server. What
// the client did, such as closing, appears when the server notices it.
type Journal struct {
	mu       sync.Mutex // guards everything below and the rows' contents
	conns    []*connRow
	requests []*requestRow
	panics   []string
	lastID   int64 // of the requests
	events   []ServerEvent
	lookups  []LookupRecord

	lastEvent, lastLookup int // how many there ever were

	changed chan struct{} // closed at the next change; nil while nobody waits
}

// ClosedBy is who ended a connection, and how.
type ClosedBy uint8

// The ends of a connection.
const (
	StillOpen ClosedBy = iota
	ByClient           // the client closed or reset it, or could not be written to
	ServerFIN
	ServerRST
	Killed    // Server.Kill, or the end of the process by Crash or Stop: FIN or RST, see there
	BySilence // the server left without a word
)

func (b ClosedBy) String() string {
	return enumName("ClosedBy", int(b), "open", "client", "server-fin", "server-rst", "kill", "silence")
}

// CloseReason is why a connection ended.
type CloseReason uint8

// The reasons.
const (
	NoReason          CloseReason = iota // still open
	ClientClosed                         // the client sent a FIN
	ClientReset                          // the client sent a RST, or the network failed
	IdleTimeout                          // Config.IdleTimeout or the personality's
	FaultStruck                          // a fault; ConnRecord.Fault says which
	RequestLimit                         // MaxRequestsPerConn or the personality's age
	RequestAskedClose                    // the request said Connection: close, or is HTTP/1.0
	HandlerAskedClose                    // the handler said Connection: close, its body ended short, or its deadline for writing passed
	HandlerPanicked                      // or ended its goroutine, as t.FailNow does
	BodyLeftUnread                       // too much of the request's body was left to read past
	ProtocolError                        // the client broke the protocol, or the handshake failed
	Draining                             // Server.Drain or Server.Restart
	ServerKilled                         // Server.Kill
	ServerClosed                         // Server.Close
	RequestTimeout                       // the request's head took longer than the personality allows
	ProcessCrashed                       // Server.Crash
	StopTimeout                          // Server.Stop, when its context ended
	MachineVanished                      // Server.Vanish
)

func (r CloseReason) String() string {
	return enumName("CloseReason", int(r), "none", "client-closed", "client-reset", "idle-timeout", "fault",
		"request-limit", "request-asked-close", "handler-asked-close", "handler-panicked", "body-left-unread",
		"protocol-error", "draining", "server-killed", "server-closed", "request-timeout",
		"process-crashed", "stop-timeout", "machine-vanished")
}

// Phase is how far a request came.
type Phase uint8

// The phases, in order; a handler may run before the body has been read.
const (
	PhaseHeaders  Phase = iota // its head was read
	PhaseBody                  // its body was read to the end
	PhaseExecuted              // the handler was called
	PhaseAnswered              // a complete response was written
)

func (p Phase) String() string {
	return enumName("Phase", int(p), "headers", "body", "executed", "answered")
}

func enumName(kind string, n int, names ...string) string {
	if n < len(names) {
		return names[n]
	}
	return fmt.Sprintf("%s(%d)", kind, n)
}

// ConnRecord is one connection.
type ConnRecord struct {
	ID         int64 // counted from 1 in the order of acceptance
	Generation int   // counted from 1; Server.Restart begins the next
	RemoteAddr string
	LocalAddr  string // the server's, of several
	Proto      string // "HTTP/1.1", "HTTP/2.0"; "" before it is known
	Opened     time.Time
	Closed     time.Time // zero while open
	ClosedBy   ClosedBy
	Reason     CloseReason
	Fault      Kind          // that closed it
	Requests   int           // heads of requests read
	Faults     []Kind        // that struck it as a whole, such as Latency, at its beginning, or at its PINGs, each once
	IdleAge    time.Duration // how long it had been idle when it was closed; 0 if it was not
}

// RequestRecord is one request, as one connection saw it. A client's second
// attempt is a second record with the same key.
type RequestRecord struct {
	ID int64 // counted from 1 in the order in which their heads were read

	// Key identifies the request across attempts: its Idempotency-Key header,
	// else X-Fault-Key, else "METHOD target hash", with the target as sent and
	// a hash of as much of the body as was read. The first also tells clients
	// that they may repeat the request, the second tells them nothing.
	Key string
	// KeyDerived says that there was no such header. Two different requests
	// with equal contents then count as one.
	KeyDerived bool

	Method, Path string
	Conn         int64 // ConnRecord.ID
	NthOnConn    int   // counted from 1
	Proto        string
	Time         time.Time     // its head was read
	Ended        time.Time     // it was answered or lost; zero while it runs
	IdleBefore   time.Duration // of the connection
	BodyBytes    int64         // read
	BodyComplete bool          // to the end
	Phase        Phase         // the furthest
	Executed     int           // 1 if the handler was called
	Answered     bool          // a complete response was written
	Status       int           // of the response, 0 if none was begun
	Faults       []Kind        // that struck it
}

// connRow and requestRow are the live rows behind the records.
type (
	connRow    struct{ ConnRecord }
	requestRow struct {
		RequestRecord
		target string
	}
)

// change runs f with the journal locked and wakes those who wait.
func (j *Journal) change(f func()) {
	j.lock()
	f()
	if j.changed != nil {
		close(j.changed)
		j.changed = nil
	}
	j.mu.Unlock()
}

// lock yields a few times before it queues: a queue of connections that wait for
// a thread the system has taken off the processor would be served one goroutine
// switch at a time.
func (j *Journal) lock() {
	for range 20 {
		if j.mu.TryLock() {
			return
		}
		runtime.Gosched()
	}
	j.mu.Lock()
}

func (j *Journal) opened(rec ConnRecord) *connRow {
	row := &connRow{rec}
	j.change(func() { j.conns = append(j.conns, row) })
	return row
}

func (j *Journal) head(c *connRow, rec RequestRecord, r *http.Request) *requestRow {
	row := &requestRow{RequestRecord: rec, target: r.RequestURI}
	row.Key = r.Header.Get("Idempotency-Key")
	if row.Key == "" {
		row.Key = r.Header.Get("X-Fault-Key")
	}
	if row.Key == "" {
		row.KeyDerived = true
		row.Key = derivedKey(row, bodyHashSeed)
	}
	if r.Body == http.NoBody {
		row.BodyComplete, row.Phase = true, PhaseBody
	}
	j.change(func() {
		c.Requests++
		j.lastID++
		row.ID = j.lastID
		j.requests = append(j.requests, row)
	})
	return row
}

func (j *Journal) bodyRead(row *requestRow, n int64, hash uint64, complete bool) {
	j.change(func() {
		row.BodyBytes, row.BodyComplete = n, complete
		if complete {
			row.Phase = max(row.Phase, PhaseBody)
		}
		if row.KeyDerived && n > 0 {
			row.Key = derivedKey(row, hash)
		}
	})
}

func (j *Journal) executed(row *requestRow) {
	j.change(func() {
		row.Executed++
		row.Phase = max(row.Phase, PhaseExecuted)
	})
}

func (j *Journal) status(row *requestRow, code int) {
	j.change(func() { row.Status = code })
}

// answered is called before the last bytes are written, and again with false
// if they could not be.
func (j *Journal) answered(row *requestRow, ok bool) {
	j.change(func() {
		row.Answered = ok
		switch {
		case ok:
			row.Phase = PhaseAnswered
		case row.Executed > 0:
			row.Phase = PhaseExecuted
		case row.BodyComplete:
			row.Phase = PhaseBody
		default:
			row.Phase = PhaseHeaders
		}
	})
}

// ended is called when nothing more happens to the request.
func (j *Journal) ended(row *requestRow) {
	now := time.Now()
	j.change(func() { row.Ended = now })
}

func (j *Journal) panicked(row *requestRow, value any) {
	j.change(func() {
		j.panics = append(j.panics, fmt.Sprintf("the handler panicked on %s %s: %v", row.Method, row.Path, value))
	})
}

// bodyHashSeed starts an FNV-1a hash, which is the same in every process.
const bodyHashSeed uint64 = 14695981039346656037

func hashMore(h uint64, p []byte) uint64 {
	for _, b := range p {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

func derivedKey(row *requestRow, hash uint64) string {
	return fmt.Sprintf("%s %s %016x", row.Method, row.target, hash)
}
