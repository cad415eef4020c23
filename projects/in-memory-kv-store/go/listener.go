package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	acceptsAtOnce = 64
	backlog       = 511
	keepAliveSecs = 300
)

// listener is a socket that accepts.
type listener struct {
	fd         int
	where      listenAddress
	shown      string // the real address
	paused     bool   // no file descriptor was left
	complained bool
}

func (from *listener) isTCP() bool { return from.where.unixPath == "" }

func (from *listener) close() {
	unix.Close(from.fd)
	if !from.isTCP() {
		os.Remove(from.where.unixPath)
	}
}

// addresses are the two ends of a connection as CLIENT LIST shows them.
func (from *listener) addresses(peer unix.Sockaddr) (address, local string) {
	if from.isTCP() {
		return socketText(peer), from.shown
	}
	return from.where.unixPath + ":0", from.where.unixPath + ":0"
}

func socketText(address unix.Sockaddr) string {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), fmt.Sprint(a.Port))
	case *unix.SockaddrInet6:
		return net.JoinHostPort(net.IP(a.Addr[:]).String(), fmt.Sprint(a.Port))
	}
	return ""
}

// listen opens all addresses; the first loop accepts for all.
func (srv *server) listen() error {
	first := srv.loops[0]
	for _, where := range srv.options.listen {
		from, err := openListener(where)
		if err != nil {
			return badRequest("--listen %s: %v", where.text, err)
		}
		first.listeners = append(first.listeners, from)
		if err := first.watch(unix.EPOLL_CTL_ADD, from.fd, unix.EPOLLIN); err != nil {
			return machineFailure("--listen %s: %v", where.text, err)
		}
	}
	return nil
}

func openListener(where listenAddress) (*listener, error) {
	family := unix.AF_INET
	switch where.socket.(type) {
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	case *unix.SockaddrUnix:
		family = unix.AF_UNIX
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	from := &listener{fd: fd, where: where, shown: where.text}
	if from.isTCP() {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	err = unix.Bind(fd, where.socket)
	if err == unix.EADDRINUSE && !from.isTCP() && isStale(where.socket) {
		os.Remove(where.unixPath)
		err = unix.Bind(fd, where.socket)
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err == nil && from.isTCP() {
		var bound unix.Sockaddr
		if bound, err = unix.Getsockname(fd); err == nil {
			from.shown = socketText(bound)
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return from, nil
}

// isStale tells if a socket file was left behind by a process that is gone.
func isStale(address unix.Sockaddr) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return unix.Connect(fd, address) == unix.ECONNREFUSED
}

func (l *loop) accept(from *listener) {
	for range acceptsAtOnce {
		fd, peer, err := unix.Accept4(from.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == unix.EAGAIN {
			return
		}
		if err == unix.EMFILE || err == unix.ENFILE || err == unix.ENOBUFS || err == unix.ENOMEM {
			l.pauseAccepting(from, err)
			return
		}
		if err == nil {
			l.welcome(fd, peer, from)
		}
	}
}

// pauseAccepting leaves new connections in the queue until the next tick; without it the loop would spin.
func (l *loop) pauseAccepting(from *listener, err error) {
	if !from.complained {
		fmt.Fprintf(os.Stderr, "cannot accept a connection: %v\n", err)
	}
	from.paused, from.complained = true, true
	l.watch(unix.EPOLL_CTL_MOD, from.fd, 0)
}

// welcome makes a client of a connection and gives it to the next loop in turn.
func (l *loop) welcome(fd int, peer unix.Sockaddr, from *listener) {
	srv := l.server
	srv.enter()
	defer srv.leave()
	srv.store.stats.connections++
	if len(srv.clients) >= srv.limit {
		srv.store.stats.rejected++
		unix.Write(fd, []byte("-ERR max number of clients reached\r\n"))
		unix.Close(fd)
		return
	}
	if from.isTCP() {
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAliveSecs)
	}
	srv.lastID++
	target := srv.loops[srv.lastID%int64(len(srv.loops))]
	cl := &client{id: srv.lastID, fd: fd, loop: target, since: srv.store.now, lastUsed: srv.store.now}
	cl.address, cl.local = from.addresses(peer)
	srv.clients[cl.id] = cl
	if target == l {
		l.adopt(cl)
		return
	}
	target.lock.Lock()
	target.incoming = append(target.incoming, cl)
	target.lock.Unlock()
	target.wake()
}
