package ext4

import (
	"encoding/binary"
	"hash/crc32"
)

// le is the byte order of everything on disk but the journal.
var le = binary.LittleEndian

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc32c continues a checksum the way the kernel does: without the inversions of the usual CRC-32C.
func crc32c(seed uint32, p []byte) uint32 { return ^crc32.Update(^seed, castagnoli, p) }

func crc32cUint32(seed, v uint32) uint32 {
	var b [4]byte
	le.PutUint32(b[:], v)
	return crc32c(seed, b[:])
}

func crc32cUint64(seed uint32, v uint64) uint32 {
	var b [8]byte
	le.PutUint64(b[:], v)
	return crc32c(seed, b[:])
}

// uuidSeed starts every metadata checksum of a file system.
func uuidSeed(uuid [16]byte) uint32 { return crc32c(^uint32(0), uuid[:]) }

// inodeSeed starts the checksums of what belongs to one inode. Generations are always 0 here.
func inodeSeed(fsSeed, ino uint32) uint32 { return crc32cUint32(crc32cUint32(fsSeed, ino), 0) }
