package daemon

import (
	"fmt"
	"os"

	"tvsctl/policy"
)

// policy is the one in force.
func (d *Daemon) policy() *policy.Policy { return d.rules.Load() }

func (d *Daemon) readPolicy() (*policy.Policy, error) {
	if d.config.PolicyFile == "" {
		return policy.Default(), nil
	}
	return policy.Load(d.config.PolicyFile, d.config.PolicyDir, uint32(os.Geteuid()))
}

// loadPolicy puts the policy's files in force. Broken ones change nothing: at a start
// only root may do anything then, later what was in force stays.
func (d *Daemon) loadPolicy() error {
	p, err := d.readPolicy()
	switch {
	case err == nil:
		d.rules.Store(p)
	case d.rules.Load() == nil:
		d.rules.Store(&policy.Policy{})
		err = fmt.Errorf("the policy is broken, so only root may do anything: %v", err)
	default:
		err = fmt.Errorf("the policy is broken; what was in force before stays: %v", err)
	}
	if err != nil {
		d.log.error(eventPolicy, err.Error()+".", nil)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lawless = err
	return err
}

// isLawless reports whether the policy was found broken when it was last to be put in force.
func (d *Daemon) isLawless() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lawless != nil
}
