package dockerops

import (
	"fmt"
	"time"
)

// StepKind says what a step does.
type StepKind string

const (
	StepCompose StepKind = "compose" // let compose create and start the replicas of a service
	// StepComposeCreate lets compose create one replica from its files.
	StepComposeCreate StepKind = "compose-create"
	StepCreate        StepKind = "create" // clone a replica
	StepStart         StepKind = "start"
	StepReady         StepKind = "ready"   // wait until the replica is ready
	StepPublish       StepKind = "publish" // make nginx serve exactly the ready replicas that stay
	StepSettle        StepKind = "settle"  // see that a replica goes on running
	StepDrain         StepKind = "drain"   // wait until no request is on its way to one that leaves
	StepStop          StepKind = "stop"
	StepRemove        StepKind = "remove"
	StepLimit         StepKind = "limit" // change what a replica may use
)

// Step is one step of a plan. It may begin when the steps in Needs are done.
type Step struct {
	ID      int
	Kind    StepKind
	Service string
	Number  int    // of the replica
	Replica string // its name
	// Container is its id; empty when an earlier step makes it.
	Container string
	Count     int           // of StepCompose and StepComposeCreate: the containers wanted in all
	For       time.Duration // of StepSettle
	// Retires are the containers that StepPublish takes out, Joins those that it lets
	// in beside the ones that the plan starts.
	Retires, Joins []string
	Without        string // of StepPublish: the names of those that leave, where that is all it does
	Volumes        bool   // StepRemove removes anonymous volumes too
	// Of StepLimit: what was asked for, the update that does it, and the one that undoes it.
	Set            LimitSet
	Limits, Before Limits
	Needs          []int
}

// Text says what the step does, in the words of the command line.
func (s Step) Text() string {
	switch s.Kind {
	case StepCompose:
		return fmt.Sprintf("let docker compose scale %s to %d", s.Service, s.Count)
	case StepComposeCreate:
		return "let docker compose create " + s.Replica
	case StepSettle:
		return fmt.Sprintf("see that %s goes on running for %v", s.Replica, s.For)
	case StepReady:
		return fmt.Sprintf("wait until %s is ready", s.Replica)
	case StepPublish:
		if s.Without != "" {
			return fmt.Sprintf("take %s out of nginx", s.Without)
		}
		return "publish to nginx"
	case StepDrain:
		return "drain requests in flight"
	case StepLimit:
		if s.Set == (LimitSet{}) {
			return "give back the limits of " + s.Replica
		}
		return fmt.Sprintf("limit %s to %s", s.Replica, s.Set)
	}
	return fmt.Sprintf("%s %s", s.Kind, s.Replica)
}
