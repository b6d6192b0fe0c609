package pid1

import (
	"bufio"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMountPoints(t *testing.T) {
	for _, tc := range []struct {
		name string
		text string
		want []string
		err  error
	}{
		{
			name: "in order",
			text: "22 1 0:20 / / rw - overlay overlay rw\n23 22 0:5 / /dev rw shared:1 - devtmpfs devtmpfs rw\n",
			want: []string{"/", "/dev"},
		},
		{name: "escapes", text: `1 1 0:1 / /a\040b\134c\011 rw - x x rw`, want: []string{"/a b\\c\t"}},
		{name: "no escape", text: `1 1 0:1 / /a\9x\0 rw - x x rw`, want: []string{`/a\9x\0`}},
		{name: "malformed", text: "1 2 3\n1 1 0:1 / /ok rw - x x rw", want: []string{"/ok"}, err: errMountInfo},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := mountPoints(bufio.NewScanner(strings.NewReader(tc.text)))
			if !errors.Is(err, tc.err) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIsKernels(t *testing.T) {
	for path, want := range map[string]bool{"/proc": true, "/dev/pts": true, "/devel": false, "/root": false, "/": false} {
		if isKernels(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}
