package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/banger-dev/banger/api"
)

func newVMLogs(a *app) *cobra.Command {
	var (
		follow, lines bool
		tail          = "all"
	)
	cmd := &cobra.Command{
		Use: "logs REF", Short: "Print a VM's console", Annotations: called("vm logs"),
		Args: cobra.ExactArgs(1), ValidArgsFunction: a.completeVMs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := tailLines(tail)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return fail(operation(cmd), args[0], err)
			}
			err = a.printConsole(cmd.Context(), client, args[0], follow, n, lines)
			var interrupted *interruption
			if follow && errors.As(err, &interrupted) {
				return status(128 + int(interrupted.signal)) // that is how following ends
			}
			return fail(operation(cmd), args[0], err)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the VM ends")
	cmd.Flags().StringVarP(&tail, "tail", "n", tail, "only the last `LINES`")
	cmd.Flags().BoolVar(&lines, "json", false, "print a JSON document a line")
	return cmd
}

func tailLines(text string) (int, error) {
	if text == "all" {
		return -1, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, usagef("--tail %q: must be a number of lines or all", text)
	}
	return n, nil
}

func (a *app) printConsole(ctx context.Context, client *api.Client, ref string, follow bool, tail int, asJSON bool) error {
	if !asJSON {
		return client.Console(ctx, ref, follow, tail, a.out)
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(client.Console(ctx, ref, follow, tail, w)) }()
	defer r.Close()
	return jsonLines(a.out, r)
}

// consoleLine is one document of `vm logs --json`.
type consoleLine struct {
	Line string `json:"line"`
}

// longestLine bounds a line of a console, in bytes; a longer one is broken up.
const longestLine = 64 << 10

func jsonLines(w io.Writer, r io.Reader) error {
	out, in := json.NewEncoder(w), bufio.NewReaderSize(r, longestLine)
	out.SetEscapeHTML(false)
	for {
		line, _, err := in.ReadLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.Encode(consoleLine{string(line)}); err != nil {
			return fmt.Errorf("print console: %w", err)
		}
	}
}
