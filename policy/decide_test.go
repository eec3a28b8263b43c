package policy

import "testing"

var (
	ann = User(1001, "ann", []uint32{1001, 990}, []string{"ann", "tvs"})
	bob = User(1002, "bob", []uint32{1002}, []string{"bob"})
)

func TestDefault(t *testing.T) {
	web := Target{Project: "shop", Service: "web"}
	for _, c := range []struct {
		s       Subject
		q       Request
		allowed bool
		reason  string
	}{
		{ann, Request{Verb: Scale, Target: web, Replicas: 3}, true, `rule "operators" makes group tvs operator on every project`},
		{ann, Request{Verb: Rollout, Target: web, OwnRepository: true}, false, `rule "operators" makes you operator on every project, and rollout is for deployer`},
		{ann, Request{Verb: Start, Target: Target{Unit: "ssh.service"}}, false, `rule "operators" makes you operator on every project, and on no unit`},
		{ann, Request{Verb: Scale, Target: Target{Unit: "ssh.service"}}, false, "scale is not for units"},
		{bob, Request{Verb: Status, Target: web}, false, "no rule allows user bob or a group of theirs anything"},
		{User(0, "root", []uint32{0}, nil), Request{Verb: Mask, Target: Target{Unit: "ssh.service"}}, true, "root may do everything"},
		{Daemon(), Request{Verb: Scale, Target: web}, true, "tvsctld may do everything"},
		{Subject{}, Request{Verb: Status, Target: web}, false, "it is not known who asks"},
	} {
		if d := Default().Decide(c.s, c.q); d.Allowed != c.allowed || d.Reason != c.reason {
			t.Errorf("%s, %+v: %+v", c.s, c.q, d)
		}
	}
}
