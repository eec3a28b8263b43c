package ipc

// LimitRequest changes what the replicas of a service may use, of those that run without a
// restart, and of those to come. An absent limit stays as it is, 0 lifts it.
type LimitRequest struct {
	Service string   `json:"service"`
	CPUs    *float64 `json:"cpus,omitempty"`   // processors, to a billionth
	Memory  *int64   `json:"memory,omitempty"` // bytes
	Pids    *int64   `json:"pids,omitempty"`   // processes and threads
	DryRun  bool     `json:"dry_run,omitempty"`
}
