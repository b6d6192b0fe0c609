// Command banger gives its user disposable Linux machines. It is the CLI, the daemon and each VM's shim.
package main

import (
	"os"

	"github.com/banger-dev/banger/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
