package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/banger-dev/banger/internal/publish"
)

// Sweep puts right what a crash has left: it removes staging directories that no live process uses and directories
// without a record, and logs the images whose files are gone. It is called at the daemon's start, before any other
// method. It goes on after an error, and returns all of them.
func (s *Service) Sweep(ctx context.Context) error {
	images, err := s.records.Images(ctx)
	if err != nil {
		return fmt.Errorf("sweep images: %w", err)
	}
	recorded := make(map[string]bool, len(images))
	for _, i := range images {
		recorded[i.ID] = true
		if err := missing(i); err != nil {
			s.log.Error("image is not usable", "image", i.Name, "error", err)
		}
	}
	if err := errors.Join(s.sweepStaging(), s.sweepPublished(recorded)); err != nil { //nolint:contextcheck // bounded by itself
		return fmt.Errorf("sweep images: %w", err)
	}
	return nil
}

// Problems returns an error for each image whose files are gone.
func (s *Service) Problems(ctx context.Context) (map[string]error, error) {
	images, err := s.List(ctx)
	if err != nil {
		return nil, err
	}
	problems := map[string]error{}
	for _, i := range images {
		if err := missing(i); err != nil {
			problems[i.Name] = err
		}
	}
	return problems, nil
}

func (s *Service) sweepPublished(recorded map[string]bool) error {
	entries, err := os.ReadDir(s.dirs.Images())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if recorded[e.Name()] {
			continue
		}
		s.log.Warn("removing an image directory that has no record", "id", e.Name())
		errs = append(errs, os.RemoveAll(filepath.Join(s.dirs.Images(), e.Name())))
	}
	return errors.Join(errs...)
}

func (s *Service) sweepStaging() error {
	removed, err := publish.Sweep(s.dirs.Staging())
	for _, name := range removed {
		s.log.Warn("removed what was left unfinished", "staging", name)
	}
	return err
}
