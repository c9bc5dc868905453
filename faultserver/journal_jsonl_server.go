package faultserver

import (
	"encoding/json"
	"time"
)

// What happened to the server as a whole, and what it was asked for names, as
// JSON lines; see connLine.
type (
	eventLine struct {
		Type    string    `json:"type"` // "server"
		Time    time.Time `json:"time"`
		What    string    `json:"what"`
		Fault   string    `json:"fault,omitempty"`
		Address string    `json:"address,omitempty"`
	}
	lookupLine struct {
		Type       string    `json:"type"` // "lookup"
		Time       time.Time `json:"time"`
		Name       string    `json:"name"`
		RecordType string    `json:"record_type"`
		Network    string    `json:"network"`
		Outcome    string    `json:"outcome,omitempty"`
		Addresses  []string  `json:"addresses,omitempty"`
		Faults     []Kind    `json:"faults,omitempty"`
	}
)

func lineOfEvent(e ServerEvent) eventLine {
	line := eventLine{Type: "server", Time: e.Time.UTC(), What: e.What.String(), Address: e.Address}
	if e.Fault != 0 {
		line.Fault = e.Fault.String()
	}
	return line
}

func lineOfLookup(l LookupRecord) lookupLine {
	return lookupLine{
		Type: "lookup", Time: l.Time.UTC(), Name: l.Name, RecordType: l.Type, Network: l.Network, Outcome: l.Outcome,
		Addresses: l.Addresses, Faults: l.Faults,
	}
}

func (j *Journal) readEvent(text []byte) error {
	var l eventLine
	err := json.Unmarshal(text, &l)
	if err != nil {
		return err
	}
	e := ServerEvent{Time: l.Time, Address: l.Address}
	if e.What, err = parseEnum[ServerEventKind]("what", l.What); err != nil {
		return err
	}
	if l.Fault != "" {
		if e.Fault, err = ParseKind(l.Fault); err != nil {
			return err
		}
	}
	j.events, j.lastEvent = append(j.events, e), j.lastEvent+1
	return nil
}

func (j *Journal) readLookup(text []byte) error {
	var l lookupLine
	if err := json.Unmarshal(text, &l); err != nil {
		return err
	}
	j.lookups = append(j.lookups, LookupRecord{
		Time: l.Time, Name: l.Name, Type: l.RecordType, Network: l.Network, Outcome: l.Outcome, Addresses: l.Addresses, Faults: l.Faults,
	})
	j.lastLookup++
	return nil
}
