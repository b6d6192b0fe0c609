package oci

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/banger-dev/banger/internal/errdefs"
)

// credentialFile is the part of docker's config.json, and of podman's auth.json, that tells credentials. See
// https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5).
type credentialFile struct {
	Auths       map[string]credentialEntry `json:"auths"`
	CredHelpers map[string]string          `json:"credHelpers"` // registry: program
	CredsStore  string                     `json:"credsStore"`  // program for all others
}

type credentialEntry struct {
	Auth          string `json:"auth"` // base64 of user:password
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

const (
	maxCredentialFile = 4 << 20
	helperTimeout     = 30 * time.Second
)

// credentials looks for what the user has for ref's registry, in the first file that has something. Whoever has nothing is
// anonymous.
func (p *Puller) credentials(ctx context.Context, ref Reference, first string) (authn.Authenticator, error) {
	for _, path := range append([]string{first}, p.credentialFiles()...) {
		if path == "" {
			continue
		}
		file, err := readCredentialFile(path)
		if errors.Is(err, fs.ErrNotExist) && path != first {
			continue
		}
		if err != nil {
			return nil, errdefs.New(errdefs.ErrUnavailable, "credential file %s: %w", path, err)
		}
		auth, err := file.lookup(ctx, ref)
		if err != nil {
			return nil, errdefs.New(errdefs.ErrUnavailable, "credential file %s: %w", path, err)
		}
		if auth != (authn.AuthConfig{}) {
			return authn.FromConfig(auth), nil
		}
	}
	return authn.Anonymous, nil
}

// credentialFiles lists where docker and podman put credentials; what the user named in the environment comes first.
func (p *Puller) credentialFiles() []string {
	env := func(key string, rest ...string) string {
		v, _ := p.o.Env(key)
		if v == "" {
			return ""
		}
		return filepath.Join(append([]string{v}, rest...)...)
	}
	docker := env("DOCKER_CONFIG", "config.json")
	if docker == "" {
		docker = env("HOME", ".docker", "config.json")
	}
	podman := env("XDG_CONFIG_HOME", "containers", "auth.json")
	if podman == "" {
		podman = env("HOME", ".config", "containers", "auth.json")
	}
	return []string{env("REGISTRY_AUTH_FILE"), docker, env("XDG_RUNTIME_DIR", "containers", "auth.json"), podman}
}

// readCredentialFile never puts the content into its error.
func readCredentialFile(path string) (credentialFile, error) {
	var c credentialFile
	info, err := os.Stat(path)
	if err != nil {
		return c, unpathed(err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxCredentialFile {
		return c, errors.New("it is not a regular file of reasonable size")
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return c, unpathed(err)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return c, nil
	}
	if json.Unmarshal(raw, &c) != nil { // its error could quote a secret
		return c, errors.New("it is not JSON of the form that docker and podman write")
	}
	return c, nil
}

func unpathed(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// lookup returns the credentials for ref, or none. An entry for a longer part of the name goes first, as in podman.
func (c credentialFile) lookup(ctx context.Context, ref Reference) (authn.AuthConfig, error) {
	for _, key := range credentialKeys(ref) {
		if helper := c.CredHelpers[key]; helper != "" {
			return askHelper(ctx, helper, key)
		}
		if entry, ok := c.entry(key); ok {
			if a := entry.config(); a != (authn.AuthConfig{}) {
				return a, nil
			}
		}
	}
	if c.CredsStore == "" {
		return authn.AuthConfig{}, nil
	}
	for _, key := range hostKeys(ref.Host) {
		a, err := askHelper(ctx, c.CredsStore, key)
		if err != nil || a != (authn.AuthConfig{}) {
			return a, err
		}
	}
	return authn.AuthConfig{}, nil
}

// entry finds key in auths, whose keys may be URLs.
func (c credentialFile) entry(key string) (credentialEntry, bool) {
	if e, ok := c.Auths[key]; ok {
		return e, true
	}
	for k, e := range c.Auths {
		k = strings.TrimPrefix(strings.TrimPrefix(k, "https://"), "http://")
		if host, _, _ := strings.Cut(k, "/"); host == key && strings.Contains(k, "/v") || strings.TrimSuffix(k, "/") == key {
			return e, true
		}
	}
	return credentialEntry{}, false
}

// credentialKeys are host/a/b, host/a and host for host/a/b.
func credentialKeys(ref Reference) []string {
	var keys []string
	for repo := ref.Repo; repo != ""; {
		keys = append(keys, ref.Host+"/"+repo)
		i := strings.LastIndexByte(repo, '/')
		repo = repo[:max(i, 0)]
	}
	return append(keys, hostKeys(ref.Host)...)
}

// hostKeys are the names of a registry; Docker Hub has a historical one.
func hostKeys(host string) []string {
	if host == "docker.io" {
		return []string{authn.DefaultAuthKey, "docker.io", "index.docker.io", "registry-1.docker.io"}
	}
	return []string{host}
}

func (e credentialEntry) config() authn.AuthConfig {
	a := authn.AuthConfig{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if raw, err := base64.StdEncoding.DecodeString(e.Auth); err == nil && len(raw) > 0 && a.Username == "" {
		user, password, _ := strings.Cut(string(raw), ":")
		a.Username, a.Password = user, strings.TrimRight(password, "\x00")
	}
	if a.IdentityToken != "" { // it stands for the password
		a.Password = ""
	}
	return a
}

// askHelper runs docker-credential-NAME, which gets the registry on standard input and answers in JSON. Nothing that it
// prints goes into an error.
func askHelper(ctx context.Context, helper, key string) (authn.AuthConfig, error) {
	if helper != filepath.Base(helper) {
		return authn.AuthConfig{}, errdefs.New(errdefs.ErrInvalid, "credential helper %q is not a plain name", helper)
	}
	ctx, cancel := context.WithTimeout(ctx, helperTimeout)
	defer cancel()
	program := "docker-credential-" + helper
	cmd := exec.CommandContext(ctx, program, "get")
	cmd.Stdin = strings.NewReader(key)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return authn.AuthConfig{}, context.Cause(ctx)
		}
		if bytes.Contains(out, []byte("credentials not found")) {
			return authn.AuthConfig{}, nil
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return authn.AuthConfig{}, errdefs.New(errdefs.ErrUnavailable, "%s ended with status %d", program, exit.ExitCode())
		}
		return authn.AuthConfig{}, errdefs.New(errdefs.ErrUnavailable, "%s: %w", program, err)
	}
	var answer struct{ Username, Secret string }
	if json.Unmarshal(out, &answer) != nil {
		return authn.AuthConfig{}, errdefs.New(errdefs.ErrUnavailable, "%s did not answer in JSON", program)
	}
	if answer.Username == "<token>" { // see docker's credential helper protocol
		return authn.AuthConfig{Username: answer.Username, IdentityToken: answer.Secret}, nil
	}
	return authn.AuthConfig{Username: answer.Username, Password: answer.Secret}, nil
}
