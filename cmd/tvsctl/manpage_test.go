package main

import (
	"cmp"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const manPage = "../../docs/man/tvsctl.1"

var update = flag.Bool("update", false, "write "+manPage+" anew")

// TestManPage: tvsctl(1) says what the commands' own help says.
func TestManPage(t *testing.T) {
	a := newApp(nil, io.Discard, io.Discard, func(string) string { return "" })
	want := manual(a.root())
	if *update {
		if err := os.WriteFile(manPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(manPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: make docs", manPage)
	}
}

// roff writes a page in the macros of man(7).
type roff struct{ strings.Builder }

// manual renders the whole tree of commands as one page.
func manual(root *cobra.Command) string {
	w := &roff{}
	w.WriteString(".\\\" Written by make docs from the help of the commands. Change that instead.\n")
	w.WriteString(".TH TVSCTL 1 \"\" tvsctl \"User Commands\"\n.SH NAME\n")
	fmt.Fprintf(w, "tvsctl \\- %s\n", escape(root.Short))
	w.WriteString(".SH SYNOPSIS\n\\fBtvsctl\\fR [\\fIOPTION\\fR...] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n.SH DESCRIPTION\n")
	description, statuses, _ := strings.Cut(root.Long, "\n\nExit statuses: ")
	w.text(description)
	w.examples(root)
	w.WriteString(".SH COMMANDS\n")
	w.commands(root)
	w.WriteString(".SH GLOBAL OPTIONS\n")
	w.flags(root.PersistentFlags())
	w.WriteString(".SH EXIT STATUS\n")
	w.text(statuses)
	w.WriteString(`.SH ENVIRONMENT
.TP
\fBTVS_PROJECT\fR
The project, where
.B \-\-project
does not name one.
.TP
\fBTVS_SOCKET\fR
The path of tvsctld's socket, where
.B \-\-socket
does not name one.
.TP
\fBNO_COLOR\fR
Anything but an empty one: no colours. There are none either where the output is no terminal, or
.B TERM
is dumb.
.SH FILES
.TP
.I /run/tvsctld.sock
The socket of tvsctld. Members of group tvs may connect to it.
.SH SEE ALSO
.BR tvsctld (8),
.BR tvsctld\-policy (5),
.BR docker\-compose (1),
.BR journalctl (1)
`)
	return w.String()
}

// commands renders each command that does something, with its own options and examples.
func (w *roff) commands(parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			continue
		}
		usage := strings.TrimPrefix(c.UseLine(), "tvsctl ")
		if c.HasAvailableSubCommands() && !strings.Contains(c.Use, " ") {
			usage = strings.TrimSuffix(usage, " [flags]") + " COMMAND"
		}
		fmt.Fprintf(w, ".SS \"%s\"\n", escape(strings.TrimSuffix(usage, " [flags]")))
		w.text(cmp.Or(c.Long, c.Short+"."))
		if len(c.Aliases) > 0 {
			fmt.Fprintf(w, ".PP\nAlso called %s.\n", escape(strings.Join(c.Aliases, ", ")))
		}
		w.flags(c.NonInheritedFlags())
		w.examples(c)
		w.commands(c)
	}
}

func (w *roff) flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "\\fB" + escape("--"+f.Name) + "\\fR"
		if f.Shorthand != "" {
			name = "\\fB" + escape("-"+f.Shorthand) + "\\fR, " + name
		}
		if value != "" {
			name += " \\fI" + escape(value) + "\\fR"
		}
		fmt.Fprintf(w, ".TP\n%s\n%s\n", name, escape(usage+shownDefault(f)))
	})
}

// shownDefault is what --help adds of a default that says something; those of --project and
// --socket come from the environment.
func shownDefault(f *pflag.Flag) string {
	if slices.Contains([]string{"", "0", "false", "[]", "0s"}, f.DefValue) || f.Name == "socket" || f.Name == "project" {
		return ""
	}
	return " (default " + f.DefValue + ")"
}

// text renders paragraphs; indented ones stay as they are.
func (w *roff) text(text string) {
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if strings.HasPrefix(paragraph, " ") {
			w.verbatim(paragraph)
			continue
		}
		fmt.Fprintf(w, ".PP\n%s\n", escape(paragraph))
	}
}

func (w *roff) examples(c *cobra.Command) {
	if c.Example != "" {
		w.verbatim(c.Example)
	}
}

func (w *roff) verbatim(text string) {
	fmt.Fprintf(w, ".PP\n.EX\n%s\n.EE\n", escape(strings.TrimRight(text, "\n")))
}

// escape keeps roff from reading text as requests, and dashes as hyphens.
func escape(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n.", "\n\\&.", "\n'", "\n\\&'").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
