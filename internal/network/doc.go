// Package network is a VM's user-mode network: a TCP/IP stack in the shim's process on a point-to-point link to the
// guest. What the guest opens is opened again from ordinary sockets of the user, after [Policy] has agreed; no
// privilege, bridge or packet filter of the host is involved.
//
// Every guest sees the same addresses, so that a clone of a VM needs no new ones.
package network
