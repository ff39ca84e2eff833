use super::{
    Session, WireError,
    octets::{Reader, patch_u16, written},
};

/// Marker, length and type, in octets (RFC 4271 4.1).
///
/// ```text
/// | marker: 16 octets, all ones | length: 2, header included | type: 1 |
/// ```
pub const HEADER_LEN: usize = 19;
/// The longest message without RFC 8654, in octets.
pub const MAX_MESSAGE: usize = 4096;
/// The longest message with RFC 8654, in octets; OPEN and KEEPALIVE stay within 4096.
pub const MAX_EXTENDED_MESSAGE: usize = 65535;

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// RFC 4271 4.2.
    Open = 1,
    /// RFC 4271 4.3.
    Update = 2,
    /// RFC 4271 4.5.
    Notification = 3,
    /// RFC 4271 4.4.
    Keepalive = 4,
    /// RFC 2918.
    RouteRefresh = 5,
}

impl MessageType {
    fn from_octet(octet: u8) -> Option<MessageType> {
        Some(match octet {
            1 => MessageType::Open,
            2 => MessageType::Update,
            3 => MessageType::Notification,
            4 => MessageType::Keepalive,
            5 => MessageType::RouteRefresh,
            _ => return None,
        })
    }

    /// The least and the greatest length, header included (RFC 4271 6.1, RFC 2918, RFC 8654 section 4).
    fn lengths(self, session: &Session) -> std::ops::RangeInclusive<usize> {
        match self {
            MessageType::Open => 29..=MAX_MESSAGE,
            MessageType::Update => 23..=session.max_receive,
            MessageType::Notification => 21..=session.max_receive,
            MessageType::Keepalive => HEADER_LEN..=HEADER_LEN,
            MessageType::RouteRefresh => 23..=session.max_receive,
        }
    }
}

/// A complete message that isn't decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: MessageType,
    /// What follows the header.
    pub body: &'a [u8],
    /// Header and body, in octets: what to drop from the input.
    pub total_len: usize,
}

/// Finds the first message in `input`; `None` while it isn't complete.
///
/// The header is judged as soon as it is there, before the body is: marker, then length, then type, as RFC 4271 6.1
/// orders them. So nobody waits for a message that could never be accepted, and at most `session.max_receive` octets
/// need to be held.
///
/// # Errors
/// The header is wrong; the stream can't be read any further.
pub fn frame<'a>(input: &'a [u8], session: &Session) -> Result<Option<Frame<'a>>, WireError> {
    let mut reader = Reader::new(input);
    let (Some(marker), Some(length), Some(kind)) = (reader.array::<16>(), reader.u16(), reader.u8()) else {
        return Ok(None);
    };
    if marker != [0xff; 16] {
        return Err(WireError::ConnectionNotSynchronized);
    }
    let total_len = usize::from(length);
    if !(HEADER_LEN..=session.max_receive).contains(&total_len) {
        return Err(WireError::BadMessageLength { length });
    }
    let kind = MessageType::from_octet(kind).ok_or(WireError::BadMessageType(kind))?;
    if !kind.lengths(session).contains(&total_len) {
        return Err(WireError::BadMessageLength { length });
    }
    let body = reader.take(total_len.saturating_sub(HEADER_LEN));
    Ok(body.map(|body| Frame { kind, body, total_len }))
}

/// Appends a KEEPALIVE.
pub fn keepalive(out: &mut Vec<u8>) {
    let start = begin(out, MessageType::Keepalive);
    finish(out, start);
}

/// Appends a header whose length is still open; gives where it starts, for [`finish`].
pub(super) fn begin(out: &mut Vec<u8>, kind: MessageType) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; 16]);
    out.extend_from_slice(&[0, 0, kind as u8]);
    start
}

/// Writes the length of the message that began at `start`. The callers see to it that it is within 65535.
pub(super) fn finish(out: &mut [u8], start: usize) {
    let length = u16::try_from(written(out, start)).unwrap_or(u16::MAX);
    patch_u16(out, start.saturating_add(16), length);
}
