//go:build e2e

package tests

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// fault is something that is wrong with a host, and the line by which doctor finds it.
type fault struct {
	name   string
	plant  string // a script
	want   string // a pattern of the line
	mend   string // a script
	doctor string // how it is asked; "" means as root
	also   string // a pattern of further lines that come of it
}

const (
	unitFile  = "/etc/systemd/system/tvsctld.service"
	settings  = "/etc/tvsctld/tvsctld.toml"
	nginxConf = `docker cp -q tvs-entry-1:/etc/nginx/nginx.conf /tmp/nginx.conf; cp /tmp/nginx.conf /tmp/nginx.conf.before; sed -i '%' /tmp/nginx.conf; docker cp -q /tmp/nginx.conf tvs-entry-1:/etc/nginx/nginx.conf`
	mendConf  = `docker cp -q /tmp/nginx.conf.before tvs-entry-1:/etc/nginx/nginx.conf`
	asAna     = "setpriv --reuid=ana --regid=ana --clear-groups tvsctl doctor"
)

func edit(sed string) string { return strings.Replace(nginxConf, "%", sed, 1) }

var faults = []fault{
	{name: "a unit file that systemd has not read", plant: "cp " + unitFile + " /tmp/unit; echo '# later' >>" + unitFile,
		want: `problem +units .*tvsctld.service have changed since systemd read them → .*daemon-reload`, mend: "cp /tmp/unit " + unitFile + "; systemctl daemon-reload"},
	{name: "a unit file that was edited", plant: "sed -i s/^KillMode=.*/KillMode=process/ " + unitFile + "; systemctl daemon-reload",
		want: `warning +units .*tvsctld.service is not as it was shipped → install again`, mend: "cp /tmp/unit " + unitFile + "; systemctl daemon-reload"},
	{name: "a drop-in", plant: "mkdir -p /etc/systemd/system/tvsctld.socket.d; printf '[Socket]\\nBacklog=9\\n' >/etc/systemd/system/tvsctld.socket.d/x.conf; systemctl daemon-reload",
		want: `warning +units .*tvsctld.socket.d/x.conf changes tvsctld.socket → see systemctl cat`, mend: "rm -r /etc/systemd/system/tvsctld.socket.d; systemctl daemon-reload"},
	{name: "a socket that does not come up at boot", plant: "systemctl -q disable tvsctld.socket",
		want: `problem +units .*tvsctld.socket is disabled.* → .*systemctl enable --now`, mend: "systemctl -q enable tvsctld.socket"},
	{name: "a socket for everybody", plant: "chmod 666 /run/tvsctld.sock",
		want: `problem +socket .*mode 0666, not root:tvs with 0660 → .*restart tvsctld.socket`, mend: "chmod 660 /run/tvsctld.sock"},
	{name: "no socket", plant: "systemctl stop tvsctld.socket", want: `problem +socket .*there is no socket /run/tvsctld.sock → .*systemctl enable --now`,
		also: `problem +tvsctld .*nothing listens`, mend: "systemctl start tvsctld.socket tvsctld.service"},
	{name: "a user who is not in the group", plant: "useradd ana", doctor: asAna,
		want: `problem +group .*ana is not in group tvs → .*usermod -aG tvs ana`, also: `problem +tvsctld .*permission denied`, mend: "true"},
	{name: "a user who has not logged in again", plant: "usermod -aG tvs ana", doctor: asAna,
		want: `problem +group .*but was not when you logged in → log in again`, also: `problem +tvsctld .*permission denied`, mend: "userdel ana"},
	{name: "no compose plugin", plant: "mv /usr/libexec/docker/cli-plugins/docker-compose /tmp/", want: `problem +compose .*not installed.* → apt install`,
		mend: "mv /tmp/docker-compose /usr/libexec/docker/cli-plugins/"},
	{name: "settings with a mistake", plant: "echo 'idle = \"never\"' >" + settings, want: `problem +settings .*tvsctld.toml.*never.* → mend it, then .*reload`, mend: "rm " + settings},
	{name: "settings that anybody can write", plant: "touch " + settings + "; chmod 666 " + settings, want: `problem +settings .*others than its owner can write it`, mend: "rm " + settings},
	{name: "settings that were not read", plant: "echo 'max_operations = 9' >" + settings, want: `warning +settings .*was not read again → .*reload tvsctld`, mend: "rm " + settings},
	{name: "a listed unit that is not there", plant: `printf '[units]\n"nothing.service" = ["start"]\n' >` + settings, want: `problem +polkit .*cannot let tvsctld manage nothing.service: there is no such unit file → mend`,
		also: `settings`, mend: "rm " + settings},
	{name: "a unit without its polkit rule", plant: `printf '[units]\n"nginx.service" = ["start"]\n' >` + settings, want: `problem +polkit .*rule for tvsctld is not what the configuration says → .*restart tvsctld-polkit`,
		also: `settings`, mend: "rm " + settings},
	{name: "a policy with a mistake", plant: "cp /etc/tvsctld/policy.toml /tmp/; echo 'rolle = 1' >>/etc/tvsctld/policy.toml; systemctl reload tvsctld", want: `problem +policy .*policy.toml:[0-9]+.*rolle`,
		mend: "cp /tmp/policy.toml /etc/tvsctld/; systemctl reload tvsctld"},
	{name: "a policy that was not read again", plant: "printf '[[rule]]\nusers = [\"zoe\"]\nrole = \"viewer\"\n' >/etc/tvsctld/policy.d/zoe.toml", want: `warning +policy .*has changed and was not read again → .*systemctl reload`,
		mend: "rm /etc/tvsctld/policy.d/zoe.toml"},
	{name: "a policy with a mistake that was not read yet", plant: "echo 'x = 1' >/etc/tvsctld/policy.d/zoe.toml", want: `problem +policy .*zoe.toml:1:1: unknown key`,
		mend: "rm /etc/tvsctld/policy.d/zoe.toml"},
	{name: "a helper that is gone", plant: "mv /etc/systemd/system/tvsctld-inspect@.service /tmp; systemctl daemon-reload", want: `problem +units .*tvsctld-inspect@.service is not-found → install again`,
		mend: "mv /tmp/tvsctld-inspect@.service /etc/systemd/system; systemctl daemon-reload"},
	{name: "a policy that anybody can write", plant: "chmod 666 /etc/tvsctld/policy.toml; systemctl reload tvsctld", want: `problem +policy .*policy.toml.*others than its owner can write it`,
		mend: "chmod 644 /etc/tvsctld/policy.toml; systemctl reload tvsctld"},
	{name: "a project's file with a mistake", plant: "echo 'direktory = \"/srv\"' >/etc/tvsctld/projects/oops.toml", want: `problem +projects .*oops.toml.*unknown key direktory`,
		also: `project oops`, mend: "rm /etc/tvsctld/projects/oops.toml; systemctl reload tvsctld"},
	{name: "a full disk", plant: "mount -t tmpfs -o size=100m tmpfs /var/lib/tvsctld", want: `problem +disk .*/var/lib/tvsctld has (99|100) MiB left.* → make room`, mend: "umount /var/lib/tvsctld"},
	{name: "labels with mistakes", plant: `mkdir -p /root/labels; printf 'name: labels\nservices:\n  entry:\n    image: app\n    labels: {tvs.nginx: "webap:8080"}\n  webapp:\n    image: app\n    labels: {tvs.scale.max: lots, tvs.drains: 9s}\n' >/root/labels/compose.yaml; docker compose -f /root/labels/compose.yaml up -d`,
		want: `problem +labels .*project labels: service webapp: label tvs.scale.max is ignored.* → mend the label`,
		also: `names webap, which|there is no label tvs.drains|problem +nginx .*project labels`, mend: "docker compose -f /root/labels/compose.yaml down -t 0"},
	{name: "an nginx without the include", plant: edit(`s|include /etc/nginx/upstreams|#&|`), want: `problem +nginx .*tvs-entry-1: does not include /etc/nginx/upstreams.*→ .*add the include`, mend: mendConf},
	{name: "a port in proxy_pass", plant: edit(`s|http://webapp;|http://webapp:8080;|`), want: `problem +nginx .*may not have port 8080.* → .*without the port`, mend: mendConf},
	{name: "a variable with a port in proxy_pass", plant: edit(`s|http://webapp;|http://$host:8080;|`), want: `problem +nginx .*passes requests to http://\$host:8080.*→ .*without a port`, mend: mendConf},
	{name: "keep-alive that a reload cuts off", plant: "docker exec tvs-entry-1 sh -c 'echo \"keepalive_timeout 65;\" >/etc/nginx/keepalive.conf'",
		want: `warning +nginx .*a reload can cut off a request.* → set keepalive_timeout 0`, mend: "docker exec tvs-entry-1 sh -c 'echo \"keepalive_timeout 0;\" >/etc/nginx/keepalive.conf'"},
	{name: "no directory for upstreams", plant: "docker exec tvs-entry-1 mv /etc/nginx/upstreams /etc/nginx/away",
		want: `problem +nginx .*has no directory /etc/nginx/upstreams`, mend: "docker exec tvs-entry-1 mv /etc/nginx/away /etc/nginx/upstreams"},
	{name: "a stale address", plant: "docker exec tvs-entry-1 sh -c 'printf \"upstream webapp { \\n server 172.30.9.9:8080;\\n }\\n\" >/etc/nginx/upstreams/webapp.conf'",
		want: `problem +upstreams .*sends requests to 172.30.9.9:8080, where no replica of webapp runs → tvsctl nginx reload`, mend: "tvsctl nginx reload -p tvs"},
	{name: "drift", plant: "cd /srv/tvs/examples/tvs && docker compose -f compose.yaml -f compose.offline.yaml up -d --no-recreate --scale webapp=3",
		want: `problem +replicas .*drift: 3 replicas of webapp, where 2 are desired → tvsctl scale -p tvs webapp 2`, mend: "tvsctl scale -p tvs webapp 2"},
	{name: "a dead replica", plant: "docker kill tvs-webapp-2", want: `problem +replicas .*tvs-webapp-2 exited with code 137 → see tvsctl logs -p tvs webapp.2`, mend: "docker start tvs-webapp-2"},
	{name: "an nginx that does not run", plant: "docker stop -t 1 tvs-entry-1", want: `problem +nginx .*tvs-entry-1 is exited`, mend: "docker start tvs-entry-1"},
	{name: "no Docker", plant: "systemctl stop docker.socket docker.service", want: `problem +docker .*cannot be reached.* → .*systemctl start docker`, also: `disk|cgroup`,
		mend: "systemctl start docker.socket docker.service"},
}

// TestDoctor: on a healthy machine it finds nothing; of what is planted, each by its line
// and nothing else; and nothing again when that is mended.
func TestDoctor(t *testing.T) {
	m := own(t, "doctor")
	if err := m.install(); err != nil {
		t.Fatal(err)
	}
	m.sh(t, "cd /srv/tvs/examples/tvs && docker compose -f compose.yaml -f compose.offline.yaml up -d 2>&1 && tvsctl scale -p tvs webapp 2")
	healthy := func() []string { return unhealthy(m.run("tvsctl", "doctor")) }
	if lines := healthy(); len(lines) > 0 {
		t.Fatalf("on a healthy machine:\n%s", strings.Join(lines, "\n"))
	}
	if r := m.run("tvsctl", "doctor"); r.code != 0 {
		t.Errorf("on a healthy machine: %s", r)
	}
	start := time.Now()
	for _, f := range faults {
		m.sh(t, f.plant)
		command := f.doctor
		if command == "" {
			command = "tvsctl doctor"
		}
		var r result
		found := func() bool {
			r = m.run("bash", "-c", command)
			lines := unhealthy(r)
			return matches(f.want, lines) && !slices.ContainsFunc(lines, func(line string) bool {
				return !matches(f.want, []string{line}) && (f.also == "" || !matches(f.also, []string{line}))
			})
		}
		// What somebody does to a container is an event that takes a moment, and so does
		// what follows from it.
		m.eventually(t, 15*time.Second, f.name+" is found by "+f.want+" and nothing else is", func() bool {
			if found() {
				return true
			}
			t.Logf("not yet: %s", r)
			return false
		})
		if problem := strings.HasPrefix(f.want, "problem"); problem != (r.code == 1) || !problem && r.code != 0 {
			t.Errorf("%s: %s", f.name, r)
		}
		m.sh(t, f.mend)
		m.eventually(t, 15*time.Second, f.name+" is mended", func() bool { return len(healthy()) == 0 })
	}
	t.Logf("%d faults found and mended in %v", len(faults), time.Since(start).Round(time.Second))
}

// unhealthy are the lines of what is not as it should be.
func unhealthy(r result) []string {
	var lines []string
	for line := range strings.Lines(r.out) {
		if !strings.HasPrefix(line, "ok ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if len(lines) == 0 && r.out == "" {
		lines = append(lines, r.String())
	}
	return lines
}

func matches(pattern string, lines []string) bool {
	for _, line := range lines {
		if regexp.MustCompile(pattern).MatchString(line) {
			return true
		}
	}
	return false
}
