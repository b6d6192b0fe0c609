package ext4

import "crypto/sha256"

const attrMaxRefs = 1024 // inodes that may share a block

// attrs is one set of attributes, shared by all inodes that have just these.
type attrs struct {
	key    [sha256.Size]byte
	inline string // the end of the inode
	block  uint64 // 0: none
	refs   uint32
	sealed bool // the block on disk knows refs
}

// attrPool finds sets by their content.
type attrPool map[[sha256.Size]byte]*attrs

// useAttrs returns the set for m, whose block it writes when the set is new.
func (w *Writer) useAttrs(m map[string][]byte) (*attrs, error) {
	if len(m) == 0 {
		return nil, nil
	}
	list, err := newAttrs(m)
	if err != nil {
		return nil, err
	}
	inline, block, err := splitAttrs(list)
	if err != nil {
		return nil, err
	}
	set := &attrs{inline: encodeInlineAttrs(inline), refs: 1}
	var content []byte
	if len(block) > 0 {
		content = encodeAttrBlock(block)
	}
	set.key = sha256.Sum256(append([]byte(set.inline), content...))
	if old := w.attrs[set.key]; old != nil && (old.refs < attrMaxRefs || old.block == 0) {
		old.refs++
		return old, nil
	}
	if content != nil {
		if set.block, err = w.writeAttrBlock(content); err != nil {
			return nil, err
		}
	}
	w.attrs[set.key] = set
	return set, nil
}

func (w *Writer) writeAttrBlock(content []byte) (uint64, error) {
	r, err := w.alloc.alloc(1)
	if err != nil {
		return 0, err
	}
	sealAttrBlock(content, 1, w.seed, r.start)
	return r.start, w.dev.writeBlock(r.start, content)
}

// dropAttrs is called when an inode no longer has the set.
func (w *Writer) dropAttrs(set *attrs) {
	if set == nil {
		return
	}
	set.refs--
	if set.refs > 0 {
		return
	}
	if w.attrs[set.key] == set {
		delete(w.attrs, set.key)
	}
	if set.block != 0 {
		w.release(run{set.block, 1})
	}
}

// sealShared writes the final reference counts of the blocks that several inodes use.
func (w *Writer) sealShared() error {
	var b [blockSize]byte
	for ino := uint32(rootIno); ino <= w.nodes.last; ino++ {
		set := w.nodes.get(ino).attrs
		if set == nil || set.block == 0 || set.sealed {
			continue
		}
		set.sealed = true
		if err := w.dev.readBlock(set.block, b[:]); err != nil {
			return err
		}
		if le.Uint32(b[4:]) == set.refs {
			continue
		}
		sealAttrBlock(b[:], set.refs, w.seed, set.block)
		if err := w.dev.writeBlock(set.block, b[:]); err != nil {
			return err
		}
	}
	return nil
}

func (w *Writer) readAttrs(set *attrs) (map[string][]byte, error) {
	if set == nil {
		return nil, nil
	}
	m := make(map[string][]byte)
	if set.inline != "" {
		decodeAttrs(m, []byte(set.inline), attrInlineHead, attrInlineHead)
	}
	if set.block != 0 {
		var b [blockSize]byte
		if err := w.dev.readBlock(set.block, b[:]); err != nil {
			return nil, err
		}
		decodeAttrs(m, b[:], attrBlockHead, 0)
	}
	return m, nil
}
