package registry

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// startTime returns when a process started, in clock ticks since the machine
// did: with it a PID means one process only. It reports false if there is none.
func startTime(pid int) (uint64, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// pid (name) state …: the name may have spaces and parentheses. The start
	// time is field 22, the 20th after the name (proc_pid_stat(5)).
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 || fields[0][0] == 'Z' { // a zombie holds nothing
		return 0, false
	}
	t, err := strconv.ParseUint(string(fields[19]), 10, 64)
	return t, err == nil
}
