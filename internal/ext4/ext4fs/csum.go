package ext4fs

import "hash/crc32"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c continues a checksum the way the kernel does: without the inversions of the usual CRC-32C.
func crc32c(seed uint32, p ...[]byte) uint32 {
	for _, b := range p {
		seed = ^crc32.Update(^seed, castagnoli, b)
	}
	return seed
}

func le32(v uint32) []byte { return le.AppendUint32(nil, v) }
func le64(v uint64) []byte { return le.AppendUint64(nil, v) }
