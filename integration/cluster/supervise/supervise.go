package supervise

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

//go:embed supervise.sh
var script string

// Supervisor runs programs below a folder. Its methods may be called from several goroutines.
type Supervisor struct {
	folder string
	shell  *exec.Cmd
	// lifeline is the standard input of the shell. The kernel closes it when this process dies.
	lifeline io.WriteCloser
	finished chan struct{} // closed when the shell has closed its standard output
	stop     func() error

	mu       sync.Mutex
	programs map[int]*Program // all that were ever started, by the number that stands for them between here and the shell
}

// Start starts a supervisor without programs. From then on the folder belongs to it, and to the user that programs run as;
// Stop removes it. Output, which may be nil, is where programs write that are run with the file name "-". MayMount lets
// programs mount file systems in a namespace of their own (unshare --mount), if root asks and may do so itself.
func Start(folder string, env []string, output *os.File, mayMount bool) (*Supervisor, error) {
	shell := exec.Command("bash", "-c", script, "supervise.sh", folder)
	shell.Dir = folder
	shell.Env = env
	// A session of its own: Ctrl-C in the terminal is for the process that called Start, which then calls Stop.
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := dropRoot(shell.SysProcAttr, folder, mayMount); err != nil {
		return nil, err
	}
	if output == nil {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		output = null
	}
	shell.ExtraFiles = []*os.File{output} // file descriptor 3
	lifeline, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	// Not StdoutPipe: Wait would close it under the reader.
	reports, reportsWriter, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	shell.Stdout = reportsWriter
	err = shell.Start()
	reportsWriter.Close()
	if err != nil {
		reports.Close()
		return nil, fmt.Errorf("start bash: %w", err)
	}
	s := &Supervisor{
		folder:   folder,
		shell:    shell,
		lifeline: lifeline,
		finished: make(chan struct{}),
		programs: map[int]*Program{},
	}
	s.stop = sync.OnceValue(s.end)
	go s.read(reports)
	return s, nil
}

// Run starts a program with the supervisor's environment and folder. Its output is appended to the two files, which may be
// the same; "-" stands for what Start was given. That the program cannot be executed shows as its end, with a status of 126
// or 127.
func (s *Supervisor) Run(stdout, stderr string, commandLine ...string) (*Program, error) {
	words := []string{"", Quote(stdout), Quote(stderr)}
	for _, word := range commandLine {
		if strings.Contains(word, "\n") {
			return nil, fmt.Errorf("start %s: an argument has several lines: %q", commandLine[0], word)
		}
		words = append(words, Quote(word))
	}
	p := &Program{started: make(chan struct{}), ended: make(chan struct{}), status: -1}

	s.mu.Lock()
	id := len(s.programs)
	s.programs[id] = p
	words[0] = fmt.Sprint(id)
	_, err := io.WriteString(s.lifeline, strings.Join(words, " ")+"\n")
	s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("start %s: the supervisor has ended: %w", commandLine[0], err)
	}

	select {
	case <-p.started:
		return p, nil
	case <-s.finished:
		return nil, fmt.Errorf("start %s: the supervisor has ended", commandLine[0])
	}
}

// read notes what the shell reports of its programs.
func (s *Supervisor) read(reports io.ReadCloser) {
	defer close(s.finished)
	defer reports.Close()
	for lines := bufio.NewScanner(reports); lines.Scan(); {
		var id, number int
		var event string
		if _, err := fmt.Sscan(lines.Text(), &id, &event, &number); err != nil {
			continue
		}
		s.mu.Lock()
		p := s.programs[id]
		s.mu.Unlock()
		switch event {
		case "started":
			p.pid = number
			close(p.started)
		case "ended":
			p.end(number)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.programs {
		p.end(-1)
	}
}

// Stop returns when no program and no folder is left. It may be called more than once.
func (s *Supervisor) Stop() error {
	return s.stop()
}

func (s *Supervisor) end() error {
	s.lifeline.Close()
	err := s.shell.Wait()
	<-s.finished
	if err != nil {
		return fmt.Errorf("clean up %s: %w", s.folder, err)
	}
	return nil
}

// Program is a program that a supervisor has started.
type Program struct {
	started chan struct{}
	ended   chan struct{}

	pid int // set when started is closed

	mu     sync.Mutex
	status int // to be read when ended is closed
}

// PID is the program's own process, also where the program has ended.
func (p *Program) PID() int {
	return p.pid
}

// Ended is closed when the program has ended.
func (p *Program) Ended() <-chan struct{} {
	return p.ended
}

// Status is the exit status of a program that has ended, as a shell has it: 128 and the signal's number where a signal ended
// it. -1 is for one that has not ended, or ended with the supervisor.
func (p *Program) Status() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

// Signal sends a signal to the program's own process; os.ErrProcessDone says that it has ended.
func (p *Program) Signal(signal syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
		return os.ErrProcessDone
	default:
	}
	return syscall.Kill(p.pid, signal)
}

func (p *Program) end(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.ended:
	default:
		p.status = status
		close(p.ended)
	}
}
