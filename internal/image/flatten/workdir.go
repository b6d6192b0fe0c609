package flatten

import "github.com/banger-dev/banger/internal/ext4"

// makeWorkDir makes /root, or gives it new attributes: those that it has when an image knows nothing of it.
func (t *tree) makeWorkDir() error {
	if err := t.add(t.locate(workDir), ext4.Entry{Type: ext4.Directory, Mode: 0o700}, nil); err != nil {
		return err
	}
	t.invented = true
	return nil
}

// inhabit is called before something is put at a place. In /root, that makes an invented one a parent like others.
func (t *tree) inhabit(at location) error {
	if !at.seed || !t.invented {
		return nil
	}
	return t.add(t.locate(workDir), ext4.Entry{Type: ext4.Directory, Mode: 0o755}, nil)
}

// resetWorkDir empties /root, which is always there: it is where the seed is mounted.
func (t *tree) resetWorkDir() error {
	if t.seed == nil {
		return nil
	}
	if err := t.seed.Remove(""); err != nil {
		return err
	}
	return t.makeWorkDir()
}

// hide removes what lower layers have at a place and below it, or with inside only below it.
func (t *tree) hide(at location, inside bool) error {
	switch {
	case at.workDir:
		return t.hideWorkDir(inside)
	case at.path != "" || at.seed || t.seed == nil:
		return t.writer(at).RemoveOlder(at.path, inside)
	}
	if err := t.hideWorkDir(false); err != nil {
		return err
	}
	if err := t.rootfs.RemoveOlder("", true); err != nil {
		return err
	}
	if _, ok := t.rootfs.Type(workDir); ok {
		return nil
	}
	e, err := t.seed.Stat("")
	if err != nil {
		return err
	}
	return t.add(t.locate(workDir), e, nil)
}

// hideWorkDir removes what lower layers have in /root. Of the directory itself, which must stay, it resets the
// attributes, unless the present layer has something in it.
func (t *tree) hideWorkDir(inside bool) error {
	if err := t.seed.RemoveOlder("", true); err != nil {
		return err
	}
	names, err := t.seed.ReadDir("")
	if err != nil || inside || len(names) > 0 {
		return err
	}
	if err := t.rootfs.RemoveOlder(workDir, false); err != nil {
		return err
	}
	if _, ok := t.rootfs.Type(workDir); ok {
		return nil
	}
	return t.makeWorkDir()
}
