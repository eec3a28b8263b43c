package daemon

import (
	"fmt"
	"os"
	"strings"
)

// The ports that the kernel gives to outgoing connections, and those of them that it
// leaves alone (Linux, Documentation/networking/ip-sysctl.rst).
const (
	localPortRange = "/proc/sys/net/ipv4/ip_local_port_range"
	reservedPorts  = "/proc/sys/net/ipv4/ip_local_reserved_ports"
)

// portProblem says that a connection of anybody's can keep an instance from its port, or
// "" where none can, or that is not known.
func portProblem(first, last int) string {
	given, err := os.ReadFile(localPortRange)
	if err != nil {
		return ""
	}
	reserved, err := os.ReadFile(reservedPorts)
	if err != nil || !takeable(first, last, string(given), string(reserved)) {
		return ""
	}
	return fmt.Sprintf("the kernel may give a port from %d to %[2]d to a connection, and its instance cannot start then: sysctl -w net.ipv4.ip_local_reserved_ports=%[1]d-%[2]d, and the same in /etc/sysctl.d", first, last)
}

// takeable reports whether one of the ports is among the given ones ("32768 60999") and
// not reserved ("35000-35015,40000").
func takeable(first, last int, given, reserved string) bool {
	var from, to int
	if _, err := fmt.Sscan(given, &from, &to); err != nil {
		return false
	}
	kept := map[int]bool{}
	for part := range strings.SplitSeq(strings.TrimSpace(reserved), ",") {
		var low, high int
		n, _ := fmt.Sscanf(part, "%d-%d", &low, &high)
		if n == 1 {
			high = low
		}
		for port := low; n > 0 && port <= high; port++ {
			kept[port] = true
		}
	}
	for port := max(first, from); port <= min(last, to); port++ {
		if !kept[port] {
			return true
		}
	}
	return false
}
