package dockerops

import "github.com/docker/docker/api/types/container"

// Limits are what a container may use; 0 stands for no limit.
type Limits struct {
	CPUs   int64 `json:"nano_cpus,omitempty"` // in billionths of a processor
	Memory int64 `json:"memory,omitempty"`    // in bytes
	Swap   int64 `json:"swap,omitempty"`      // memory and swap together, in bytes; -1: any
	Pids   int64 `json:"pids,omitempty"`
}

func readLimits(r container.Resources) Limits {
	l := Limits{CPUs: r.NanoCPUs, Memory: r.Memory, Swap: r.MemorySwap}
	if r.CPUQuota > 0 { // the older form of the same
		const defaultPeriod = 100_000 // of the kernel, in microseconds
		period := r.CPUPeriod
		if period == 0 {
			period = defaultPeriod
		}
		l.CPUs = r.CPUQuota * 1e9 / period
	}
	if r.PidsLimit != nil && *r.PidsLimit > 0 {
		l.Pids = *r.PidsLimit
	}
	return l
}
