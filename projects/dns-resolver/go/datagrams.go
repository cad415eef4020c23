package main

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	addressBytes = unix.SizeofSockaddrInet6
	controlBytes = 64
)

// mmsghdr is a message of recvmmsg and sendmmsg.
type mmsghdr struct {
	unix.Msghdr
	length uint32
	_      [4]byte
}

// datagrams is a batch of packets with their addresses, read or written by one system call.
// The kernel is given pointers into it: it is made once and never moves.
type datagrams struct {
	received, unsent []mmsghdr
	vectors          []unix.Iovec // of received, then of unsent
	addresses        [][addressBytes]byte
	controls         [][controlBytes]byte
	space            []byte
	slotBytes        int
	filled           int // slots of received that the last read changed
	queued           int
}

func newDatagrams(count, slotBytes int) *datagrams {
	d := &datagrams{
		received: make([]mmsghdr, count), unsent: make([]mmsghdr, count), vectors: make([]unix.Iovec, 2*count),
		addresses: make([][addressBytes]byte, count), controls: make([][controlBytes]byte, count),
		space: make([]byte, count*slotBytes), slotBytes: slotBytes, filled: count,
	}
	for i := range count {
		d.vectors[i] = unix.Iovec{Base: &d.space[i*slotBytes], Len: uint64(slotBytes)}
		d.vectors[count+i].Base = &d.space[i*slotBytes]
		d.received[i].Msghdr = unix.Msghdr{Name: &d.addresses[i][0], Iov: &d.vectors[i], Iovlen: 1, Control: &d.controls[i][0]}
	}
	return d
}

// receive reads what is there, up to a slot each; 0: nothing.
func (d *datagrams) receive(fd int, flags int) int {
	for i := range d.received[:d.filled] {
		m := &d.received[i]
		m.Namelen, m.Controllen = addressBytes, controlBytes
	}
	// The batch stays alive to the end of the call, and the call does not block.
	count, _, code := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.received[0])), uintptr(len(d.received)),
		uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	if code != 0 {
		count = 0
	}
	d.filled = int(count)
	return d.filled
}

// slot is the whole room of a packet; the rest of it is there for an answer.
func (d *datagrams) slot(i int) []byte { return d.space[i*d.slotBytes : (i+1)*d.slotBytes] }

// packet is what came in a slot, and whether that was all.
func (d *datagrams) packet(i int) (packet []byte, whole bool) {
	m := &d.received[i]
	return d.slot(i)[:m.length], m.Flags&unix.MSG_TRUNC == 0
}

// from is the address that a packet came from.
func (d *datagrams) from(i int) netip.AddrPort { return decodeAddress(d.addresses[i][:]) }

// sender is who sent a packet, and where to: what it takes to answer later.
type sender struct {
	address                    [addressBytes]byte
	control                    [controlBytes]byte
	addressLength, controlUsed uint8
}

func (d *datagrams) sender(i int) (s sender) {
	m := &d.received[i]
	s.address, s.addressLength = d.addresses[i], uint8(m.Namelen)
	s.control, s.controlUsed = d.controls[i], uint8(m.Controllen)
	return s
}

// answer queues the first bytes of a slot to be sent to where its packet came from.
func (d *datagrams) answer(i, length int) {
	m := &d.received[i]
	d.queue(i, length, m.Namelen, m.Controllen)
}

// post queues a packet in the next slot of a batch that only sends. It says whether there is room for more.
func (d *datagrams) post(to *sender, length int) (more bool) {
	i := d.queued
	d.addresses[i], d.controls[i] = to.address, to.control
	d.queue(i, length, uint32(to.addressLength), uint64(to.controlUsed))
	return d.queued < len(d.unsent)
}

func (d *datagrams) queue(i, length int, addressLength uint32, controlUsed uint64) {
	vector := &d.vectors[len(d.received)+i]
	vector.Len = uint64(length)
	m := &d.unsent[d.queued]
	m.Msghdr = unix.Msghdr{Name: &d.addresses[i][0], Namelen: addressLength, Iov: vector, Iovlen: 1}
	if controlUsed > 0 {
		m.Control, m.Controllen = &d.controls[i][0], controlUsed
	}
	d.queued++
}

// send sends all that is queued. What the kernel does not take is lost, as datagrams may be.
func (d *datagrams) send(fd int) {
	for at := 0; at < d.queued; {
		// As above.
		count, _, code := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&d.unsent[at])), uintptr(d.queued-at),
			unix.MSG_DONTWAIT, 0, 0)
		switch code {
		case 0:
			at += int(count)
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			at = d.queued
		default: // the first one cannot be sent; the others may
			at++
		}
	}
	d.queued = 0
}

// --- addresses ---

// encodeAddress writes an address as the kernel wants it, and returns its length.
func encodeAddress(to []byte, address netip.AddrPort) int {
	port := address.Port()
	to[2], to[3] = byte(port>>8), byte(port)
	if address.Addr().Is4() {
		binary.NativeEndian.PutUint16(to, unix.AF_INET)
		four := address.Addr().As4()
		copy(to[4:], four[:])
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(to, unix.AF_INET6)
	sixteen := address.Addr().As16()
	copy(to[8:], sixteen[:])
	return unix.SizeofSockaddrInet6
}

func decodeAddress(from []byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(from[2:])
	if binary.NativeEndian.Uint16(from) == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(from[4:8])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16([16]byte(from[8:24])).Unmap(), port)
}

// socketAddress is an address for calls that take one of the package unix.
func socketAddress(address netip.AddrPort) (unix.Sockaddr, int) {
	if address.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(address.Port()), Addr: address.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(address.Port()), Addr: address.Addr().As16()}, unix.AF_INET6
}

// boundAddress is where a socket is bound to.
func boundAddress(fd int) (netip.AddrPort, error) {
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch a := bound.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}

// sendTo sends one datagram.
func sendTo(fd int, packet, address []byte) unix.Errno {
	// Neither slice is empty, both stay alive to the end of the call, and it does not block.
	_, _, code := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&address[0])), uintptr(len(address)))
	return code
}
