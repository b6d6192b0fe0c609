package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testLease = Lease{
	Address: netip.MustParsePrefix("10.0.2.15/24"),
	Server:  netip.MustParseAddr("10.0.2.2"),
	Router:  netip.MustParseAddr("10.0.2.2"),
	DNS:     netip.MustParseAddr("10.0.2.3"),
	MTU:     65520,
}

// client builds a message as a DHCP client does. options are appended as they are.
func client(kind byte, current string, options ...byte) []byte {
	m := make([]byte, fixedSize)
	m[0], m[1], m[2] = opRequest, ethernet, 6
	copy(m[4:8], "tran")
	m[10] = 0x80 // broadcast
	if current != "" {
		copy(m[12:16], netip.MustParseAddr(current).AsSlice())
	}
	copy(m[28:34], "RT\x00\x12\x34\x56")
	binary.BigEndian.PutUint32(m[236:], cookie)
	m = append(m, optPad, optType, 1, kind)
	return append(append(m, options...), optEnd)
}

// options decodes those of a reply.
func options(t *testing.T, reply []byte) map[byte]string {
	t.Helper()
	out := map[byte]string{}
	for rest := reply[fixedSize:]; ; {
		switch {
		case len(rest) == 0:
			t.Fatal("no end option")
		case rest[0] == optEnd:
			return out
		}
		out[rest[0]] = fmt.Sprintf("%d", rest[2:2+rest[1]])
		rest = rest[2+rest[1]:]
	}
}

func TestReply(t *testing.T) {
	full := map[byte]string{
		optServer: "[10 0 2 2]", optMask: "[255 255 255 0]", optRouter: "[10 0 2 2]", optDNS: "[10 0 2 3]",
		optMTU: "[255 240]", optLease: "[0 1 81 128]",
	}
	with := func(kind byte, without ...byte) map[byte]string {
		out := map[byte]string{optType: fmt.Sprintf("%d", []byte{kind})}
		for k, v := range full {
			out[k] = v
		}
		for _, k := range without {
			delete(out, k)
		}
		return out
	}
	ours := []byte{optRequested, 4, 10, 0, 2, 15}
	for _, tc := range []struct {
		name    string
		request []byte
		yours   string
		want    map[byte]string
	}{
		{"discover", client(discover, ""), "10.0.2.15", with(offer)},
		{"request what was offered", client(request, "", append(ours, optServer, 4, 10, 0, 2, 2)...), "10.0.2.15", with(ack)},
		{"request after a reboot", client(request, "", ours...), "10.0.2.15", with(ack)},
		{"renew", client(request, "10.0.2.15"), "10.0.2.15", with(ack)},
		{"renew another network's", client(request, "192.168.1.7"), "0.0.0.0", map[byte]string{optType: "[6]", optServer: "[10 0 2 2]"}},
		{"request another", client(request, "", optRequested, 4, 10, 0, 2, 99), "0.0.0.0", map[byte]string{optType: "[6]", optServer: "[10 0 2 2]"}},
		{"inform", client(inform, "10.0.2.15"), "0.0.0.0", with(ack, optLease)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			reply, err := Reply(tc.request, testLease)
			if err != nil {
				t.Fatal(err)
			}
			if len(reply) < minMessage {
				t.Errorf("%d bytes", len(reply))
			}
			if got := netip.AddrFrom4([4]byte(reply[16:20])).String(); got != tc.yours {
				t.Errorf("yiaddr %s, want %s", got, tc.yours)
			}
			if reply[0] != opReply || string(reply[4:8]) != "tran" || string(reply[28:34]) != "RT\x00\x12\x34\x56" || reply[10] != 0x80 {
				t.Error("not a reply to the client")
			}
			if diff := cmp.Diff(tc.want, options(t, reply)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReplyIgnores(t *testing.T) {
	edit := func(at int, value byte) []byte {
		m := client(discover, "")
		m[at] = value
		return m
	}
	for name, raw := range map[string][]byte{
		"empty":               nil,
		"short":               make([]byte, fixedSize-1),
		"a reply":             edit(0, opReply),
		"not Ethernet":        edit(1, 6),
		"no cookie":           edit(236, 0),
		"release":             client(release, "10.0.2.15"),
		"decline":             client(decline, ""),
		"unknown type":        client(77, ""),
		"BOOTP":               append(client(discover, "")[:fixedSize], optEnd),
		"to another server":   client(request, "", optServer, 4, 10, 9, 9, 9),
		"option without size": client(discover, "")[:fixedSize+2],
		"option cut off":      append(client(discover, "")[:fixedSize], optRequested, 200, 1),
	} {
		t.Run(name, func(t *testing.T) {
			if reply, err := Reply(raw, testLease); !errors.Is(err, ErrIgnored) || reply != nil {
				t.Errorf("got %d bytes, %v", len(reply), err)
			}
		})
	}
}

// FuzzDHCP: whatever a guest sends, it gets nothing or a reply of an acceptable size that is addressed to it.
func FuzzDHCP(f *testing.F) {
	f.Add(client(discover, ""))
	f.Add(client(request, "10.0.2.15", optServer, 4, 10, 0, 2, 2))
	f.Add(client(inform, "10.0.2.15"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		reply, err := Reply(raw, testLease)
		if err != nil {
			if !errors.Is(err, ErrIgnored) || reply != nil {
				t.Fatalf("got %d bytes, %v", len(reply), err)
			}
			return
		}
		if len(reply) < minMessage || len(reply) > 548 {
			t.Fatalf("%d bytes", len(reply))
		}
		if string(reply[4:8]) != string(raw[4:8]) || string(reply[28:44]) != string(raw[28:44]) {
			t.Fatal("not to the client")
		}
	})
}
