package modules

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// The on-disk radix tree of kmod (libkmod/libkmod-index.c, tools/depmod.c in kmod's source, "Index file format").
// All integers are big-endian. A node's flags are the top bits of the offset that points to it.
const (
	trieMagic     = 0xB007F457
	trieVersion   = 0x00020001
	triePrefix    = 0x80000000 // the node has a prefix
	trieValues    = 0x40000000 // the node has values
	trieChildren  = 0x20000000 // the node has children
	trieOffsetMax = 0x0FFFFFFF
)

// trie maps keys to values, several to a key.
type trie struct{ root trieNode }

type trieNode struct {
	prefix   string
	values   []trieValue
	children map[byte]*trieNode
}

type trieValue struct {
	priority uint32 // lower comes first
	text     string
}

// insert adds a value to a key. Keys are 7-bit and have no NUL; see clean.
func (t *trie) insert(key, text string, priority int) {
	value := trieValue{priority: uint32(priority), text: text}
	node := &t.root
	for {
		common := commonPrefix(node.prefix, key)
		if common < len(node.prefix) {
			node.split(common)
		}
		key = key[common:]
		if key == "" {
			node.values = append(node.values, value)
			return
		}
		child, ok := node.children[key[0]]
		if !ok {
			node.add(key[0], &trieNode{prefix: key[1:], values: []trieValue{value}})
			return
		}
		node, key = child, key[1:]
	}
}

// split cuts the node's prefix at n, where a key leaves it.
func (n *trieNode) split(at int) {
	rest := &trieNode{prefix: n.prefix[at+1:], values: n.values, children: n.children}
	first := n.prefix[at]
	*n = trieNode{prefix: n.prefix[:at]}
	n.add(first, rest)
}

func (n *trieNode) add(first byte, child *trieNode) {
	if n.children == nil {
		n.children = map[byte]*trieNode{}
	}
	n.children[first] = child
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// encode returns the index's file.
func (t *trie) encode() ([]byte, error) {
	out := binary.BigEndian.AppendUint32(nil, trieMagic)
	out = binary.BigEndian.AppendUint32(out, trieVersion)
	out = binary.BigEndian.AppendUint32(out, 0)
	out, root := t.root.encode(out)
	if len(out) > trieOffsetMax {
		return nil, fmt.Errorf("a module index of %d bytes exceeds its format", len(out))
	}
	binary.BigEndian.PutUint32(out[8:], root)
	return out, nil
}

// encode appends the node's children, then the node, and returns the flagged offset of the node.
func (n *trieNode) encode(out []byte) ([]byte, uint32) {
	first, last := byte(math.MaxUint8), byte(0)
	for c := range n.children {
		first, last = min(first, c), max(last, c)
	}
	var offsets []uint32
	if len(n.children) > 0 {
		for c := int(first); c <= int(last); c++ {
			var at uint32 // 0: no such child
			if child, ok := n.children[byte(c)]; ok {
				out, at = child.encode(out)
			}
			offsets = append(offsets, at)
		}
	}
	at := uint32(len(out) & trieOffsetMax)
	if n.prefix != "" {
		out = append(append(out, n.prefix...), 0)
		at |= triePrefix
	}
	if len(offsets) > 0 {
		out = append(out, first, last)
		for _, o := range offsets {
			out = binary.BigEndian.AppendUint32(out, o)
		}
		at |= trieChildren
	}
	if len(n.values) > 0 {
		out = n.encodeValues(out)
		at |= trieValues
	}
	return out, at
}

func (n *trieNode) encodeValues(out []byte) []byte {
	slices.SortStableFunc(n.values, func(a, b trieValue) int {
		if a.priority != b.priority {
			return int(int64(a.priority) - int64(b.priority))
		}
		return strings.Compare(a.text, b.text)
	})
	out = binary.BigEndian.AppendUint32(out, uint32(len(n.values)))
	for _, v := range n.values {
		out = binary.BigEndian.AppendUint32(out, v.priority)
		out = append(append(out, v.text...), 0)
	}
	return out
}
