package faultserver

import (
	"slices"
	"time"
)

// ServerEvent is something that happened to the server as a whole.
type ServerEvent struct {
	Time    time.Time
	What    ServerEventKind
	Fault   Kind   // that began or ended, or that crashed the server; 0: a method did
	Address string // the one concerned; "": all
}

// String is the event without its time, such as "outage-began refuse-connections".
func (e ServerEvent) String() string {
	text := e.What.String()
	if e.Fault != 0 {
		text += " " + e.Fault.String()
	}
	if e.Address != "" {
		text += " " + e.Address
	}
	return text
}

// ServerEventKind is what a [ServerEvent] tells.
type ServerEventKind uint8

// The events. Each is in the journal before a client can notice it, except that
// an outage's end is noted when it is over.
const (
	ServerPaused   ServerEventKind = iota + 1 // Server.Pause
	ServerStopped                             // Server.Stop
	ServerCrashed                             // Server.Crash, CrashOnRequest
	ServerVanished                            // Server.Vanish
	ServerResumed                             // Server.Resume
	OutageBegan                               // of a fault that is in force at once
	OutageEnded
)

func (k ServerEventKind) String() string {
	return enumName("ServerEventKind", int(k), "none", "paused", "stopped", "crashed", "vanished", "resumed",
		"outage-began", "outage-ended")
}

// event enters it with the time of the call.
func (j *Journal) event(e ServerEvent) {
	e.Time = time.Now()
	j.change(func() { j.events, j.lastEvent = append(j.events, e), j.lastEvent+1 })
}

// ServerEvents returns a copy of what happened to the server as a whole, in
// order. Reset forgets it.
func (j *Journal) ServerEvents() []ServerEvent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.events)
}
