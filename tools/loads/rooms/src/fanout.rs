//! The plainest chat server: it understands only what `rooms` itself says, has one room, and does nothing but fan out.
//!
//! It shows how many deliveries a second the generator can take, and with a fault that it notices one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::Problem;
use crate::frame::{self, Found};
use crate::message::{self, push_number};

const LISTENER: Token = Token(usize::MAX);
const EVENTS: usize = 1024;
const FAULTY: u64 = 7; // every so many messages
const INPUT_BYTES: usize = 1 << 16;
const BROADCAST: &[u8] = b"?room="; // in the path of who only wants texts
const NOBODY: usize = usize::MAX;

/// What the server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    Loses,
    Doubles,
    Swaps,
    Garbles,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "loses" => Ok(Self::Loses),
            "doubles" => Ok(Self::Doubles),
            "swaps" => Ok(Self::Swaps),
            "garbles" => Ok(Self::Garbles),
            _ => Err("loses, doubles, swaps or garbles".into()),
        }
    }
}

/// Serve until somebody ends this process.
pub fn run(address: SocketAddr, fault: Fault) -> Result<(), Problem> {
    let failed = |error: io::Error| Problem::failed(format!("{address}: {error}"));
    let listener = TcpListener::bind(address).map_err(failed)?;
    println!("listening on {}", listener.local_addr().map_err(failed)?);
    Server::new(listener, fault).map_err(failed)?.serve().map_err(failed)
}

/// How a client speaks.
#[derive(PartialEq)]
enum Talk {
    Http,
    Chat,
    Texts,
}

struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    talk: Talk,
    nick: Option<Vec<u8>>,
    leaves: bool,
    waits: bool,
}

/// One room.
pub struct Server {
    poll: Poll,
    listener: mio::net::TcpListener,
    clients: Vec<Option<Client>>,
    room: Vec<u8>,
    members: usize,
    seq: u64,
    fault: Fault,
    held: Option<(usize, Vec<u8>)>,
    buffer: Vec<u8>,
}

impl Server {
    /// Begin to listen.
    pub fn new(listener: TcpListener, fault: Fault) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let poll = Poll::new()?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (clients, room, held) = (Vec::new(), Vec::new(), None);
        Ok(Self { poll, listener, clients, room, members: 0, seq: 0, fault, held, buffer: vec![0; INPUT_BYTES] })
    }

    /// Answer everybody, for ever. What is said in one turn goes out in one write a client.
    pub fn serve(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                } else {
                    self.receive(event.token().0);
                }
            }
            for index in 0..self.clients.len() {
                self.flush(index);
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut socket, _)) => {
                    socket.set_nodelay(true)?;
                    let token = Token(self.clients.len());
                    self.poll.registry().register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
                    self.clients.push(Some(Client {
                        socket,
                        input: Vec::new(),
                        output: Vec::new(),
                        written: 0,
                        talk: Talk::Http,
                        nick: None,
                        leaves: false,
                        waits: false,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, index: usize) {
        let mut over = false;
        {
            let Some(client) = &mut self.clients[index] else { return };
            client.waits = false;
            loop {
                match client.socket.read(&mut self.buffer) {
                    Ok(0) => over = true,
                    Ok(count) => {
                        client.input.extend_from_slice(&self.buffer[..count]);
                        if count == self.buffer.len() {
                            continue;
                        }
                    }
                    Err(error) => over = error.kind() != io::ErrorKind::WouldBlock,
                }
                break;
            }
        }
        let mut input =
            self.clients[index].as_mut().map(|client| std::mem::take(&mut client.input)).unwrap_or_default();
        let used = self.requests(index, &mut input);
        if let Some(client) = &mut self.clients[index] {
            input.drain(..used);
            client.input = input;
            if over {
                self.remove(index);
            }
        }
    }

    /// Deal with every whole frame; how many bytes these were.
    fn requests(&mut self, index: usize, input: &mut [u8]) -> usize {
        let mut at = 0;
        if let Some(client) = self.clients[index].as_mut().filter(|client| client.talk == Talk::Http) {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return 0 };
            let accept = frame::ACCEPT;
            client.talk = Talk::Chat;
            if input[..end].windows(BROADCAST.len()).any(|window| window == BROADCAST) {
                (client.talk, client.nick) = (Talk::Texts, Some(Vec::new()));
                self.members += 1;
            }
            client.output.extend_from_slice(
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n"
                )
                .as_bytes(),
            );
            at = end + 4;
        }
        while let Found::Whole(head) = frame::read(&input[at..]) {
            let payload = &mut input[at + head.start..at + head.end];
            frame::unmask(payload, head.mask.unwrap_or_default());
            match head.opcode {
                frame::TEXT => self.request(index, payload),
                frame::CLOSE => self.close(index, payload),
                _ => {}
            }
            at += head.end;
        }
        at
    }

    fn request(&mut self, index: usize, payload: &[u8]) {
        if self.clients[index].as_ref().is_some_and(|client| client.talk == Talk::Texts) {
            self.seq += 1;
            let mut whole = Vec::new();
            frame::push(frame::TEXT, payload, None, &mut whole);
            self.spread(NOBODY, whole);
        } else if let Some(rest) = payload.strip_prefix(br#"{"type":"chat","id":"#) {
            self.chat(index, rest);
        } else if let Some(rest) = payload.strip_prefix(br#"{"type":"join","room":""#) {
            self.join(index, rest);
        } else if payload == message::LEAVE {
            let told = [br#"{"type":"left","room":""#, &self.room[..], br#""}"#].concat();
            let Some(client) = &mut self.clients[index] else { return };
            let was_member = client.nick.take().is_some();
            client.leaves = true;
            frame::push(frame::TEXT, &told, None, &mut client.output);
            frame::push(frame::CLOSE, &1000_u16.to_be_bytes(), None, &mut client.output);
            self.gone(was_member);
        }
    }

    /// Who only wants texts ends the conversation; of the others the server does.
    fn close(&mut self, index: usize, payload: &[u8]) {
        let Some(client) = self.clients[index].as_mut().filter(|client| client.talk == Talk::Texts) else { return };
        let was_member = client.nick.take().is_some();
        client.leaves = true;
        frame::push(frame::CLOSE, payload, None, &mut client.output);
        self.gone(was_member);
    }

    fn join(&mut self, index: usize, rest: &[u8]) {
        let mut parts = rest.split(|&byte| byte == b'"'); // room, nick and what is between them
        let (room, nick) = (parts.next().unwrap_or_default(), parts.nth(3).unwrap_or_default());
        self.room = room.to_vec();
        self.members += 1;
        let mut told = [br#"{"type":"joined","room":""#, room, br#"","nick":""#, nick, br#"","members":"#].concat();
        push_number(self.members as u64, &mut told);
        told.push(b'}');
        let Some(client) = &mut self.clients[index] else { return };
        client.nick = Some(nick.to_vec());
        frame::push(frame::TEXT, &told, None, &mut client.output);
    }

    fn chat(&mut self, index: usize, rest: &[u8]) {
        let Some((id, rest)) = message::number(rest) else { return };
        let text = rest.strip_prefix(br#","text":"#).unwrap_or_default();
        let Some(nick) = self.clients[index].as_ref().and_then(|client| client.nick.clone()) else { return };
        self.seq += 1;
        let mut told = br#"{"type":"accepted","id":"#.to_vec();
        push_number(id, &mut told);
        told.extend_from_slice(br#","seq":"#);
        push_number(self.seq, &mut told);
        told.push(b'}');
        if let Some(client) = &mut self.clients[index] {
            frame::push(frame::TEXT, &told, None, &mut client.output);
        }
        let parts = [br#"{"type":"chat","room":""#, &self.room[..], br#"","nick":""#, &nick, br#"","seq":"#];
        let mut told = parts.concat();
        push_number(self.seq, &mut told);
        told.extend_from_slice(br#","text":"#);
        told.extend_from_slice(text);
        let mut whole = Vec::with_capacity(told.len() + 4);
        frame::push(frame::TEXT, &told, None, &mut whole);
        self.spread(index, whole);
    }

    /// To everybody else, or with the fault.
    fn spread(&mut self, sender: usize, mut whole: Vec<u8>) {
        let faulty = self.fault != Fault::None && self.seq.is_multiple_of(FAULTY);
        if faulty && self.fault == Fault::Swaps {
            self.held = Some((sender, whole));
            return;
        }
        if faulty && self.fault == Fault::Garbles {
            let last = whole.len() - 10;
            whole[last] ^= 1;
        }
        let copies = match self.fault {
            Fault::Loses if faulty => 0,
            Fault::Doubles if faulty => 2,
            _ => 1,
        };
        let held = self.held.take();
        for (index, client) in self.clients.iter_mut().enumerate() {
            let Some(client) = client.as_mut().filter(|client| client.nick.is_some()) else { continue };
            if index != sender {
                (0..copies).for_each(|_| client.output.extend_from_slice(&whole));
            }
            if let Some((_, late)) = held.as_ref().filter(|(of, _)| *of != index) {
                client.output.extend_from_slice(late);
            }
        }
    }

    fn flush(&mut self, index: usize) {
        let Some(client) = &mut self.clients[index] else { return };
        while client.written < client.output.len() && !client.waits {
            match client.socket.write(&client.output[client.written..]) {
                Ok(count) => client.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => client.waits = true,
                Err(_) => return self.remove(index),
            }
        }
        if client.written == client.output.len() {
            client.output.clear();
            client.written = 0;
            if client.leaves {
                self.remove(index);
            }
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(client) = self.clients[index].take() {
            self.gone(client.nick.is_some());
        }
    }

    /// A room begins anew when nobody is left in it.
    fn gone(&mut self, was_member: bool) {
        self.members -= usize::from(was_member);
        if self.members == 0 {
            self.seq = 0;
        }
    }
}
