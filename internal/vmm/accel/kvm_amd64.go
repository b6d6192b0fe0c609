//go:build linux && amd64

package accel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests and constants of the kernel's include/uapi/linux/kvm.h, for x86.
const (
	kvmGetAPIVersion       = 0xae00
	kvmCreateVM            = 0xae01
	kvmGetVCPUMmapSize     = 0xae04
	kvmGetSupportedCPUID   = 0xc008ae05
	kvmCreateVCPU          = 0xae41
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmSetTSSAddr          = 0xae47
	kvmRun                 = 0xae80
	kvmSetRegs             = 0x4090ae82
	kvmGetSregs            = 0x8138ae83
	kvmSetSregs            = 0x4138ae84
	kvmSetCPUID2           = 0x4008ae90

	kvmAPIVersion = 12
	kvmExitIO     = 2

	cpuidEntries = 256
	cpuidSize    = 8 + 40*cpuidEntries
)

// runGuest runs the guest once and checks its result.
func runGuest() error {
	kvm, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = kvm.Close() }()
	if v, err := request("KVM_GET_API_VERSION", int(kvm.Fd()), kvmGetAPIVersion, 0); err != nil || v != kvmAPIVersion {
		return errors.Join(err, fmt.Errorf("KVM API version %d instead of %d", v, kvmAPIVersion))
	}
	vm, err := request("KVM_CREATE_VM", int(kvm.Fd()), kvmCreateVM, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(vm) }()
	memory, err := unix.Mmap(-1, 0, guestMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	loadGuest(memory)
	if err := setMemory(vm, memory); err != nil {
		return err
	}
	return runCPU(int(kvm.Fd()), vm)
}

func setMemory(vm int, memory []byte) error {
	// Intel CPUs without unrestricted guests need three pages of their own; elsewhere it does nothing.
	if _, err := request("KVM_SET_TSS_ADDR", vm, kvmSetTSSAddr, 0xfffbd000); err != nil {
		return err
	}
	at := uintptr(unsafe.Pointer(&memory[0])) //nolint:gosec // mapped memory does not move
	// struct kvm_userspace_memory_region: slot and flags, guest address, size, address here.
	region := [4]uint64{0, 0, uint64(len(memory)), uint64(at)}
	return requestAt("KVM_SET_USER_MEMORY_REGION", vm, kvmSetUserMemoryRegion, &region[0])
}

func runCPU(kvm, vm int) error {
	cpu, err := request("KVM_CREATE_VCPU", vm, kvmCreateVCPU, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(cpu) }()
	size, err := request("KVM_GET_VCPU_MMAP_SIZE", kvm, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return err
	}
	run, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer func() { _ = unix.Munmap(run) }()
	if err := setCPU(kvm, cpu); err != nil {
		return err
	}
	for {
		_, err := request("KVM_RUN", cpu, kvmRun, 0)
		if errors.Is(err, unix.EINTR) {
			continue // a signal of the Go scheduler
		}
		if err != nil {
			return err
		}
		return checkExit(run)
	}
}

// setCPU gives the CPU the host's features and starts it in real mode at guestEntry.
func setCPU(kvm, cpu int) error {
	var features [cpuidSize]byte
	binary.LittleEndian.PutUint32(features[:], cpuidEntries)
	if err := requestAt("KVM_GET_SUPPORTED_CPUID", kvm, kvmGetSupportedCPUID, &features[0]); err != nil {
		return err
	}
	if err := requestAt("KVM_SET_CPUID2", cpu, kvmSetCPUID2, &features[0]); err != nil {
		return err
	}
	// struct kvm_sregs begins with cs: base (8 bytes), limit (4), selector (2).
	var sregs [0x138]byte
	if err := requestAt("KVM_GET_SREGS", cpu, kvmGetSregs, &sregs[0]); err != nil {
		return err
	}
	clear(sregs[:8])
	clear(sregs[12:14])
	if err := requestAt("KVM_SET_SREGS", cpu, kvmSetSregs, &sregs[0]); err != nil {
		return err
	}
	// struct kvm_regs: 16 general registers, rip, rflags.
	var regs [18]uint64
	regs[16], regs[17] = guestEntry, 2
	return requestAt("KVM_SET_REGS", cpu, kvmSetRegs, &regs[0])
}

// checkExit reads struct kvm_run: the guest must have left by its last out instruction, with the right value.
func checkExit(run []byte) error {
	le := binary.LittleEndian
	if reason := le.Uint32(run[8:]); reason != kvmExitIO {
		return fmt.Errorf("the guest stopped with KVM exit %d", reason)
	}
	port, data := le.Uint16(run[34:]), le.Uint64(run[40:])
	if port != guestPort || data > uint64(len(run)-4) {
		return fmt.Errorf("the guest wrote to port %#x", port)
	}
	if got, want := le.Uint32(run[data:]), guestResult(); got != want {
		return fmt.Errorf("the guest computed %#x instead of %#x", got, want)
	}
	return nil
}

func request(name string, fd int, number, argument uintptr) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), number, argument)
	if errno != 0 {
		return 0, os.NewSyscallError(name, errno)
	}
	return int(n), nil
}

// requestAt passes the address of a structure that begins at first.
func requestAt[T any](name string, fd int, number uintptr, first *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), number,
		uintptr(unsafe.Pointer(first))) //nolint:gosec // kept alive for the call, as package unsafe's rule 4 has it
	if errno != 0 {
		return os.NewSyscallError(name, errno)
	}
	return nil
}
