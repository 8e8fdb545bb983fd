package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

// process is a running vttestserver with all that it has started.
type process struct {
	supervisor *supervise.Supervisor
	program    *supervise.Program

	listening chan listening // receives once, when vttestserver serves
	read      chan struct{}  // closed when all of the output has been read
	complaint []string       // the last errors it logged; to be read after stop
}

// listening is the line of JSON that vttestserver prints when all is up: ports of 127.0.0.1.
type listening struct {
	VTGate int `json:"vtcombo_mysql_port"`
	HTTP   int `json:"port"`
	GRPC   int `json:"grpc-port"`
	MySQL  int `json:"mysql"`
}

// startProcess runs the command line in folder, which belongs to the process from then on: stop removes it. Where it fails,
// the folder may be gone or not.
func startProcess(folder string, env, commandLine []string, log io.Writer) (*process, error) {
	output, outputWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	supervisor, err := supervise.Start(folder, env, outputWriter, false)
	outputWriter.Close()
	if err != nil {
		output.Close()
		return nil, err
	}
	p := &process{
		supervisor: supervisor,
		listening:  make(chan listening, 1),
		read:       make(chan struct{}),
	}
	go p.readOutput(output, log)
	p.program, err = supervisor.Run("-", "-", commandLine...)
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// readOutput passes the output on and looks for what matters in it. It must go on to the end, or the programs would block.
func (p *process) readOutput(output io.ReadCloser, log io.Writer) {
	defer close(p.read)
	defer output.Close()
	lines := bufio.NewReader(output)
	for {
		line, err := lines.ReadString('\n')
		if line != "" && log != nil {
			io.WriteString(log, line)
		}
		p.interpret(strings.TrimRight(line, "\n"))
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
	err := p.supervisor.Stop()
	<-p.read
	return err
}
