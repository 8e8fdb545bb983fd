package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processes are those that take part, by name. There are none where the system has no /proc.
type processes map[string]int

// Names of processes, in the order of the report.
const (
	clientProcess = "client" // this one
	vitessProcess = "vtcombo"
	mysqlProcess  = "mysqld"
)

// findProcesses finds the servers of a cluster by the ports in their command lines.
func findProcesses(d *databases) processes {
	port := func(address string) string {
		_, port, _ := net.SplitHostPort(address)
		return port
	}
	_, mysqlAddress, _ := d.MySQL()
	arguments := map[string]string{
		vitessProcess: "\x00--mysql-server-port\x00" + port(d.VTGateAddr()) + "\x00",
		mysqlProcess:  "\x00--port=" + port(mysqlAddress) + "\x00",
	}
	found := processes{}
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		commandLine, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		for name, argument := range arguments {
			if bytes.Contains(commandLine, []byte(argument)) {
				found[name], _ = strconv.Atoi(filepath.Base(filepath.Dir(file)))
			}
		}
	}
	if len(found) > 0 {
		found[clientProcess] = os.Getpid()
	}
	return found
}

// cpuTimes returns the CPU time that each process has taken so far.
func (p processes) cpuTimes() map[string]time.Duration {
	times := map[string]time.Duration{}
	for name, pid := range p {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		times[name] = parseStat(string(stat))
	}
	return times
}

// parseStat returns the user and system time of a /proc/<pid>/stat (proc(5)), which are in hundredths of a second.
func parseStat(stat string) time.Duration {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // the name before may hold spaces
	const state, utime, stime = 3, 14, 15                               // counted from 1, as in proc(5)
	user, _ := strconv.ParseInt(fields[utime-state], 10, 64)
	system, _ := strconv.ParseInt(fields[stime-state], 10, 64)
	return time.Duration(user+system) * time.Second / 100
}
