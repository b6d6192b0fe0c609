// Package guestproto is the line protocol between the contract suite and the guests that it boots, real and fake.
package guestproto

// Ready is the first line that the guest sends; ConsoleReady is what it prints to its console just before.
const (
	Ready        = "testguest ready"
	ConsoleReady = "testguest: hello, console"
)

// The commands. The suite sends a line "<verb> <argument>"; the guest answers as written.
const (
	Echo     = "echo"     // argument: n; the next n bytes come back
	Disks    = "disks"    // a JSON array of Disk on one line
	Network  = "net"      // "ok <mac>", then one frame of EtherType comes back with its addresses swapped
	Write    = "write"    // arguments: disk, offset; "ok" when a sector there was written and flushed
	Print    = "print"    // the argument goes to the console; "ok"
	Poweroff = "poweroff" // no answer
	Reboot   = "reboot"   // no answer
	Panic    = "panic"    // no answer
)

// EtherType marks the suite's frames: IEEE 802's local experimental type 1.
const EtherType = 0x88b5

// Disk is a block device as the guest sees it.
type Disk struct {
	Name       string `json:"name"`
	Serial     string `json:"serial"`
	ReadOnly   bool   `json:"read_only"`
	Sectors    int64  `json:"sectors"`     // of 512 bytes
	WriteCache string `json:"write_cache"` // "write back" when the guest may flush
	Discard    bool   `json:"discard"`
}
