//! Many datagrams with one system call each way.
//!
//! The kernel is given pointers here, which rustix has no safe call for: the only unsafe blocks of
//! the program are in this file. They point to room that lives longer than the call.
#![allow(unsafe_code)]

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::null_mut;

use libc::{c_int, iovec, mmsghdr, sockaddr_in6, socklen_t};

/// So many datagrams go with one call.
pub const BATCH: usize = 64;
/// No larger datagram is taken, or sent.
pub const DATAGRAM_BYTES: usize = 4096;
/// Room for where a datagram was sent to, of IPv6: a head of 16 bytes, and 20 in whole words.
const CONTROL_WORDS: usize = 5;

/// Where a datagram came from, and to which of our addresses where we have many.
#[derive(Clone, Copy)]
pub struct Peer {
    address: sockaddr_in6, // the larger of the two families
    address_bytes: socklen_t,
    control_bytes: usize,
    control: [u64; CONTROL_WORDS],
}

impl Peer {
    fn nobody() -> Self {
        Self {
            // SAFETY: all fields of this struct are numbers, for which zero is a value.
            address: unsafe { zeroed() },
            address_bytes: 0,
            control_bytes: 0,
            control: [0; CONTROL_WORDS],
        }
    }
}

/// The headers of a batch, which do not move; the pointers in them are set before they are used.
fn empty_headers() -> (Box<[iovec; BATCH]>, Box<[mmsghdr; BATCH]>) {
    // SAFETY: these structs hold numbers and raw pointers, for which zero is a value.
    unsafe { (Box::new(zeroed()), Box::new(zeroed())) }
}

fn set_header(header: &mut mmsghdr, part: &mut iovec, peer: &mut Peer) {
    header.msg_hdr.msg_name = (&raw mut peer.address).cast();
    header.msg_hdr.msg_namelen = peer.address_bytes;
    header.msg_hdr.msg_iov = part;
    header.msg_hdr.msg_iovlen = 1;
    header.msg_hdr.msg_control = match peer.control_bytes {
        0 => null_mut(),
        _ => peer.control.as_mut_ptr().cast(),
    };
    header.msg_hdr.msg_controllen = peer.control_bytes;
}

/// What came with one call.
pub struct Incoming {
    room: Box<[[u8; DATAGRAM_BYTES]]>,
    peers: Box<[Peer]>,
    /// How long each is, and whether that is all of it.
    lengths: [(usize, bool); BATCH],
    parts: Box<[iovec; BATCH]>,
    headers: Box<[mmsghdr; BATCH]>,
    /// So many headers were changed by the last call, or not yet set.
    used: usize,
}

impl Incoming {
    pub fn new() -> Self {
        let (parts, headers) = empty_headers();
        Self {
            room: vec![[0; DATAGRAM_BYTES]; BATCH].into(),
            peers: vec![Peer::nobody(); BATCH].into(),
            lengths: [(0, false); BATCH],
            parts,
            headers,
            used: BATCH,
        }
    }

    /// Takes what waits in a socket that does not block, up to a batch; tells how many.
    pub fn receive(&mut self, fd: impl AsFd) -> io::Result<usize> {
        for index in 0..std::mem::take(&mut self.used) {
            self.parts[index] = iovec {
                iov_base: self.room[index].as_mut_ptr().cast(),
                iov_len: DATAGRAM_BYTES,
            };
            let peer = &mut self.peers[index];
            peer.address_bytes = size_of::<sockaddr_in6>() as socklen_t;
            peer.control_bytes = size_of_val(&peer.control);
            set_header(&mut self.headers[index], &mut self.parts[index], peer);
        }
        // SAFETY: every header points to a part, an address and control room of its own, all of the
        // lengths that stand beside the pointers, in boxes that live as long as we and never move.
        let count = unsafe {
            libc::recvmmsg(
                fd.as_fd().as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as u32,
                0,
                null_mut(),
            )
        };
        self.used = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (index, header) in self.headers[..self.used].iter().enumerate() {
            let is_whole = header.msg_hdr.msg_flags & libc::MSG_TRUNC == 0;
            self.lengths[index] = (header.msg_len as usize, is_whole);
            self.peers[index].address_bytes = header.msg_hdr.msg_namelen;
            self.peers[index].control_bytes = header.msg_hdr.msg_controllen;
        }
        Ok(self.used)
    }

    /// One of those that came, where it is from, and whether it is all there.
    pub fn datagram(&self, index: usize) -> (&[u8], &Peer, bool) {
        let (length, is_whole) = self.lengths[index];
        (&self.room[index][..length], &self.peers[index], is_whole)
    }
}

/// What goes with the next call.
pub struct Outgoing {
    packets: Box<[Vec<u8>]>,
    peers: Box<[Peer]>,
    parts: Box<[iovec; BATCH]>,
    headers: Box<[mmsghdr; BATCH]>,
    count: usize,
}

impl Outgoing {
    pub fn new() -> Self {
        let packet = || Vec::with_capacity(DATAGRAM_BYTES);
        let (parts, headers) = empty_headers();
        Self {
            packets: std::iter::repeat_with(packet).take(BATCH).collect(),
            peers: vec![Peer::nobody(); BATCH].into(),
            parts,
            headers,
            count: 0,
        }
    }

    /// Where to write the next datagram; it does not go unless it is pushed.
    pub fn packet(&mut self) -> &mut Vec<u8> {
        let packet = &mut self.packets[self.count];
        packet.clear();
        packet
    }

    /// Addresses what was written. A full batch is sent at once.
    pub fn push(&mut self, peer: &Peer, fd: impl AsFd) {
        self.peers[self.count] = *peer;
        self.count += 1;
        if self.count == BATCH {
            self.flush(fd);
        }
    }

    /// Sends all there is. What the kernel does not take is lost, as datagrams may be.
    pub fn flush(&mut self, fd: impl AsFd) {
        let mut first = 0;
        while first < self.count {
            match self.send(first, &fd) {
                Ok(count) => first += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => first += 1, // this one cannot go there
            }
        }
        self.count = 0;
    }

    fn send(&mut self, first: usize, fd: impl AsFd) -> io::Result<usize> {
        for index in first..self.count {
            self.parts[index] = iovec {
                iov_base: self.packets[index].as_mut_ptr().cast(),
                iov_len: self.packets[index].len(),
            };
            set_header(
                &mut self.headers[index],
                &mut self.parts[index],
                &mut self.peers[index],
            );
        }
        // SAFETY: the headers from `first` to `count` each point to a packet, an address and control
        // bytes of the lengths beside the pointers; the kernel only reads them during the call.
        let sent = unsafe {
            libc::sendmmsg(
                fd.as_fd().as_raw_fd(),
                self.headers[first..].as_mut_ptr(),
                (self.count - first) as u32,
                0,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// What a socket shall tell beside its datagrams.
#[derive(Debug, Clone, Copy)]
pub enum Extra {
    /// To which of our addresses each came, so that the answer can leave from there.
    Destination,
    /// Which datagram could not be delivered.
    Undelivered,
}

pub fn turn_on(fd: impl AsFd, is_ipv4: bool, extra: Extra) -> io::Result<()> {
    let (level, name) = match (extra, is_ipv4) {
        (Extra::Destination, true) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        (Extra::Destination, false) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        (Extra::Undelivered, true) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        (Extra::Undelivered, false) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: c_int = 1;
    // SAFETY: the kernel reads an int from where we say, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const on).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;

    #[test]
    fn a_batch_is_answered_to_where_it_came_from() {
        let server = UdpSocket::bind("0.0.0.0:0").expect("a port");
        server.set_nonblocking(true).expect("a socket");
        turn_on(&server, true, Extra::Destination).expect("an option");
        let port = server.local_addr().expect("an address").port();
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        // The answer has to come from the address that was asked, which is not the machine's first.
        client.connect(("127.0.0.9", port)).expect("a way");
        for number in 0..BATCH as u8 + 10 {
            client.send(&[number; 5]).expect("sent");
        }
        let (mut incoming, mut outgoing) = (Incoming::new(), Outgoing::new());
        let mut answered = 0;
        while let Ok(count) = incoming.receive(&server) {
            for index in 0..count {
                let (bytes, peer, is_whole) = incoming.datagram(index);
                assert!(is_whole && bytes.len() == 5);
                outgoing.packet().extend_from_slice(&bytes[..2]);
                outgoing.push(peer, &server);
                answered += 1;
            }
            outgoing.flush(&server);
        }
        assert_eq!(answered, BATCH + 10);
        let mut buffer = [0; 9];
        for number in 0..BATCH as u8 + 10 {
            assert_eq!(client.recv(&mut buffer).expect("an answer"), 2);
            assert_eq!(buffer[..2], [number; 2]);
        }
    }

    #[test]
    fn a_datagram_that_is_too_long_is_seen_to_be_cut() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
        server.set_nonblocking(true).expect("a socket");
        let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("an address");
        client
            .send_to(&[1; DATAGRAM_BYTES + 1], address)
            .expect("sent");
        let mut incoming = Incoming::new();
        assert_eq!(incoming.receive(&server).expect("a datagram"), 1);
        let (bytes, _, is_whole) = incoming.datagram(0);
        assert_eq!((bytes.len(), is_whole), (DATAGRAM_BYTES, false));
        let error = incoming.receive(&server).expect_err("nothing more");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
