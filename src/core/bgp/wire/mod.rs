//! The BGP-4 wire codec: bytes to messages and back, and nothing else.
//!
//! What flows in: octets from a peer, in whatever pieces TCP delivers them, to [`frame`]; each complete message to
//! [`Message::decode`] with the [`Session`], which holds what the two OPENs settled (AS width, families, message
//! sizes). Decoding never guesses any of that from the bytes. What flows out: messages appended to a `Vec<u8>`, and for
//! routes an [`AttributeBlock`], which packs as many prefixes into each UPDATE as fit.
//!
//! Decoding answers "are these octets a message". Whether an OPEN is acceptable is the session machine's question;
//! what becomes of an UPDATE is answered by [`Update::judge`] from the faults that decoding noted attribute by
//! attribute: the table in `attributes` has each attribute's verdict (RFC 7606).
//!
//! No octet sequence may make this module panic, nor read beyond what it was given; the lints below are part of that.
//!
//! RFCs: 4271 (BGP-4), 4760 (multiprotocol), 6793 (4-octet AS), 5492 and 9072 (capabilities, extended parameters),
//! 1997 and 8092 (communities), 2918 and 7313 (route refresh), 4724 (End-of-RIB; its capability is only read),
//! 8950 (IPv4 with an IPv6 next hop), 8654 (extended messages), 7606 and 7607 (faulty UPDATEs, and how to lay them out),
//! 4486, 6608, 9003, 9384 and 9687 (what a NOTIFICATION says).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod attributes;
mod error;
mod header;
mod nlri;
mod notification;
mod octets;
mod open;
mod pack;
mod refresh;
mod session;
mod update;

#[cfg(test)]
mod tests;

pub use error::{EncodeError, WireError};
pub use header::{Frame, HEADER_LEN, MAX_EXTENDED_MESSAGE, MAX_MESSAGE, MessageType, frame, keepalive};
pub use notification::{
    CeaseSubcode, ErrorCode, FsmSubcode, HeaderSubcode, Notification, OpenSubcode, RefreshSubcode,
    UpdateSubcode,
};
pub use open::{Capability, ExtendedNextHop, Open, RestartFamily};
pub use pack::{AttributeBlock, NextHop, PathAttributes, end_of_rib, withdraw};
pub use refresh::{RefreshSubtype, RouteRefresh};
pub use session::{AfiSafi, Session};
pub use update::{
    Aggregator, AsPath, Attributes, Fault, Judgement, MpNextHop, MpReach, MpUnreach, Origin, Segment,
    SegmentKind, UnknownAttribute, Update, Verdict,
};

/// A message, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 4.2.
    Open(Open),
    /// RFC 4271 4.3.
    Update(Box<Update>),
    /// RFC 4271 4.5.
    Notification(Notification),
    /// RFC 4271 4.4.
    Keepalive,
    /// RFC 2918, RFC 7313.
    RouteRefresh(RouteRefresh),
}

impl Message {
    /// Decodes the message in a frame.
    ///
    /// An UPDATE with faulty attributes is still `Ok`: see [`Update::judge`].
    ///
    /// # Errors
    /// The message can't be read at all; the error knows the NOTIFICATION to answer with.
    pub fn decode(frame: &Frame<'_>, session: &Session) -> Result<Message, WireError> {
        Ok(match frame.kind {
            MessageType::Open => Message::Open(Open::decode(frame.body)?),
            MessageType::Update => Message::Update(Box::new(Update::decode(frame.body, session)?)),
            MessageType::Notification => Message::Notification(Notification::decode(frame.body)?),
            MessageType::Keepalive => Message::Keepalive,
            MessageType::RouteRefresh => Message::RouteRefresh(RouteRefresh::decode(frame.body)?),
        })
    }

    /// Its type.
    pub fn kind(&self) -> MessageType {
        match self {
            Message::Open(_) => MessageType::Open,
            Message::Update(_) => MessageType::Update,
            Message::Notification(_) => MessageType::Notification,
            Message::Keepalive => MessageType::Keepalive,
            Message::RouteRefresh(_) => MessageType::RouteRefresh,
        }
    }
}
