package main

import (
	"fmt"
	"io"
	"strings"

	"tvsctl/ipc"
)

// writeStatus prints one line per element: nginx first, then each service with
// its replicas, then what runs now.
func (a *app) writeStatus(w io.Writer, status *ipc.Status) {
	title := string(status.State)
	if a.colour() {
		title = paint(title)
	}
	title = clean(status.Project) + ": " + title
	if status.Entry != "" {
		title += ", " + clean(status.Entry)
	}
	fmt.Fprintln(w, title)
	for _, problem := range status.Problems {
		fmt.Fprintf(w, "! %s\n", oneLine(problem))
	}

	t := table{states: []int{2, 3}, colour: a.colour()}
	t.add("NAME", "READY", "STATE", "HEALTH", "ADDRESS", "AGE", "PROBLEM")
	proxied := false
	for _, nginx := range status.Nginx {
		proxied = proxied || nginx.State == "running" || nginx.State == "active"
		t.add(nginx.Name, "", nginx.State, "", "", age(a.now(), nginx.Since), problems(nginx.Problems))
	}
	for _, service := range status.Services {
		address := ""
		if service.Port != 0 {
			address = fmt.Sprintf(":%d", service.Port)
		}
		t.add(service.Name, fmt.Sprintf("%d/%d", service.Ready, service.Desired),
			string(serviceState(&service)), "", address, "", problems(service.Problems))
		for _, replica := range service.Replicas {
			if service.Rollout != nil && replica.Problem == "" {
				replica.Problem = "image " + replica.Image // of which there are two
			}
			a.addReplica(&t, &replica, service.Balanced && proxied)
		}
	}
	t.write(w)

	for _, service := range status.Services {
		if r := service.Rollout; r != nil && r.Paused {
			line := fmt.Sprintf("holds: %s, %d of %d replicas of %s are new: tvsctl rollout continue %s, or tvsctl rollback %s",
				r.Summary, r.New, r.Count, service.Name, service.Name, service.Name)
			if r.Failure != "" {
				line = fmt.Sprintf("failed: %s: tvsctl rollback %s tries again to go back", r.Failure, service.Name)
			}
			fmt.Fprintln(w, oneLine(line))
		}
	}
	for _, operation := range status.Operations {
		line := fmt.Sprintf("%s: %s (operation %s of %s", operation.State, operation.Summary, operation.ID, operation.User)
		if took := span(a.now(), operation.Started, operation.Ended); took != "" {
			line += ", " + took
		}
		fmt.Fprintln(w, clean(line+")"))
	}
}

// addReplica adds a replica's line; balanced says that a running nginx should
// send it requests.
func (a *app) addReplica(t *table, replica *ipc.Replica, balanced bool) {
	state := replica.State
	if replica.ExitCode != nil && replica.State != "running" {
		state = fmt.Sprintf("%s (%d)", state, *replica.ExitCode)
	}
	since := replica.Since
	if since.IsZero() {
		since = replica.Created
	}
	problem := oneLine(replica.Problem)
	if problem == "" && balanced && replica.Ready && !replica.Serving {
		problem = "ready, but not in nginx"
	}
	t.add("  "+replica.Name, "", state, replica.Health, replica.Address, age(a.now(), since), problem)
}

func problems(list []string) string { return oneLine(strings.Join(list, "; ")) }
