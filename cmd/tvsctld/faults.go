//go:build faults

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"tvsctl/fault"
)

// A test names in the file next of the directory $TVSCTLD_FAULTS what shall go wrong, once:
// "crash before docker create 1", "fail after docker start 2" (the second one). Every
// side effect is noted in the file trace there, while that exists.
func init() {
	dir := os.Getenv("TVSCTLD_FAULTS")
	faultFile, traceFile := filepath.Join(dir, "next"), filepath.Join(dir, "trace")
	var mu sync.Mutex
	seen := map[string]int{} // since the fault was named
	named := ""
	hook := func(label string, after bool) error {
		mu.Lock()
		defer mu.Unlock()
		point := "before " + label
		if after {
			point = "after " + label
		}
		if trace, err := os.OpenFile(traceFile, os.O_APPEND|os.O_WRONLY, 0); err == nil {
			fmt.Fprintln(trace, point)
			trace.Close()
		}
		text, err := os.ReadFile(faultFile)
		if err != nil {
			return nil
		}
		if string(text) != named {
			named = string(text)
			clear(seen)
		}
		seen[point]++
		how, wanted, _ := strings.Cut(strings.TrimSpace(named), " ")
		if wanted != fmt.Sprintf("%s %d", point, seen[point]) {
			return nil
		}
		if err := os.Remove(faultFile); err != nil {
			return err
		}
		if how == "crash" {
			// Nothing of this process runs after that.
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return errors.New("as told: " + wanted)
	}
	fault.Hook.Store(&hook)
}
