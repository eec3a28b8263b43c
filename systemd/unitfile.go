package systemd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"

	"tvsctl/trust"
)

// UnitFileVerbs are the changes of unit files. polkit's manage-unit-files, which they take,
// carries no unit: whoever has it has them all, and so the daemon has it not. A root
// oneshot, an instance of tvsctld-unit-file@.service, does it for what UnitFileList has.
var UnitFileVerbs = []string{"enable", "disable", "mask", "unmask"}

// UnitFileList is the literal list of what tvsctld-unit-file@.service does: lines of a verb
// and a unit's full name, "enable nginx.service". Only root may write it.
const UnitFileList = "/etc/tvsctld/unit-files.list"

// UnitFileHelper returns the instance of the oneshot for a change.
func UnitFileHelper(verb, name string) string {
	return "tvsctld-unit-file@" + unit.UnitNameEscape(verb+":"+name) + ".service"
}

// ErrNotListed means that a change of unit files is not in the list.
var ErrNotListed = errors.New("it is not listed in " + UnitFileList)

// UnitFileListed returns nil when a list has the change, ErrNotListed when it has not, and
// another error for a list that cannot be read, or that others than root and the owner can
// write.
func UnitFileListed(path string, owner int, verb, name string) error {
	text, err := trust.Owners{uint32(owner)}.ReadFile(path, maxUnitFile)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotListed
	}
	if err != nil {
		return fmt.Errorf("cannot use the list of unit files: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		change, _, _ := strings.Cut(line, "#")
		if slices.Equal(strings.Fields(change), []string{verb, name}) {
			return nil
		}
	}
	return ErrNotListed
}

// fileChange is what the manager says of a symlink that it made or removed.
type fileChange struct{ Kind, File, Source string }

// ChangeUnitFile enables, disables, masks or unmasks a unit for good and has the manager
// read its files again, which those methods do not. It returns what was changed, in
// systemctl's words. It takes root.
func (u *Units) ChangeUnitFile(ctx context.Context, verb, name string) (done []string, err error) {
	if !slices.Contains(UnitFileVerbs, verb) {
		return nil, fmt.Errorf("cannot %s %s: the verbs are %s", verb, name, strings.Join(UnitFileVerbs, ", "))
	}
	doing := verb + " " + name
	files := []string{name}
	err = u.persist(ctx, func(b *bus) error {
		var changes []fileChange
		var err error
		carries := true
		switch verb {
		case "enable":
			err = b.call(ctx, doing, managerPath, manager+".EnableUnitFiles", []any{files, false, false}, &carries, &changes)
		case "disable":
			err = b.call(ctx, doing, managerPath, manager+".DisableUnitFiles", []any{files, false}, &changes)
		case "mask":
			err = b.call(ctx, doing, managerPath, manager+".MaskUnitFiles", []any{files, false, false}, &changes)
		case "unmask":
			err = b.call(ctx, doing, managerPath, manager+".UnmaskUnitFiles", []any{files, false}, &changes)
		}
		if err != nil {
			return err
		}
		if !carries && len(changes) == 0 {
			return fmt.Errorf("cannot enable %s: its file has no [Install] section that says where it belongs", name)
		}
		for _, c := range changes {
			switch c.Kind {
			case "symlink":
				done = append(done, fmt.Sprintf("Created symlink %s → %s.", c.File, c.Source))
			case "unlink":
				done = append(done, fmt.Sprintf("Removed %s.", c.File))
			}
		}
		return b.call(ctx, "reload the unit files", managerPath, manager+".Reload", nil)
	})
	return done, err
}

// maxUnitFile bounds what is read of a unit file, in bytes.
const maxUnitFile = 1 << 20

// UnitFile is a unit file or a drop-in of it.
type UnitFile struct{ Path, Text string }

// Files reads the unit's file and its drop-ins. Of a masked unit, whose file is empty or a
// link to /dev/null, it says what systemctl cat does.
func (u *Unit) Files() ([]UnitFile, error) {
	if u.LoadState == "masked" {
		return []UnitFile{{Path: u.Fragment, Text: fmt.Sprintf("# Unit %s is masked.\n", u.ID)}}, nil
	}
	var list []UnitFile
	for _, path := range append([]string{u.Fragment}, u.DropIns...) {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err == nil && info.Mode().Type() == fs.ModeDevice|fs.ModeCharDevice { // masked: a link to /dev/null
			list = append(list, UnitFile{Path: path})
			continue
		}
		text, err := trust.ReadPlain(path, maxUnitFile)
		if err != nil {
			return nil, fmt.Errorf("cannot read the unit file: %v", err)
		}
		list = append(list, UnitFile{Path: path, Text: string(text)})
	}
	return list, nil
}
