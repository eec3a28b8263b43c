package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"tvsctl/ipc"
)

func (a *app) opsCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "ops [ID]",
		Short: "Show recent operations, or one with its steps",
		Example: `  tvsctl ops
  tvsctl ops 4f2a
  tvsctl ops 4f2a --follow
  tvsctl ops cancel 4f2a`,
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeOperations,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if follow {
					return usagef(cmd, "cannot follow: which operation? give its id")
				}
				return a.listOperations(cmd)
			}
			id, err := operationID(cmd, args[0])
			if err != nil {
				return err
			}
			var operation ipc.Operation
			if err := a.client().Get(cmd.Context(), operationPath(id), &operation); err != nil {
				return err
			}
			if follow {
				return a.follow(cmd.Context(), &operation)
			}
			a.show(operation, func(w io.Writer) { a.writeOperation(w, &operation) })
			return nil
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow the operation until it ends; its outcome is the exit status")
	cmd.AddCommand(a.cancelCommand())
	return cmd
}

func (a *app) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel an operation",
		Long: `Cancel an operation and wait for its end. One that waits for its turn does not begin.
One that runs is taken back, unless nginx has been given the outcome already: then it
completes. Of up, down and nginx reload nothing is taken back: they stop where they are.`,
		Example:           "  tvsctl ops cancel 4f2a",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeOperations,
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := operationID(cmd, args[0])
			if err != nil {
				return err
			}
			var operation ipc.Operation
			if err := a.client().Post(cmd.Context(), operationPath(id)+"/cancel", struct{}{}, &operation); err != nil {
				return err
			}
			err = a.follow(cmd.Context(), &operation)
			var refusal *ipc.Error
			if errors.As(err, &refusal) && refusal.Code == ipc.CodeCanceled {
				if !a.json { // which has been shown
					fmt.Fprintln(a.out(), clean(refusal.Message))
				}
				return nil // what was asked for
			}
			return err
		},
	}
}

func operationID(cmd *cobra.Command, text string) (string, error) {
	if text == "" || text == "." || text == ".." {
		return "", usagef(cmd, "cannot find operation %q: it is not an id", text)
	}
	return text, nil
}

func (a *app) operationsPath() string {
	if a.project == "" || a.project == ipc.OnlyProject {
		return "/operations"
	}
	return "/operations?project=" + url.QueryEscape(a.project)
}

func (a *app) listOperations(cmd *cobra.Command) error {
	list := []ipc.Operation{}
	if err := a.client().Get(cmd.Context(), a.operationsPath(), &list); err != nil {
		return err
	}
	a.show(list, func(w io.Writer) {
		if len(list) == 0 {
			fmt.Fprintln(w, "no operation yet")
			return
		}
		t := table{states: []int{6}, colour: a.colour()}
		t.add("ID", "PROJECT", "WHEN", "USER", "WHAT", "TOOK", "RESULT")
		for _, o := range list {
			t.add(o.ID, o.Project, age(a.now(), o.Queued)+" ago", o.User, o.Summary, operationSpan(a, &o), outcome(&o))
		}
		t.write(w)
	})
	return nil
}

// outcome says how an operation ended, or that it has not.
func outcome(o *ipc.Operation) string {
	text := string(o.State)
	switch {
	case o.State == ipc.OperationFailed && o.Error != nil:
		text += ": " + oneLine(o.Error.Message)
	case o.State == ipc.OperationSucceeded && o.Result != "":
		text += ": " + oneLine(o.Result)
	}
	return text
}

func (a *app) writeOperation(w io.Writer, o *ipc.Operation) {
	t := table{states: []int{1}, colour: a.colour()}
	t.add("operation", o.ID)
	if o.Unit != "" {
		t.add("unit", o.Unit)
	} else {
		t.add("project", o.Project)
	}
	t.add("what", o.Summary)
	t.add("user", fmt.Sprintf("%s (uid %d)", o.User, o.UID))
	t.add("when", age(a.now(), o.Queued)+" ago")
	if took := operationSpan(a, o); took != "" {
		t.add("took", took)
	}
	t.add("result", outcome(o))
	t.write(w)
	if o.Error != nil {
		writeDetail(w, o.Error)
	}
	if len(o.Steps) == 0 {
		return
	}
	fmt.Fprintln(w)
	steps := table{states: []int{0}, colour: a.colour()}
	steps.add("STATE", "TOOK", "STEP", "ERROR")
	for _, step := range o.Steps {
		steps.add(string(step.State), span(a.now(), step.Started, step.Ended), step.Text, oneLine(step.Error))
	}
	steps.write(w)
}
