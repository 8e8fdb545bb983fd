//go:build browser

// `make test-browser` runs this test, which needs Chromium and is not among those of `make test`.

package main

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// patience bounds how long a page may take to show something.
const patience = time.Minute

// TestBrowser looks at what the demo leaves behind, as its user would. With SCREENSHOTS=folder, from the root of the checkout, it
// writes pictures of it there.
func TestBrowser(t *testing.T) {
	t.Chdir("../..") // the checkout, whose .tools has the programs
	err := run(t.Context(), func(demo *running) error {
		browser := startBrowser(t, os.Getenv("SCREENSHOTS"))
		pages := demo.ui + "/namespaces/" + namespace
		order, err := demo.client.DescribeWorkflowExecution(t.Context(), "order-0", "")
		require.NoError(t, err)
		runID := order.WorkflowExecutionInfo.Execution.RunId

		browser.open(t, demo.ui, "", "order-2", "Completed", "Workflow ID")
		browser.open(t, pages+"/workflows?query="+url.QueryEscape(`ExecutionStatus="Running"`), "", "No Workflows")
		require.NotContains(t, browser.text(t), "order-")
		browser.open(t, pages+"/workflows?query="+url.QueryEscape(customer+`="vitess"`), "search", "order-0", "order-1", "order-2")
		require.NotContains(t, browser.text(t), "signals-", "this workflow has no such attribute")
		browser.open(t, pages+"/workflows/order-0/"+runID+"/history", "history", "Workflow Execution Started", "Child Workflow Execution Completed", "Workflow Execution Completed")
		browser.open(t, pages+"/schedules", "", scheduleID, "children")
		return nil
	})
	require.NoError(t, err)
}

type browser struct {
	context     context.Context
	screenshots string
}

func startBrowser(t *testing.T, screenshots string) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.WindowSize(1400, 900))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses to be root in one
	}
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithLogf(t.Logf))
	t.Cleanup(cancel)
	_, err := chromedp.Run(ctx, chromedp.Navigate("about:blank"))
	require.NoError(t, err, "start Chromium")
	return &browser{context: ctx, screenshots: screenshots}
}

// open opens a page and returns when it shows all of the texts, in letters of any case.
func (b *browser) open(t *testing.T, address, screenshot string, texts ...string) {
	t.Helper()
	_, err := chromedp.Run(b.context, chromedp.Navigate(address))
	require.NoError(t, err)
	var missing []string
	var page string
	defer func() {
		if t.Failed() {
			t.Logf("%s does not show %q, but:\n%s", address, missing, page)
		}
	}()
	require.Eventually(t, func() bool {
		page, missing = b.text(t), nil
		for _, text := range texts {
			if !strings.Contains(strings.ToLower(page), strings.ToLower(text)) {
				missing = append(missing, text)
			}
		}
		return len(missing) == 0
	}, patience, 200*time.Millisecond)
	if b.screenshots == "" || screenshot == "" {
		return
	}
	picture, err := chromedp.Run(b.context, chromedp.CaptureScreenshot())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(b.screenshots, screenshot+".png"), picture, 0o644))
}

// text is what the page shows.
func (b *browser) text(t *testing.T) string {
	t.Helper()
	text, err := chromedp.Run(b.context, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
	require.NoError(t, err)
	return text
}
