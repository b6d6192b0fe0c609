package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

const (
	groupDaily = "daily"
	groupNouns = "nouns"
	groupOther = "other"
)

// newRoot builds the whole command tree.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "banger",
		Short:         "Disposable Linux machines, each a microVM of its own",
		Long:          "banger gives you a disposable Linux machine: hardware-isolated, with a kernel, root file system, network and name of\nits own. Nothing needs root, and nothing outside banger's own directories is touched.",
		Example:       "  banger run --rm -- uname -a          one command in a fresh VM that is deleted afterwards\n  banger run                           a shell in a fresh VM\n  banger run -d --name db              a VM that stays\n  banger exec db -- ps aux             a command in it",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return cmd.Help()
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = false
	root.AddGroup(
		&cobra.Group{ID: groupDaily, Title: "Daily commands:"},
		&cobra.Group{ID: groupNouns, Title: "Commands by noun:"},
		&cobra.Group{ID: groupOther, Title: "Other commands:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	root.SetCompletionCommandGroupID(groupOther)
	add(root, groupDaily, newVMRun(a), newPs(a), newVMExec(a), newVMLogs(a), newVMStart(a), newVMStop(a), newVMKill(a), newRm(a))
	add(root, groupNouns, newVM(a), newImage(a), newKernel(a), newOperation(a), newDaemon(a))
	add(root, groupOther, newDoctor(a), newVersion(a), newInternal(a), newShim(a))
	wrapUsage(root)
	return root
}

func add(parent *cobra.Command, group string, children ...*cobra.Command) {
	for _, c := range children {
		if !c.Hidden {
			c.GroupID = group
		}
		parent.AddCommand(c)
	}
}

// newNoun makes a command that only holds others.
func newNoun(name, short string, verbs ...*cobra.Command) *cobra.Command {
	noun := &cobra.Command{
		Use: name + " COMMAND", Short: short, Args: cobra.ArbitraryArgs, DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return usagef("%s: a verb is missing: one of %s", cmd.CommandPath()[len("banger "):], strings.Join(names(cmd), ", "))
		},
	}
	noun.AddCommand(verbs...)
	return noun
}

func names(cmd *cobra.Command) []string {
	var out []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			out = append(out, c.Name())
		}
	}
	return out
}

func unknown(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return usagef("unknown command %q for %q; did you mean %s?", name, cmd.CommandPath(), strings.Join(near, ", "))
	}
	return usagef("unknown command %q for %q", name, cmd.CommandPath())
}

// wrapUsage marks the errors of argument and flag checks as bad usage, which has an exit status of its own.
func wrapUsage(cmd *cobra.Command) {
	check := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%s: %w; see `%s --help`", operation(cmd), err, cmd.CommandPath())
		}
		if err := cmd.ValidateRequiredFlags(); err != nil {
			return usagef("%s: %w", operation(cmd), err)
		}
		if err := cmd.ValidateFlagGroups(); err != nil {
			return usagef("%s: %s", operation(cmd), exclusion(err))
		}
		return nil
	}
	for _, c := range cmd.Commands() {
		wrapUsage(c)
	}
}

// exclusion says in a few words what cobra's error about flags that exclude each other says in many.
func exclusion(err error) string {
	_, rest, ok := strings.Cut(err.Error(), "; [")
	flags, _, set := strings.Cut(rest, "] were all set")
	if !ok || !set {
		return err.Error()
	}
	return "--" + strings.Join(strings.Fields(flags), " and --") + " exclude each other"
}

// operation is a command's name in messages: "vm stop", also for the flat `banger stop`.
func operation(cmd *cobra.Command) string {
	if name, ok := cmd.Annotations["operation"]; ok {
		return name
	}
	return strings.TrimPrefix(cmd.CommandPath(), "banger ")
}

// called sets the name that messages use for a command.
func called(operation string) map[string]string { return map[string]string{"operation": operation} }
