package policy

import (
	"strings"
	"testing"
)

// rulesText is a policy with a rule of every kind; the tests decide by it.
const rulesText = `
[[rule]]
name = "operators"
groups = ["tvs"]
role = "operator"
projects = ["shop", "dev-*"]
max_replicas = 8

[[rule]]
name = "releases"
users = ["carl", 2001]
role = "deployer"
projects = ["shop"]
images = ["registry.example.org/shop/*", "registry.example.org/base/nginx:1.*"]

[[rule]]
users = ["dora"]
role = "deployer"
services = ["web*"]

[[rule]]
name = "instances"
groups = [991]
role = "operator"
verbs = ["st*", "restart"]
units = ["tvsapp@*.service", 'srv-a\x2db.mount']

[[rule]]
name = "many"
users = ["carl"]
role = "operator"
projects = ["shop"]
verbs = ["scale"]
max_replicas = 50
rate = "3/1m"

[[rule]]
name = "database stays"
users = ["*"]
effect = "deny"
verbs = ["stop", "down", "res*"]
services = ["storage"]

[[rule]]
name = "erik is on holiday"
users = ["erik"]
effect = "deny"

[[rule]]
name = "readers"
users = ["*"]
effect = "deny"
role = "viewer"
projects = ["secret"]

[[rule]]
name = "admins"
groups = ["wheel"]
role = "admin"
units = ["*"]
projects = ["*"]
`

var (
	ann  = User(1001, "ann", []uint32{1001, 990}, []string{"ann", "tvs"})
	bob  = User(1002, "bob", []uint32{1002}, []string{"bob"})
	carl = User(1003, "carl", []uint32{1003}, []string{"carl"})
	dora = User(1004, "dora", []uint32{1004}, nil)
	erik = User(1005, "erik", []uint32{1005, 990, 10, 991}, []string{"erik", "tvs", "wheel", "apps"})
	anon = User(2001, "", []uint32{2001, 991}, nil)
	fred = User(1006, "fred", []uint32{10}, []string{"wheel"})
	root = User(0, "root", []uint32{0}, []string{"root"})

	shop    = Target{Project: "shop"}
	web     = Target{Project: "shop", Service: "web"}
	storage = Target{Project: "shop", Service: "storage"}
	other   = Target{Project: "bank", Service: "web"}
)

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse("policy.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rewritten is the policy as its own rules write themselves.
func (p *Policy) rewritten() string {
	var text strings.Builder
	for _, r := range p.rules {
		text.WriteString(r.text)
	}
	return text.String()
}
