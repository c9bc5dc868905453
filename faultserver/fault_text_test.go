package faultserver_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestAFaultThatNoTextCanCarryIsNotWrittenAsAnother(t *testing.T) {
	const why = "fault raw-answer: Value: is not UTF-8, which no text can carry: inject the fault from Go"
	f := faultserver.Fault{Kind: faultserver.RawAnswer, Value: "\xff\xfe\x00"}
	require.NoError(t, f.Validate())
	_, err := json.Marshal(f)
	require.ErrorContains(t, err, why)
	_, err = (&faultserver.Scenario{Name: "n", Phases: []faultserver.ScenarioPhase{{Name: "p", Faults: []faultserver.Fault{f}}}}).Text()
	require.ErrorContains(t, err, why)

	require.Equal(t, `raw-answer value="\xff\xfe\x00"`, f.String())
	_, err = faultserver.ParseFault(f.String())
	require.ErrorContains(t, err, "value: is not UTF-8, which no text can carry: inject the fault from Go")

	s := controlled(t, faultserver.Config{Faults: []faultserver.Fault{f}})
	status, text := control(t, s, "GET /faults", "")
	require.Equal(t, 500, status)
	require.Contains(t, text, why)
}

func TestAProbabilityOfZeroIsRefusedInEveryText(t *testing.T) {
	const why = "is not in (0, 1]: leave the whole fault out, or, if it is always to strike, probability"
	for _, zero := range []string{"0", "0.0", "-0", "1e-999"} {
		_, err := faultserver.ParseFault("silent-close probability=" + zero)
		require.ErrorContains(t, err, "probability: "+zero+" "+why)
		err = json.Unmarshal([]byte(`{"kind":"silent-close","probability":`+zero+`}`), new(faultserver.Fault))
		require.ErrorContains(t, err, why)
		_, err = faultserver.ParseScenario([]byte("name: n\nphases:\n- {name: p, faults: [{kind: silent-close, probability: "+zero+"}]}\n"), "s.yaml")
		require.ErrorContains(t, err, "phases[0].faults[0].probability: "+zero+" "+why)
	}
	f, err := faultserver.ParseFault("silent-close probability=1")
	require.NoError(t, err)
	require.Equal(t, 1.0, f.Probability)
}
