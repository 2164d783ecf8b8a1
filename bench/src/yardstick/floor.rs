//! The floor: a loop around epoll that answers every head with the same bytes. Nothing that speaks HTTP over the kernel's
//! sockets costs less.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use anyhow::Context;
use bytes::Bytes;
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::Answers;

const LISTENER: Token = Token(usize::MAX);
/// The most bytes of a head, and what is read at a time.
const MOST: usize = 4_096;

struct Connection {
    stream: TcpStream,
    /// What came of a head that has no end yet.
    head: Vec<u8>,
    /// What the socket has not taken yet.
    unsent: Vec<u8>,
}

pub(super) fn serve(address: SocketAddr, answers: &Answers) -> anyhow::Result<()> {
    let answer = &answers.at("/verify").bytes;
    let mut listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1_024));
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = [0; MOST];
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            polled => polled?,
        }
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let place = &mut connections[event.token().0];
            let is_open = place.as_mut().is_some_and(|it| it.advance(answer, &mut buffer).unwrap_or(false));
            if !is_open {
                *place = None;
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<Connection>>,
) -> anyhow::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        stream.set_nodelay(true)?;
        let place = connections.iter().position(Option::is_none).unwrap_or(connections.len());
        poll.registry().register(&mut stream, Token(place), Interest::READABLE | Interest::WRITABLE)?;
        let connection = Some(Connection { stream, head: Vec::new(), unsent: Vec::new() });
        match connections.get_mut(place) {
            Some(free) => *free = connection,
            None => connections.push(connection),
        }
    }
}

impl Connection {
    /// Reads what has come, answers each head that is complete, and says whether the connection is open.
    fn advance(&mut self, answer: &Bytes, buffer: &mut [u8; MOST]) -> std::io::Result<bool> {
        self.send()?;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            // Almost always one whole head comes at once.
            if self.head.is_empty() && buffer[..count].ends_with(b"\r\n\r\n") && ends(&buffer[..count]) == 1 {
                self.unsent.extend_from_slice(answer);
            } else {
                self.head.extend_from_slice(&buffer[..count]);
                let heads = ends(&self.head);
                for _ in 0..heads {
                    self.unsent.extend_from_slice(answer);
                }
                if let Some(end) = self.head.windows(4).rposition(|four| four == b"\r\n\r\n") {
                    self.head.drain(..end + 4);
                }
                if self.head.len() > MOST {
                    return Ok(false);
                }
            }
            self.send()?;
            // Less than was asked for is all that there is, and asking again costs a call.
            if count < MOST {
                return Ok(true);
            }
        }
    }

    fn send(&mut self) -> std::io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How many heads end in these bytes.
fn ends(bytes: &[u8]) -> usize {
    bytes.windows(4).filter(|four| *four == b"\r\n\r\n").count()
}
