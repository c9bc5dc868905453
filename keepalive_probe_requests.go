package idlewise

import (
	"context"
	"errors"
	"time"
)

// countRequests sends requests on one connection, one after the other, until
// the server ends it. It returns nil where not even the first was answered:
// the watched connections tell why.
func (p *prober) countRequests(ctx context.Context) *ProbeRequests {
	began := time.Now()
	q := &ProbeRequests{}
	defer func() { q.Took = time.Since(began) }()
	var row ProbeConn
	c := p.open(ctx, &row)
	if c == nil {
		if row.End != ProbeEndAnnounced {
			return nil
		}
		q.Limit, q.Answered, q.Announced, q.End = 1, 1, true, ProbeEndAnnounced
		return q
	}
	defer c.close()
	for q.Answered = 1; q.Answered < p.opt.MaxRequests; q.Answered++ {
		if how, _ := c.state().ended(); how != ProbeEndOpen {
			q.Limit, q.End, q.Announced = q.Answered, how, how == ProbeEndGoAway
			return q
		}
		a, err := c.ask(ctx, p.method(), p.opt.AnswerTimeout)
		switch {
		case errors.Is(err, errProbeSlow), err != nil && ctx.Err() != nil:
			q.Detail = err.Error()
			return q
		case err != nil:
			// The server closed it behind its last response, or while this
			// request was on its way. That it was not announced is the point.
			q.Limit, q.Detail = q.Answered, err.Error()
			if q.End, _ = c.state().ended(); q.End == ProbeEndOpen {
				q.End = ProbeEndClosed
			}
			q.Announced = q.End == ProbeEndGoAway
			return q
		case a.last:
			q.Answered++
			q.Limit, q.End, q.Announced = q.Answered, ProbeEndAnnounced, true
			return q
		}
	}
	return q
}
