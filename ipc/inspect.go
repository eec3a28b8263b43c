package ipc

import "time"

// Inspection is all that can be seen of one replica.
type Inspection struct {
	Project       string    `json:"project"`
	Service       string    `json:"service"`
	Number        int       `json:"number"`
	Name          string    `json:"name"`
	ID            string    `json:"id"` // whole
	Image         string    `json:"image"`
	ImageID       string    `json:"image_id"`
	Hostname      string    `json:"hostname"`
	State         string    `json:"state"` // as Docker says: created, running, exited, …
	Health        string    `json:"health,omitempty"`
	Pid           int       `json:"pid,omitempty"` // of its first process, on the host
	Created       time.Time `json:"created"`
	Started       time.Time `json:"started,omitzero"`
	Finished      time.Time `json:"finished,omitzero"`
	ExitCode      *int      `json:"exit_code,omitempty"` // of the last run
	OOMKilled     bool      `json:"oom_killed"`
	Restarts      int       `json:"restarts"` // by its restart policy
	RestartPolicy string    `json:"restart_policy"`

	Limits     Limits      `json:"limits"` // as Docker was asked for them
	Namespaces []Namespace `json:"namespaces,omitempty"`
	Cgroup     *Cgroup     `json:"cgroup,omitempty"` // as the kernel has it
	Storage    Storage     `json:"storage"`
	Networks   []Endpoint  `json:"networks"`
	Ports      []HostPort  `json:"ports"`
	Mounts     []Mount     `json:"mounts"`
	HealthLog  []Check     `json:"health_log"` // oldest first
	// Missing says, in a sentence each, what could not be seen, and why.
	Missing []string `json:"missing,omitempty"`
}

// Limits are what a replica may use. A limit that is absent does not exist.
type Limits struct {
	CPUs   float64 `json:"cpus,omitempty"`   // processors
	Memory int64   `json:"memory,omitempty"` // bytes
	Swap   int64   `json:"swap,omitempty"`   // memory and swap together, in bytes; -1: any
	Pids   int64   `json:"pids,omitempty"`   // processes and threads
}

// Namespace is one namespace of a replica's first process (namespaces(7)).
type Namespace struct {
	Kind  string `json:"kind"`  // cgroup, ipc, mnt, net, pid, time, user, uts
	Inode uint64 `json:"inode"` // as lsns prints it
	Host  bool   `json:"host"`  // it is that of the host
}

// Cgroup is what the kernel allows a replica and what that uses. A part is absent where
// the kernel has no such controller, a limit where there is none.
type Cgroup struct {
	Version int        `json:"version"` // 1 or 2
	Path    string     `json:"path"`    // below the root of the hierarchy
	Memory  *MemoryUse `json:"memory,omitempty"`
	CPU     *CPUUse    `json:"cpu,omitempty"`
	Pids    *PidsUse   `json:"pids,omitempty"`
}

// MemoryUse is in bytes. What is used includes the page cache.
type MemoryUse struct {
	Used  int64  `json:"used"`
	Peak  *int64 `json:"peak,omitempty"`
	Limit *int64 `json:"limit,omitempty"`
	// Swap is the limit of swap alone on cgroup v2, of memory and swap together on v1; it
	// is absent too where the kernel does not account for swap.
	Swap *int64 `json:"swap_limit,omitempty"`
}

// CPUUse is in microseconds.
type CPUUse struct {
	Used      int64  `json:"used_us"`            // in all
	Quota     *int64 `json:"quota_us,omitempty"` // in each period
	Period    int64  `json:"period_us,omitempty"`
	Throttled int64  `json:"throttled"` // periods in which it was held up
}

// PidsUse counts processes and threads.
type PidsUse struct {
	Used  int64  `json:"used"`
	Limit *int64 `json:"limit,omitempty"`
}

// Storage is where a replica's files are on the host.
type Storage struct {
	Driver string `json:"driver"`
	// Lower are the layers of the image, the uppermost first; Upper holds what the
	// replica wrote, Merged is what it sees. They are absent with a driver without them.
	Lower   []string `json:"lower,omitempty"`
	Upper   string   `json:"upper,omitempty"`
	Work    string   `json:"work,omitempty"`
	Merged  string   `json:"merged,omitempty"`
	Written int64    `json:"written"` // the size of what the replica wrote, in bytes
	Size    int64    `json:"size"`    // that and its image
}

// Endpoint is a replica's place in a network.
type Endpoint struct {
	Network  string   `json:"network"`
	Address  string   `json:"address,omitempty"` // with the length of the prefix
	Address6 string   `json:"address6,omitempty"`
	Gateway  string   `json:"gateway,omitempty"`
	MAC      string   `json:"mac,omitempty"`
	Aliases  []string `json:"aliases,omitempty"`
}

// HostPort is a TCP port that is published on the host.
type HostPort struct {
	IP        string `json:"ip"`
	Port      int    `json:"port"`
	Container int    `json:"container"`
}

// Mount is a directory or file of a replica that comes from elsewhere.
type Mount struct {
	Type   string `json:"type"`           // bind, volume, tmpfs, …
	Name   string `json:"name,omitempty"` // of a volume
	Source string `json:"source"`         // on the host
	Target string `json:"target"`
	Write  bool   `json:"write"`
}

// Check is one run of a health check.
type Check struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	ExitCode int       `json:"exit_code"`
	Output   string    `json:"output"`
}
