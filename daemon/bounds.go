package daemon

import (
	"encoding/json"

	"tvsctl/policy"
)

// bounds are the most replicas that the rules allow, by service; "" is any service.
type bounds map[string]int

// add notes the bound of a rule; 0 is none.
func (b bounds) add(service string, most int) {
	if before, bounded := b[service]; most > 0 && (!bounded || most < before) {
		b[service] = most
	}
}

// of returns the most replicas of a service, and whether they are bounded.
func (b bounds) of(service string) (most int, bounded bool) {
	most, bounded = b[service]
	if all, is := b[""]; is && (!bounded || all < most) {
		return all, true
	}
	return most, bounded
}

// UnmarshalJSON reads also the number that earlier versions kept, for every service.
func (b *bounds) UnmarshalJSON(text []byte) error {
	var all int
	if json.Unmarshal(text, &all) == nil {
		*b = bounds{}
		b.add("", all)
		return nil
	}
	return json.Unmarshal(text, (*map[string]int)(b))
}

// counted reports whether a change of a verb sets how many replicas of a service are
// desired, so that a bound on their number concerns it. A start brings back what is there.
func (want intent) counted(verb policy.Verb, service string) bool {
	_, counted := want.desired[service]
	return counted && verb != policy.Start
}
