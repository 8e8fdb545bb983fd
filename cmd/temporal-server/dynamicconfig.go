package main

import (
	"fmt"
	"os"
	"text/template"

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/dynamicconfig"
)

func validateDynamicConfigCommand() *cli.Command {
	return &cli.Command{
		Name:      "validate-dynamic-config",
		Usage:     "Validate a dynamic config file[s] with known keys and types",
		ArgsUsage: "<file> ...",
		Action:    validateDynamicConfig,
	}
}

func validateDynamicConfig(c *cli.Context) error {
	report := template.Must(template.New("").Parse(
		"{{range .Errors}}  error: {{.}}\n" +
			"{{end}}{{range .Warnings}}  warning: {{.}}\n" +
			"{{end}}",
	))
	total := 0
	for _, fileName := range c.Args().Slice() {
		contents, err := os.ReadFile(fileName)
		if err != nil {
			return err
		}
		result := dynamicconfig.LoadYamlFile(contents)
		total += len(result.Errors)
		_, _ = fmt.Fprintln(c.App.Writer, fileName)
		if err := report.Execute(c.App.Writer, result); err != nil {
			return err
		}
	}
	if total > 0 {
		return fmt.Errorf("%d total errors", total)
	}
	return nil
}
