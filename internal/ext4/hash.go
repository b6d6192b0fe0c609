package ext4

import "math/bits"

// halfMD4 is the hash of directory names that the kernel calls half_md4 (ext4fs_dirhash): the major and the minor
// hash of name.
func halfMD4(name string, seed [4]uint32) (major, minor uint32) {
	state := seed
	for p := name; ; p = p[32:] {
		var in [8]uint32
		hashWords(p, in[:])
		halfMD4Transform(&state, &in)
		if len(p) <= 32 {
			break
		}
	}
	major = state[1] &^ 1
	if major == 0xfffffffe { // means the end of a directory to readdir
		major = 0xfffffffc
	}
	return major, state[2]
}

// hashWords is str2hashbuf_signed of the kernel: bytes are signed, and the length pads what is short.
func hashWords(p string, words []uint32) {
	pad := uint32(len(p)) | uint32(len(p))<<8
	pad |= pad << 16
	n := min(len(p), len(words)*4)
	val, at := pad, 0
	for i := range n {
		val = uint32(int32(int8(p[i]))) + val<<8
		if i%4 == 3 {
			words[at] = val
			val = pad
			at++
		}
	}
	if at < len(words) {
		words[at] = val
		at++
	}
	for ; at < len(words); at++ {
		words[at] = pad
	}
}

func halfMD4Transform(state *[4]uint32, in *[8]uint32) {
	f := func(x, y, z uint32) uint32 { return z ^ x&(y^z) }
	g := func(x, y, z uint32) uint32 { return x&y + (x^y)&z }
	h := func(x, y, z uint32) uint32 { return x ^ y ^ z }
	const k2, k3 = 0x5a827999, 0x6ed9eba1
	v := *state
	rounds := []struct {
		f     func(x, y, z uint32) uint32
		k     uint32
		order [8]int
		shift [4]int
	}{
		{f, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{g, k2, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{h, k3, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	}
	for _, r := range rounds {
		for i, word := range r.order {
			// a, d, c, b take turns
			a, b, c, d := (4-i%4)%4, (5-i%4)%4, (6-i%4)%4, (7-i%4)%4
			v[a] = bits.RotateLeft32(v[a]+r.f(v[b], v[c], v[d])+in[word]+r.k, r.shift[i%4])
		}
	}
	for i := range state {
		state[i] += v[i]
	}
}
