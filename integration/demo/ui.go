package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/temporalio/ui-server/v2/server"
	"github.com/temporalio/ui-server/v2/server/config"
	"github.com/temporalio/ui-server/v2/server/server_options"
)

// webUI is Temporal's web UI in this process.
type webUI struct {
	url    string
	server *server.Server
	ended  chan struct{}
}

// startUI returns when the web UI for the frontend serves on the port, or on a free one if that is 0.
func startUI(ctx context.Context, frontend string, port int) (*webUI, error) {
	if port == 0 {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, err
		}
		port = listener.Addr().(*net.TCPAddr).Port
		if err := listener.Close(); err != nil {
			return nil, err
		}
	}
	ui := &webUI{url: "http://" + net.JoinHostPort(host, strconv.Itoa(port)), ended: make(chan struct{})}
	ui.server = server.NewServer(server_options.WithConfigProvider(&config.Config{
		TemporalGRPCAddress: frontend, Host: host, Port: port, EnableUI: true, DefaultNamespace: namespace,
		// A browser gives its cookie back to this address, which is no https.
		CORS: config.CORS{CookieInsecure: true}, DisableNewsFetch: true, HideLogs: true,
	}))
	go func() {
		defer close(ui.ended)
		_ = ui.server.Start() // ends the process with a message if it cannot serve, and else returns nil
	}()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, ui.url+"/healthz", nil)
		if err != nil {
			return nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil && response.Body.Close() == nil && response.StatusCode == http.StatusOK {
			return ui, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			ui.stop()
			return nil, errors.Join(fmt.Errorf("the web UI does not serve on %s: %w", ui.url, err), ctx.Err())
		}
	}
}

// stop returns when the web UI has stopped.
func (ui *webUI) stop() {
	ui.server.Stop()
	<-ui.ended
}
