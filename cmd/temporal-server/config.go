package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/config"

	sample "github.com/temporal-vitess/temporal-vitess/config"
)

func renderConfigCommand() *cli.Command {
	return &cli.Command{
		Name:      "render-config",
		Usage:     "Render server config template",
		ArgsUsage: " ",
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c, c.String("config"), func() (*config.Config, error) {
				return loadDirectory(c, c.String("config"))
			})
			if err != nil {
				return cli.Exit(fmt.Errorf("Unable to load configuration: %w", err), 1)
			}
			_, _ = fmt.Fprintln(c.App.Writer, cfg.String())
			return nil
		},
	}
}

// loadConfig loads what the flags name: one file, or the deprecated directory. Without either it is the environment
// that counts: DB=vitess means this project's template, any other DB what upstream's command does, which is fallback.
func loadConfig(c *cli.Context, directory string, fallback func() (*config.Config, error)) (*config.Config, error) {
	switch {
	case c.IsSet("config-file"):
		return config.Load(config.WithConfigFile(c.String("config-file")))
	case c.IsSet("config") || c.IsSet("env") || c.IsSet("zone"):
		return loadDirectory(c, directory)
	case strings.EqualFold(os.Getenv("DB"), "vitess"):
		return loadVitess()
	default:
		return fallback()
	}
}

func loadDirectory(c *cli.Context, directory string) (*config.Config, error) {
	return config.Load(
		config.WithEnv(c.String("env")),
		config.WithConfigDir(directory),
		config.WithZone(c.String("zone")),
	)
}

// loadVitess loads the embedded config/vitess.yaml. Upstream's loader reads templates from files only, hence the
// temporary one.
func loadVitess() (*config.Config, error) {
	file, err := os.CreateTemp("", "vitess-*.yaml")
	if err == nil {
		defer func() { _ = os.Remove(file.Name()) }()
		_, err = file.Write(sample.Vitess)
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		return nil, fmt.Errorf("DB=vitess needs a temporary file for its config template: %w; "+
			"make %s writable, or set %s to a copy of config/vitess.yaml", err, os.TempDir(), config.EnvKeyConfigFile)
	}
	return config.Load(config.WithConfigFile(file.Name()))
}
