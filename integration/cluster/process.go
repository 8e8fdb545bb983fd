package cluster

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

//go:embed supervise.sh
var superviseScript string

// endedPrefix begins the line that supervise.sh prints when its program has ended.
const endedPrefix = "supervise: the program ended"

// process is a running vttestserver with all that it has started.
type process struct {
	supervisor *exec.Cmd
	// stdin of the supervisor. Its end makes the supervisor kill everything and remove the folder. The kernel closes it
	// when this process dies.
	lifeline io.Closer

	listening chan listening // receives once, when vttestserver serves
	ended     chan struct{}  // closed when vttestserver has ended or all of its output is closed
	complaint []string       // the last errors it logged; to be read after ended or stop
}

// listening is the line of JSON that vttestserver prints when all is up: ports of 127.0.0.1.
type listening struct {
	VTGate int `json:"vtcombo_mysql_port"`
	HTTP   int `json:"port"`
	GRPC   int `json:"grpc-port"`
	MySQL  int `json:"mysql"`
}

// startProcess runs the command line in folder, which belongs to the process from then on: stop removes it.
func startProcess(folder string, env, commandLine []string, log io.Writer) (*process, error) {
	supervisor := exec.Command("bash", append([]string{"-c", superviseScript, "supervise.sh", folder}, commandLine...)...)
	supervisor.Dir = folder
	supervisor.Env = env
	// A session of its own: Ctrl-C in the terminal is for the process that called Start, which then stops the cluster.
	supervisor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := dropRoot(supervisor.SysProcAttr, folder); err != nil {
		return nil, err
	}
	lifeline, err := supervisor.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe: Wait would close it under the reader.
	output, outputWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	supervisor.Stdout, supervisor.Stderr = outputWriter, outputWriter
	err = supervisor.Start()
	outputWriter.Close()
	if err != nil {
		output.Close()
		return nil, fmt.Errorf("start %s: %w", commandLine[0], err)
	}
	p := &process{
		supervisor: supervisor,
		lifeline:   lifeline,
		listening:  make(chan listening, 1),
		ended:      make(chan struct{}),
	}
	go p.read(output, log)
	return p, nil
}

// read passes the output on and looks for what matters in it. It must go on to the end, or the programs would block.
func (p *process) read(output io.ReadCloser, log io.Writer) {
	defer output.Close()
	lines := bufio.NewReader(output)
	ended := false
	for {
		line, err := lines.ReadString('\n')
		if line != "" && log != nil {
			io.WriteString(log, line)
		}
		if !ended {
			p.interpret(strings.TrimRight(line, "\n"))
			if err != nil || strings.HasPrefix(line, endedPrefix) {
				ended = true
				close(p.ended)
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *process) interpret(line string) {
	const keep = 30
	var entry struct {
		listening
		Level string `json:"level"`
		Msg   string `json:"msg"`
	}
	switch err := json.Unmarshal([]byte(line), &entry); {
	case err == nil && entry.VTGate != 0:
		p.listening <- entry.listening
	case err == nil && (entry.Level == "INFO" || entry.Level == "WARN"):
	case err == nil: // its message may hold the whole output of a program that it ran
		for inner := range strings.SplitSeq(entry.Msg, "\n") {
			p.interpret(inner)
		}
	case line == "" || strings.HasPrefix(line, " "): // after any error, cobra prints all flags with indentation
	default:
		p.complaint = append(p.complaint, line)
		p.complaint = p.complaint[max(0, len(p.complaint)-keep):]
	}
}

// stop returns when no process and no folder is left.
func (p *process) stop() error {
	p.lifeline.Close()
	err := p.supervisor.Wait()
	<-p.ended
	if err != nil {
		return fmt.Errorf("clean up the local Vitess in %s: %w", p.supervisor.Dir, err)
	}
	return nil
}
