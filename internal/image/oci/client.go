package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/banger-dev/banger/internal/errdefs"
)

// get reads a small document from the registry. A digest that the registry states must be the content's.
func (s *registrySource) get(ctx context.Context, path string, want v1.Hash) (document, error) {
	header := http.Header{}
	if strings.HasPrefix(path, "manifests/") {
		header = manifestHeader()
	}
	resp, err := s.do(ctx, http.MethodGet, path, header)
	if err != nil {
		return document{}, s.unreachable(err)
	}
	defer resp.Body.Close()
	if err := s.status(resp, http.StatusOK); err != nil {
		return document{}, err
	}
	if stated, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest")); err == nil && want.Algorithm == "" {
		want = stated
	}
	raw, digest, err := readDocument(resp.Body, want)
	if err != nil {
		return document{}, s.unreachable(fmt.Errorf("%s: %w", path, err))
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return document{digest: digest, kind: types.MediaType(strings.TrimSpace(kind)), raw: raw}, nil
}

// blob implements remote.
func (s *registrySource) blob(ctx context.Context, d v1.Descriptor, offset int64, validator string) (*segment, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, d.Size-1)) // not all registries know an open end
		if validator != "" {
			header.Set("If-Range", validator)
		}
	}
	resp, err := s.do(ctx, http.MethodGet, "blobs/"+d.Digest.String(), header)
	if err != nil {
		return nil, err
	}
	if err := s.status(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		resp.Body.Close()
		return nil, err
	}
	seg := &segment{body: resp.Body, validator: strongETag(resp.Header)}
	if resp.StatusCode == http.StatusPartialContent {
		seg.offset, err = rangeStart(resp.Header.Get("Content-Range"))
		if err != nil || seg.offset > offset {
			resp.Body.Close()
			return nil, errdefs.New(errdefs.ErrInvalid, "the registry answers a request for bytes from %d on with %q", offset, printable(resp.Header.Get("Content-Range")))
		}
	}
	return seg, nil
}

// strongETag returns what If-Range may carry: RFC 9110, section 13.1.5.
func strongETag(h http.Header) string {
	tag := h.Get("ETag")
	if strings.HasPrefix(tag, `"`) && strings.HasSuffix(tag, `"`) && len(tag) > 2 {
		return tag
	}
	return ""
}

// rangeStart reads "bytes 5-9/10".
func rangeStart(s string) (int64, error) {
	s, ok := strings.CutPrefix(s, "bytes ")
	first, _, dash := strings.Cut(s, "-")
	if !ok || !dash {
		return 0, fmt.Errorf("content range %q", s)
	}
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("content range %q", s)
	}
	return n, nil
}

// do sends a request for something in the repository. An error without a class is the network's.
func (s *registrySource) do(ctx context.Context, method, path string, header http.Header) (*http.Response, error) {
	client, base, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+"/"+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return nil, scrubError(err)
	}
	return resp, nil
}

func manifestHeader() http.Header {
	h := http.Header{}
	for _, t := range []types.MediaType{
		types.OCIImageIndex, types.DockerManifestList, types.OCIManifestSchema1, types.DockerManifestSchema2,
	} {
		h.Add("Accept", string(t))
	}
	return h
}

// connect finds out how to speak with the registry, once.
func (s *registrySource) connect(ctx context.Context) (*http.Client, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil {
		return s.client, s.base, nil
	}
	if s.req.Policy == PullNever {
		return nil, "", s.notCached()
	}
	host := s.ref.Host
	if host == "docker.io" {
		host = name.DefaultRegistry
	}
	var options []name.Option
	if s.req.Insecure {
		options = append(options, name.Insecure)
	}
	repo, err := name.NewRepository(host+"/"+s.ref.Repo, options...)
	if err != nil {
		return nil, "", errdefs.As(errdefs.ErrInvalid, err)
	}
	pool, err := s.p.pool(s.req.Insecure, s.req.CAFile)
	if err != nil {
		return nil, "", err
	}
	auth, err := s.p.credentials(ctx, s.ref, s.req.AuthFile)
	if err != nil {
		return nil, "", err
	}
	var rt http.RoundTripper = &plainGuard{inner: pool, insecure: s.req.Insecure, registry: repo.RegistryStr()}
	rt = transport.NewUserAgent(&retryTransport{inner: rt, policy: s.p.retry}, s.p.o.UserAgent)
	authorized, err := transport.NewWithContext(ctx, repo.Registry, auth, rt, []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, "", s.refused(err, auth)
	}
	s.client = &http.Client{Transport: authorized}
	s.base = "https://" + repo.RegistryStr() + "/v2/" + repo.RepositoryStr() // the transport knows when it is http
	return s.client, s.base, nil
}

// refused explains why the first contact failed.
func (s *registrySource) refused(err error, auth authn.Authenticator) error {
	var e *transport.Error
	if errors.As(err, &e) && !isCertificate(err) { // the first attempt's certificate explains what plain HTTP got
		return s.denied(e.StatusCode, scrubError(err), auth != authn.Anonymous)
	}
	return s.unreachable(err)
}

// status turns an answer that is none of codes into an error.
func (s *registrySource) status(resp *http.Response, codes ...int) error {
	err := transport.CheckError(resp, codes...)
	if err == nil {
		return nil
	}
	return s.denied(resp.StatusCode, scrubError(err), true)
}

func (s *registrySource) denied(status int, err error, known bool) error {
	switch status {
	case http.StatusNotFound:
		return errdefs.As(errdefs.ErrNotFound, err)
	case http.StatusUnauthorized, http.StatusForbidden:
		hint := "it does not exist, or the credentials for %[1]s do not allow it: docker login %[1]s or podman login %[1]s"
		if !known {
			hint = "no credentials for %[1]s were found: docker login %[1]s or podman login %[1]s"
		}
		return errdefs.WithHint(errdefs.As(errdefs.ErrUnavailable, err), hint, s.ref.Host)
	}
	return errdefs.As(errdefs.ErrUnavailable, err)
}

// unreachable puts what has no class yet, which is the network's, into errdefs.ErrUnavailable. Its text has no secrets.
func (s *registrySource) unreachable(err error) error {
	scrubbed := scrubError(err)
	if errors.Is(err, context.Canceled) || errdefs.Class(err) != nil {
		return scrubbed
	}
	if isCertificate(err) {
		return errdefs.WithHint(errdefs.As(errdefs.ErrUnavailable, scrubbed), "--ca FILE trusts the registry's own authority, --insecure anyone")
	}
	return errdefs.As(errdefs.ErrUnavailable, scrubbed)
}
