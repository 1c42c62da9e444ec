// Command kvm-guest starts a virtual machine through /dev/kvm, runs a few instructions of
// real mode in it, and prints what the guest writes to a port (Linux,
// Documentation/virt/kvm/api.rst).
package main

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of ioctl, of the KVM API for x86-64.
const (
	getAPIVersion    = 0xae00
	createVM         = 0xae01
	vcpuMmapSize     = 0xae04
	createVCPU       = 0xae41
	setUserMemory    = 0x4020ae46
	setTSSAddress    = 0xae47
	run              = 0xae80
	setRegs          = 0x4090ae82
	getSregs         = 0x8138ae83
	setSregs         = 0x4138ae84
	exitIO           = 2
	exitHLT          = 5
	guestMemory      = 0x1000
	port             = 0x3f8
	offsetExitReason = 8
	offsetExit       = 32
)

func main() {
	said, err := guest()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kvm-guest:", err)
		os.Exit(1)
	}
	fmt.Println("the guest says:", said)
}

func ioctl(fd, request, arg uintptr) (uintptr, error) {
	r, _, e := unix.Syscall(unix.SYS_IOCTL, fd, request, arg)
	if e != 0 {
		return 0, fmt.Errorf("request %#x: %w", request, e)
	}
	return r, nil
}

// program writes a text to the port, a byte at a time, and halts.
func program(text string) (code []byte) {
	code = []byte{0xba, port & 0xff, port >> 8} // mov dx, port
	for _, c := range []byte(text) {
		code = append(code, 0xb0, c, 0xee) // mov al, c; out dx, al
	}
	return append(code, 0xf4) // hlt
}

func guest() (said string, err error) {
	kvm, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open /dev/kvm: %w", err)
	}
	if v, err := ioctl(uintptr(kvm), getAPIVersion, 0); err != nil || v != 12 {
		return "", fmt.Errorf("version %d of the API: %w", v, err)
	}
	vm, err := ioctl(uintptr(kvm), createVM, 0)
	if err != nil {
		return "", err
	}
	if _, err := ioctl(vm, setTSSAddress, 0xfffbd000); err != nil {
		return "", err
	}
	memory, err := unix.Mmap(-1, 0, guestMemory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return "", err
	}
	copy(memory, program("hello from a guest"))
	region := struct {
		slot, flags         uint32
		guest, size, memory uint64
	}{guest: guestMemory, size: guestMemory, memory: uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if _, err := ioctl(vm, setUserMemory, uintptr(unsafe.Pointer(&region))); err != nil {
		return "", err
	}
	cpu, err := ioctl(vm, createVCPU, 0)
	if err != nil {
		return "", err
	}
	size, err := ioctl(uintptr(kvm), vcpuMmapSize, 0)
	if err != nil {
		return "", err
	}
	state, err := unix.Mmap(int(cpu), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return "", err
	}
	var sregs [312]byte
	if _, err := ioctl(cpu, getSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return "", err
	}
	clear(sregs[:8])    // cs: base
	clear(sregs[12:14]) // cs: selector
	if _, err := ioctl(cpu, setSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return "", err
	}
	var regs [18]uint64
	regs[16], regs[17] = guestMemory, 2 // rip, rflags
	if _, err := ioctl(cpu, setRegs, uintptr(unsafe.Pointer(&regs))); err != nil {
		return "", err
	}
	for {
		if _, err := ioctl(cpu, run, 0); err != nil {
			return said, err
		}
		switch reason := *(*uint32)(unsafe.Pointer(&state[offsetExitReason])); reason {
		case exitHLT:
			return said, nil
		case exitIO: // direction, size, port, count, offset of the data
			at := *(*uint16)(unsafe.Pointer(&state[offsetExit+2]))
			data := *(*uint64)(unsafe.Pointer(&state[offsetExit+8]))
			if at != port || len(said) > 100 {
				return said, fmt.Errorf("it writes to port %#x", at)
			}
			said += string(state[data : data+1])
		default:
			return said, fmt.Errorf("it ended for reason %d", reason)
		}
	}
}
