// Command reliability lets all faults of package faults happen to a Vitess under the load of a Temporal server, one after
// the other, and writes a page about it. `make faults` runs it.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/faults"
)

//go:embed page.md
var page string

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	out := flag.String("out", "", "file for the page; empty for standard output")
	pattern := flag.String("faults", "", "let those faults happen whose names match this regular expression")
	lossy := flag.Bool("lossy", false, "let those faults happen after which something is lost, and no others")
	logs := flag.String("logs", "", "existing folder, open to the user nobody, for what all processes log")
	flag.Parse()
	matching, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-faults: %w", err)
	}
	written, err := template.New("page").Parse(page)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	bed, err := faults.StartBed(ctx, os.Stderr, *logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Stop()) }()
	var results []*faults.Result
	var wrong []error // the page is written nevertheless
	happening := faults.Faults()
	if *lossy {
		happening = faults.Lossy()
	}
	for _, fault := range happening {
		if !matching.MatchString(fault.Name) {
			continue
		}
		fmt.Fprintln(os.Stderr, fault.Name)
		result, err := bed.Run(ctx, fault)
		if err != nil {
			wrong = append(wrong, err)
			break
		}
		fmt.Fprint(os.Stderr, faults.Table([]*faults.Result{result}))
		if err := result.Err(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			wrong = append(wrong, err)
		}
		results = append(results, result)
	}
	if len(results) == 0 {
		return errors.Join(append(wrong, fmt.Errorf("there is no result; -faults is %q", *pattern))...)
	}
	w := io.Writer(os.Stdout)
	if *out != "" {
		file, err := os.Create(*out)
		if err != nil {
			return err
		}
		defer file.Close()
		w = file
	}
	err = written.Execute(w, map[string]any{
		"Table": strings.TrimSpace(faults.Table(results)), "Date": time.Now().Format("January 2006"), "CPUs": runtime.NumCPU(),
	})
	return errors.Join(append(wrong, err)...)
}
