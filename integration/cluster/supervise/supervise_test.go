package supervise

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProgramsReportTheirEndAndLeaveTheirOutput(t *testing.T) {
	s, folder := startForTest(t)
	output, errors := filepath.Join(folder, "output"), filepath.Join(folder, "errors")
	p, err := s.Run(output, errors, "sh", "-c", `echo "it's $1"; echo no >&2; exit 3`, "sh", "a  b")
	require.NoError(t, err)
	waitForEnd(t, p)
	assert.Equal(t, 3, p.Status())
	assert.Equal(t, "it's a  b\n", read(t, output))
	assert.Equal(t, "no\n", read(t, errors))
	assert.ErrorIs(t, p.Signal(syscall.SIGKILL), os.ErrProcessDone)

	p, err = s.Run(output, output, filepath.Join(folder, "missing"))
	require.NoError(t, err)
	waitForEnd(t, p)
	assert.Equal(t, 127, p.Status())

	_, err = s.Run(output, output, "echo", "a\nb")
	require.ErrorContains(t, err, "several lines")
}

func TestASignalReachesTheProgramItself(t *testing.T) {
	s, folder := startForTest(t)
	output := filepath.Join(folder, "output")
	p, err := s.Run(output, output, "sh", "-c", `trap "exit 7" TERM; echo ready; while :; do sleep 0.01; done`)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return strings.Contains(read(t, output), "ready") }, 10*time.Second, time.Millisecond)

	require.NoError(t, p.Signal(syscall.SIGSTOP))
	require.NoError(t, p.Signal(syscall.SIGTERM))
	select {
	case <-p.Ended():
		t.Fatal("a stopped program counts as ended")
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, p.Signal(syscall.SIGCONT))
	waitForEnd(t, p)
	assert.Equal(t, 7, p.Status())

	p, err = s.Run(output, output, "sleep", "1000")
	require.NoError(t, err)
	require.NoError(t, p.Signal(syscall.SIGKILL))
	waitForEnd(t, p)
	assert.Equal(t, 128+int(syscall.SIGKILL), p.Status())
}

func TestStopKillsEverythingAndRemovesTheFolder(t *testing.T) {
	s, folder := startForTest(t)
	output := filepath.Join(folder, "output")
	// A program with a child of its own, which ignores what can be ignored; and one that is stopped.
	parent, err := s.Run(output, output, "sh", "-c", `trap "" TERM HUP; sleep 1000 & echo $!; wait`)
	require.NoError(t, err)
	stopped, err := s.Run(output, output, "sleep", "1000")
	require.NoError(t, err)
	require.NoError(t, stopped.Signal(syscall.SIGSTOP))

	require.NoError(t, s.Stop())
	for _, p := range []*Program{parent, stopped} {
		waitForEnd(t, p)
		assert.ErrorIs(t, syscall.Kill(p.PID(), 0), syscall.ESRCH)
	}
	assert.NoDirExists(t, folder)
	_, err = s.Run(output, output, "true")
	require.ErrorContains(t, err, "the supervisor has ended")
	require.NoError(t, s.Stop(), "a second Stop")
}

func startForTest(t *testing.T) (*Supervisor, string) {
	folder, err := MakeFolder()
	require.NoError(t, err)
	s, err := Start(folder, os.Environ(), nil, false)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Stop()) })
	return s, folder
}

func waitForEnd(t *testing.T, p *Program) {
	select {
	case <-p.Ended():
	case <-time.After(10 * time.Second):
		t.Fatal("the program has not ended")
	}
}

func read(t *testing.T, path string) string {
	content, err := os.ReadFile(path)
	if !os.IsNotExist(err) {
		require.NoError(t, err)
	}
	return string(content)
}
