package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) unitDepsCommand() *cobra.Command {
	var reverse, all, plain bool
	cmd := &cobra.Command{
		Use:   "deps UNIT",
		Short: "Show what a unit depends on, as a tree",
		Long: `Show what a unit depends on, as a tree, or with --reverse what depends on it. Only targets
are followed further, as systemctl list-dependencies does; --all follows every unit. A unit
above itself is marked as a cycle, and one whose branch was shown is not shown twice.`,
		Example: `  tvsctl unit deps multi-user.target
  tvsctl unit deps nginx --reverse
  tvsctl unit deps basic.target --plain`,
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeUnits(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := unitArgument(cmd, args[0])
			if err != nil {
				return err
			}
			query := url.Values{}
			if reverse {
				query.Set("reverse", "true")
			}
			if all {
				query.Set("all", "true")
			}
			nodes := []ipc.UnitNode{}
			if err := a.client().Get(cmd.Context(), ipc.UnitPath(name, "dependencies")+"?"+query.Encode(), &nodes); err != nil {
				return err
			}
			a.show(nodes, func(w io.Writer) {
				if plain {
					for _, node := range nodes {
						fmt.Fprintln(w, clean(node.Name))
					}
					return
				}
				a.writeTree(w, nodes)
			})
			return nil
		},
	}
	cmd.Flags().BoolVar(&reverse, "reverse", false, "show what depends on the unit")
	cmd.Flags().BoolVarP(&all, "all", "a", false, "follow every unit, not only targets")
	cmd.Flags().BoolVar(&plain, "plain", false, "print a list, each unit once")
	return cmd
}

// writeTree draws the units below the first.
func (a *app) writeTree(w io.Writer, nodes []ipc.UnitNode) {
	if len(nodes) == 0 {
		return
	}
	t := tree{w: w, colour: a.colour(), nodes: map[string]*ipc.UnitNode{}, above: map[string]bool{}, drawn: map[string]bool{}}
	for i := range nodes {
		t.nodes[nodes[i].Name] = &nodes[i]
	}
	fmt.Fprintln(w, clean(nodes[0].Name))
	t.draw(&nodes[0], "")
}

type tree struct {
	w      io.Writer
	colour bool
	nodes  map[string]*ipc.UnitNode
	above  map[string]bool // on the way from the root
	drawn  map[string]bool
}

func (t *tree) draw(node *ipc.UnitNode, indent string) {
	t.above[node.Name], t.drawn[node.Name] = true, true
	defer delete(t.above, node.Name)
	for i, name := range node.Needs {
		branch, deeper := "├─", "│ "
		if i == len(node.Needs)-1 {
			branch, deeper = "└─", "  "
		}
		below := t.nodes[name]
		state, note := "", ""
		if below != nil {
			state = below.Active
		}
		again := t.drawn[name] && below != nil && len(below.Needs) > 0
		switch {
		case t.above[name]:
			note = " (cycle)"
		case again:
			note = " (as above)"
		}
		fmt.Fprintf(t.w, "%s%s%s %s%s\n", indent, branch, t.mark(state), clean(name), note)
		if below != nil && !t.above[name] && !again {
			t.draw(below, indent+deeper)
		}
	}
}

// mark is the dot of a unit, as systemctl has it.
func (t *tree) mark(state string) string {
	mark := map[string]string{"active": "●", "reloading": "↻", "refreshing": "↻", "failed": "×", "activating": "●", "deactivating": "●"}[state]
	if mark == "" {
		mark = "○"
	}
	if !t.colour {
		return mark
	}
	return strings.Replace(paint(state), state, mark, 1)
}
