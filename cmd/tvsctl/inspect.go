package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) inspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect SERVICE[.N]",
		Short: "Look inside replicas: namespaces, cgroup, files, networks, health (for admins)",
		Long: `Look inside the replicas of a service, or the one with number N: its process and
namespaces, what the kernel allows it and what it uses, where its files are, its
networks and mounts, its restarts and its health checks.`,
		Example: `  tvsctl inspect webapp
  tvsctl inspect webapp.2
  tvsctl inspect webapp.2 --json`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeServices(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			service, number, err := replicaArgument(cmd, args[0])
			if err != nil {
				return err
			}
			path := ipc.ProjectPath(a.project, "services/"+url.PathEscape(service)+"/inspect")
			if number > 0 {
				path += "?number=" + strconv.Itoa(number)
			}
			list := []ipc.Inspection{}
			if err := a.client().Get(cmd.Context(), path, &list); err != nil {
				return err
			}
			a.show(list, func(w io.Writer) {
				for i := range list {
					if i > 0 {
						fmt.Fprintln(w)
					}
					a.writeInspection(w, &list[i])
				}
			})
			return nil
		},
	}
}

// writeInspection prints one replica: a line for each of its parts, and what there are
// several of indented below it.
func (a *app) writeInspection(w io.Writer, view *ipc.Inspection) {
	fmt.Fprintf(w, "%s: %s\n", clean(view.Name), clean(a.condition(view)))
	for _, text := range view.Missing {
		fmt.Fprintf(w, "! %s\n", oneLine(text))
	}
	var t table
	t.add("  id", view.ID)
	t.add("  image", view.Image+" ("+view.ImageID+")")
	if view.Pid != 0 {
		t.add("  pid", strconv.Itoa(view.Pid))
	}
	t.add("  restarts", restarts(view))
	t.add("  limits", limits(view.Limits))
	t.write(w)
	writeNamespaces(w, view.Namespaces)
	writeCgroup(w, view.Cgroup)
	writeStorage(w, &view.Storage)
	section(w, "networks", len(view.Networks), func(t *table) {
		for _, n := range view.Networks {
			t.add("    "+n.Network, strings.TrimSpace(n.Address+" "+n.Address6), labelled("gateway ", n.Gateway), n.MAC, strings.Join(n.Aliases, ", "))
		}
	})
	section(w, "ports", len(view.Ports), func(t *table) {
		for _, p := range view.Ports {
			t.add(fmt.Sprintf("    %s:%d", p.IP, p.Port), fmt.Sprintf("to %d", p.Container))
		}
	})
	section(w, "mounts", len(view.Mounts), func(t *table) {
		for _, m := range view.Mounts {
			mode := "read only"
			if m.Write {
				mode = "read and write"
			}
			t.add("    "+m.Target, m.Type, m.Source, mode)
		}
	})
	section(w, "health checks", len(view.HealthLog), func(t *table) {
		for _, c := range view.HealthLog {
			t.add("    "+c.Start.UTC().Format("2006-01-02 15:04:05"), "exit status "+strconv.Itoa(c.ExitCode), span(a.now(), c.Start, c.End), oneLine(c.Output))
		}
	})
}

// condition says how a replica is, and for how long.
func (a *app) condition(view *ipc.Inspection) string {
	text, since := view.State, view.Started
	if view.ExitCode != nil {
		text, since = fmt.Sprintf("%s (%d)", view.State, *view.ExitCode), view.Finished
	}
	if view.Health != "" {
		text += ", " + view.Health
	}
	if since := age(a.now(), since); since != "" {
		text += " for " + since
	}
	if view.OOMKilled {
		text += ", was killed for want of memory"
	}
	return text
}

func restarts(view *ipc.Inspection) string {
	return fmt.Sprintf("%d (policy %s)", view.Restarts, view.RestartPolicy)
}

// limits says what was asked for, in the words of the command that asks for it.
func limits(l ipc.Limits) string {
	var parts []string
	if l.CPUs > 0 {
		parts = append(parts, "cpus "+strconv.FormatFloat(l.CPUs, 'f', -1, 64))
	}
	if l.Memory > 0 {
		parts = append(parts, "memory "+bytesText(l.Memory))
	}
	switch {
	case l.Swap < 0:
		parts = append(parts, "any swap")
	case l.Swap > l.Memory:
		parts = append(parts, "swap "+bytesText(l.Swap-l.Memory))
	}
	if l.Pids > 0 {
		parts = append(parts, fmt.Sprintf("pids %d", l.Pids))
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func writeNamespaces(w io.Writer, list []ipc.Namespace) {
	section(w, "namespaces", len(list), func(t *table) {
		for _, n := range list {
			owner := "its own"
			if n.Host {
				owner = "the host's"
			}
			t.add("    "+n.Kind, strconv.FormatUint(n.Inode, 10), owner)
		}
	})
}

func writeCgroup(w io.Writer, c *ipc.Cgroup) {
	if c == nil {
		return
	}
	fmt.Fprintf(w, "  cgroup v%d  %s\n", c.Version, clean(c.Path))
	var t table
	if m := c.Memory; m != nil {
		peak := ""
		if m.Peak != nil {
			peak = "at most " + bytesText(*m.Peak)
		}
		t.add("    memory", bytesText(m.Used), limitOf(m.Limit, bytesText), peak)
	}
	if u := c.CPU; u != nil {
		limit := "no limit"
		if u.Quota != nil && u.Period > 0 {
			limit = fmt.Sprintf("of %g processors", float64(*u.Quota)/float64(u.Period))
		}
		t.add("    cpu", fmt.Sprintf("%.2f s", float64(u.Used)/1e6), limit, fmt.Sprintf("held up %d times", u.Throttled))
	}
	if p := c.Pids; p != nil {
		t.add("    pids", strconv.FormatInt(p.Used, 10), limitOf(p.Limit, func(n int64) string { return strconv.FormatInt(n, 10) }))
	}
	t.write(w)
}

func limitOf(limit *int64, text func(int64) string) string {
	if limit == nil {
		return "no limit"
	}
	return "of " + text(*limit)
}

func writeStorage(w io.Writer, s *ipc.Storage) {
	fmt.Fprintf(w, "  files  %s written, %s with the image, driver %s\n", bytesText(s.Written), bytesText(s.Size), clean(s.Driver))
	var t table
	for _, lower := range s.Lower {
		t.add("    lower", lower)
	}
	for _, dir := range []struct{ name, path string }{{"upper", s.Upper}, {"merged", s.Merged}} {
		if dir.path != "" {
			t.add("    "+dir.name, dir.path)
		}
	}
	t.write(w)
}

func section(w io.Writer, title string, rows int, fill func(*table)) {
	if rows == 0 {
		return
	}
	fmt.Fprintf(w, "  %s\n", title)
	var t table
	fill(&t)
	t.write(w)
}

func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + value
}

// bytesText writes a size as docker stats does.
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%dB", n)
	}
	value, prefix := float64(n), ""
	for _, prefix = range []string{"Ki", "Mi", "Gi", "Ti", "Pi"} {
		if value /= unit; value < unit {
			break
		}
	}
	return fmt.Sprintf("%.4g%sB", value, prefix)
}
