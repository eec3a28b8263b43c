package ipc

// FindingState says how bad a finding is.
type FindingState string

const (
	FindingOK      FindingState = "ok"
	FindingWarning FindingState = "warning" // something can go wrong
	FindingProblem FindingState = "problem" // something is wrong
)

// Finding is what one check of the host came to.
type Finding struct {
	State  FindingState `json:"state"`
	Check  string       `json:"check"`            // socket, docker, nginx, …
	Text   string       `json:"text"`             // what is so
	Remedy string       `json:"remedy,omitempty"` // what to do about it
}
