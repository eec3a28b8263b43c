package policy

import (
	"strings"
	"testing"
)

func TestParseSaysWhere(t *testing.T) {
	const who = "[[rule]]\nusers = ['ann']\nrole = 'deployer'\n"
	for _, c := range []struct {
		text string
		want string // each problem, in order, up to where it says no more of interest
	}{
		{"[[rule]]\nusers = ['ann'", `f:2:14: array is incomplete`},
		{"[[rule]]\nusers = ['a']\nrole = 'admin'\nusers = ['b']", `f:4:1: key users is already defined`},
		{"users = ['ann']\n", `f:1:1: unknown key "users": keys belong under a line [[rule]]`},
		{"rule = [{users = ['a']}]", `f:1:1: rule is not a key: write each rule under a line [[rule]]`},
		{"[rule]\nusers = ['a']\nx = 1\n", `f:1:2: [rule] is one table: write [[rule]]`},
		{"[[rules]]\nusers = ['a']\n", `f:1:3: unknown table "rules": a policy has only [[rule]]`},
		{who + "[rule.more]\nx = 1\n", `f:4:2: unknown table "rule.more"`},
		{who + "  project = ['shop']\n", `f:4:3: unknown key "project": the keys of a rule are name, users,`},
		{who + "projects.shop = true\n", `f:4:1: unknown key "projects.shop"`},
		{"\n\n[[rule]]\nrole = 'viewer'\n", `f:3:1: the rule is about nobody: give users or groups`},
		{"[[rule]]\nusers = []\nrole = 'viewer'\n", `f:2:1: users is empty: leave the key out`},
		{"[[rule]]\nusers = ['ann']\n", `f:1:1: the rule allows nothing: give a role`},
		{"[[rule]]\nusers = 'ann'\nrole = 'viewer'", `f:2:9: users is not a list: write ["…"]`},
		{"[[rule]]\nusers = ['ann', 4294967295, '99999999999', 'a b', true, '', '*', -1, '%tvs']\nrole = 'viewer'",
			"f:2:17: users is not a number from 0 to 4294967294\nf:2:29: 99999999999 is no id\nf:2:44: \"a b\" cannot be the name\nf:2:51: users is not text\n" +
				"f:2:57: \"\" cannot be\nf:2:66: users is not a number\nf:2:70: \"%tvs\" cannot be"},
		{"[[rule]]\nusers = ['4294967295']\nrole = 'viewer'", `f:2:10: 4294967295 is no id: it is from 0 to 4294967294`},
		{"[[rule]]\ngroups = ['*']\nrole = 'viewer'", `f:2:11: "*" cannot be the name of a user or a group: those are no patterns`},
		{"[[rule]]\nusers = ['ann']\nrole = 'Operator'\n", `f:3:8: there is no role "Operator": the roles are viewer, operator, deployer and admin`},
		{"[[rule]]\nusers = ['ann']\nrole = 3\n", `f:3:8: role is not text: write "…"`},
		{who + "effect = 'denied'", `f:4:10: effect "denied" is neither "allow" nor "deny"`},
		{who + "verbs = ['scale', 'scael']", `f:4:19: "scael" is no verb: the verbs are status, logs`},
		{who + "verbs = ['mask', 'un*']", `f:1:1: role deployer holds none of the verbs mask and un*`},
		{who + "projects = ['shop/web', 'a[', '', 'a b']", "f:4:13: \"shop/web\" would match nothing: names have no slash\nf:4:25: \"a[\" is not a pattern: a [ has no ]\n" +
			"f:4:31: \"\" in projects would match nothing\nf:4:35: \"a b\" in projects would match nothing"},
		{who + "units = [\n  'ssh',\n]", `f:5:3: "ssh" has no type: write "ssh.service"`},
		{who + "max_replicas = 0", `f:4:16: max_replicas is not a number from 1 to 1000`},
		{who + "max_replicas = 1001", `f:4:16: max_replicas is not`},
		{who + "max_replicas = 3.5", `f:4:16: max_replicas is not`},
		{who + "rate = '10/m'", `f:4:8: rate "10/m" is not one such as "10/1m"`},
		{who + "rate = '0/1m'", `f:4:8: rate`},
		{who + "rate = '10/25h'", `f:4:8: rate`},
		{who + "rate = '10/1500ms'", `f:4:8: rate`},
		{who + "name = 'root'", `f:4:8: a rule cannot be called "root"`},
		{who + "name = '#2'", `f:4:8: a rule cannot be called "#2"`},
		{who + `name = "a\nb"`, `f:4:8: a name has 1 to 64 characters, all of them printable`},
		{who + "name = 'x'\n\n" + who + "name = 'x'", `f:6:1: there is another rule "x": f:1`},
		{"[[rule]]\nusers = ['a']\nrole = 'operator'\nimages = ['x']", `f:1:1: images are for who may roll out: role deployer or admin`},
		{"[[rule]]\nusers = ['a']\neffect = 'deny'\nrate = '1/1m'", `f:1:1: images, sockets, max_replicas and rate say what is allowed: a rule that denies has none`},
		{"[[rule]]\nusers = ['a']\nrole = 'operator'\nsockets = true", `f:1:1: sockets is for who may bring up: role deployer or admin`},
		{who + "sockets = 'yes'", `f:4:11: sockets is not a truth value: write true or false`},
		// All at once, from the first line on.
		{"[[rule]]\nfoo = 1\nrole = 'x'\nbar = 2\n", "f:1:1: the rule is about nobody\nf:2:1: unknown key \"foo\"\nf:3:8: there is no role\nf:4:1: unknown key \"bar\""},
	} {
		p, err := Parse("f", []byte(c.text))
		if err == nil {
			t.Errorf("%q was read as %s", c.text, p.rewritten())
			continue
		}
		got, want := strings.Split(err.Error(), "\n"), strings.Split(c.want, "\n")
		if len(got) != len(want) {
			t.Errorf("%q: %v\nwant %s", c.text, err, c.want)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%q: %s\nwant %s", c.text, got[i], want[i])
			}
		}
	}
}

func TestHash(t *testing.T) {
	p := mustParse(t, rulesText)
	if len(p.Hash()) != 12 || p.Rules() != 9 {
		t.Errorf("%q, %d rules", p.Hash(), p.Rules())
	}
	// What is only written in another way.
	same := strings.NewReplacer(`users = ["carl", 2001]`, "users = [ 'carl',\n '2001', ] # both", `"operator"`, `'operator'`, `"3/1m"`, `"3/60s"`).Replace("# more\n\n" + rulesText)
	again, err := Parse("elsewhere.toml", []byte(same))
	if err != nil || same == rulesText || again.Hash() != p.Hash() {
		t.Errorf("%v: %s became %s", err, p.Hash(), again.Hash())
	}
	if q := mustParse(t, p.rewritten()); q.Hash() != p.Hash() {
		t.Errorf("%s is not\n%s", p.rewritten(), rulesText)
	}
	// Each of these makes it another policy.
	seen := map[string]string{p.Hash(): rulesText}
	for _, change := range [][2]string{{`"tvs"`, `"tvsx"`}, {"2001", "2002"}, {"max_replicas = 8", "max_replicas = 9"}, {"3/1m", "3/2m"}, {"deny", "allow\"\nrole = \"operator"},
		{`"dev-*"`, `"dev*"`}, {`'srv-`, `'srw-`}, {`"web*"`, `"web"`}, {`shop/*"`, `shop/w*"`}, {"base/nginx", "base/ngin"}, {`"many"`, `"more"`}, {`"st*"`, `"sto*"`}} {
		text := strings.Replace(rulesText, change[0], change[1], 1)
		hash := mustParse(t, text).Hash()
		if seen[hash] != "" {
			t.Errorf("%s instead of %s is the same", change[1], change[0])
		}
		seen[hash] = text
	}
	if len(seen) != 13 {
		t.Errorf("%d changes", len(seen))
	}
	if Default().Hash() == "" || (&Policy{}).Hash() != "" {
		t.Error("the default has no hash, or no policy has one")
	}
}

// TestDefaultExplainsEverything: the shipped file says all there is to know.
func TestDefaultExplainsEverything(t *testing.T) {
	for key := range keys {
		if !strings.Contains(string(defaultText), "\n#   "+key+" ") {
			t.Errorf("default.toml does not explain %s", key)
		}
		if !strings.Contains(keyNames, key) {
			t.Errorf("messages do not name %s", key)
		}
	}
	head, _, _ := strings.Cut(string(defaultText), "\n#   effect")
	for _, role := range Roles() {
		if head = head[strings.Index(head, "  "+role.String()+" "):]; head == "" {
			t.Fatalf("default.toml does not explain %s", role)
		}
		until := len(head)
		if role < Admin {
			until = strings.Index(head, "  "+(role+1).String()+" ")
		}
		for _, i := range Verbs() {
			if word := containsWord(head[:until], string(i.Verb)); word != (i.Role == role) {
				t.Errorf("%s of %s: in its place in default.toml: %t", i.Verb, i.Role, word)
			}
		}
	}
}

func containsWord(text, word string) bool {
	for _, field := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" ,;#\n", c) }) {
		if field == word {
			return true
		}
	}
	return false
}
