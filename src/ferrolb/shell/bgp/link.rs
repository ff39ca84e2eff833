//! One connection: the octets that have come and those that still have to go.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ferrolb_core::bgp::fsm::{Input, Machine};
use ferrolb_core::bgp::wire::{self, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::spec::Messages;

/// How much is read at a time, in octets: the longest message there is.
pub(super) const READ: usize = 65_536;
/// How much input is taken before it is the others' turn, in octets.
pub(super) const TURN: usize = 128 << 10;
/// How much input is taken before timers are judged, in octets: a flood may not keep them from being judged at all.
pub(super) const DRAIN: usize = 1 << 20;
/// How long the last words to a peer may take.
const FAREWELL: Duration = Duration::from_millis(700);
/// An empty buffer larger than this is given back, in octets.
const KEEP: usize = 4096;

pub(super) struct Link {
    stream: TcpStream,
    pub(super) local: SocketAddr,
    input: Vec<u8>,
    /// Whole messages, of which the first `written` octets are gone.
    output: Vec<u8>,
    written: usize,
    /// The socket takes nothing at present.
    blocked: bool,
}

/// What comes behind what was read.
pub(super) enum Rest {
    /// Nothing yet.
    Nothing,
    /// More, at the next turn.
    More,
    /// The peer has closed its side.
    Closed,
    /// The connection broke.
    Broken(io::Error),
}

impl Link {
    pub(super) fn new(stream: TcpStream) -> io::Result<Link> {
        let local = stream.local_addr()?;
        Ok(Link { stream, local, input: Vec::new(), output: Vec::new(), written: 0, blocked: false })
    }

    /// Whether the socket took less than there was, and hasn't shown since that it takes more.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// The socket can be written again.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// How many octets wait for the socket.
    pub(super) fn waiting(&self) -> usize {
        self.output.len().saturating_sub(self.written)
    }

    /// Where to append messages.
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Waits until something can be read, or written if it is blocked; gives whether it can be written. A broken socket
    /// is ready: it shows its error to whoever reads or writes next.
    pub(super) async fn ready(&self) -> bool {
        let interest =
            if self.blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        self.stream.ready(interest).await.is_ok_and(|ready| ready.is_writable())
    }

    /// Writes what the socket takes; gives how many octets it took, and how many are left.
    pub(super) fn flush(&mut self) -> io::Result<(usize, usize)> {
        let mut octets = 0;
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(count) => {
                    self.written += count;
                    octets += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    // For a peer that never takes all, what is gone would pile up.
                    self.output.drain(..self.written);
                    self.written = 0;
                    return Ok((octets, self.output.len()));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        empty(&mut self.output);
        Ok((octets, 0))
    }

    /// Reads what is there, up to about `limit` octets, and gives the machine each message. Gives how many there were.
    pub(super) fn receive(
        &mut self,
        machine: &mut Machine,
        scratch: &mut [u8],
        limit: usize,
    ) -> (Messages, Rest) {
        let mut received = Messages::default();
        let mut total = 0;
        while total < limit {
            match self.stream.try_read(scratch) {
                Ok(0) => return (received, Rest::Closed),
                Ok(count) => {
                    total += count;
                    self.input.extend_from_slice(scratch.get(..count).unwrap_or_default());
                    self.decode(machine, &mut received);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (received, Rest::Nothing),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (received, Rest::Broken(error)),
            }
        }
        (received, Rest::More)
    }

    /// Gives the machine all messages that are complete; what comes behind a wrong one is nothing any more.
    fn decode(&mut self, machine: &mut Machine, received: &mut Messages) {
        let now = Instant::now();
        let mut taken = 0;
        loop {
            let session = machine.wire_session();
            let input = self.input.get(taken..).unwrap_or_default();
            let input = match wire::frame(input, &session) {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    taken += frame.total_len;
                    received.count(frame.kind);
                    match Message::decode(&frame, &session) {
                        Ok(message) => Input::Received(message),
                        Err(error) => Input::Malformed { kind: Some(frame.kind), error },
                    }
                }
                Err(error) => {
                    taken = self.input.len();
                    Input::Malformed { kind: None, error }
                }
            };
            machine.handle(now, input);
        }
        self.input.drain(..taken);
        if self.input.is_empty() {
            empty(&mut self.input);
        }
    }

    /// Writes what is left and closes, so that the peer gets all of it: a socket that is closed with input unread would
    /// send a reset, and the peer might lose a NOTIFICATION that it hasn't read yet.
    pub(super) async fn farewell(mut self) {
        let mut unread = [0; 512];
        let words = async {
            let rest = self.output.get(self.written..).unwrap_or_default();
            self.stream.write_all(rest).await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the peer heard them or not, the connection is over.
        let _ = tokio::time::timeout(FAREWELL, words).await;
    }
}

fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
}
