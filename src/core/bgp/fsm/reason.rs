//! Why a session changed its state, for logs and for people.

use std::fmt;

use crate::bgp::wire::{CeaseSubcode, Notification};

/// Why the local side ends a session for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The speaker goes down; the text is for the peer's operator (RFC 9003), at most 255 octets, may be empty.
    Shutdown(String),
    /// The peer is no longer configured.
    Deconfigured,
    /// The peer's configuration has changed so that only a new session can take it up.
    Reconfigured,
    /// Another connection with the peer stays (RFC 4271 6.8).
    Collision,
}

impl Stop {
    /// What the peer is told (RFC 4486).
    pub(super) fn notification(&self) -> Notification {
        match self {
            Stop::Shutdown(text) => Notification::cease(CeaseSubcode::AdministrativeShutdown, text),
            Stop::Deconfigured => Notification::cease(CeaseSubcode::PeerDeconfigured, ""),
            Stop::Reconfigured => Notification::cease(CeaseSubcode::OtherConfigurationChange, ""),
            Stop::Collision => Notification::cease(CeaseSubcode::ConnectionCollisionResolution, ""),
        }
    }
}

/// Why a session changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The session was started.
    Started,
    /// The time until the next attempt is over.
    Retry,
    /// The connection stands.
    Connected,
    /// A good OPEN has come.
    OpenReceived,
    /// The first KEEPALIVE has come.
    KeepaliveReceived,
    /// The local side ended it.
    Stopped(Stop),
    /// The connection didn't come about.
    ConnectFailed(String),
    /// Nobody answered in time.
    ConnectTimedOut,
    /// The peer closed the connection without a word.
    ClosedByPeer,
    /// The connection broke.
    ConnectionLost(String),
    /// The peer took nothing any more for the send hold time (RFC 9687).
    SendHoldTimerExpired,
    /// The peer fell silent for a hold time; it was told so.
    HoldTimerExpired,
    /// The peer ended it and said why.
    NotificationReceived(Notification),
    /// The peer broke the protocol, or is none that we may talk to; it was told so.
    NotificationSent {
        /// What it was told.
        notification: Notification,
        /// What was wrong.
        detail: String,
    },
    /// The peer sent a NOTIFICATION that can't be read.
    UnreadableNotification,
    /// The peer takes connections and turns them away, again and again (see `refusal`).
    Refused {
        /// How it did it the last time.
        how: Box<Reason>,
        /// How often without a session in between.
        in_a_row: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Started => f.write_str("started"),
            Reason::Retry => f.write_str("trying again"),
            Reason::Connected => f.write_str("connected"),
            Reason::OpenReceived => f.write_str("OPEN received"),
            Reason::KeepaliveReceived => f.write_str("KEEPALIVE received"),
            Reason::Stopped(Stop::Shutdown(_)) => f.write_str("shutting down"),
            Reason::Stopped(Stop::Deconfigured) => f.write_str("no longer configured"),
            Reason::Stopped(Stop::Reconfigured) => f.write_str("configuration changed"),
            Reason::Stopped(Stop::Collision) => f.write_str("another connection with the peer stays"),
            Reason::ConnectFailed(error) => write!(f, "connecting failed: {error}"),
            Reason::ConnectTimedOut => f.write_str("connecting timed out"),
            Reason::ClosedByPeer => f.write_str("connection closed by the peer"),
            Reason::ConnectionLost(error) => write!(f, "connection lost: {error}"),
            Reason::SendHoldTimerExpired => f.write_str("send hold timer expired: the peer takes nothing"),
            Reason::HoldTimerExpired => f.write_str("hold timer expired"),
            Reason::NotificationReceived(notification) => {
                write!(f, "NOTIFICATION received: {notification}")
            }
            Reason::NotificationSent { notification, detail } => {
                write!(f, "{detail} (NOTIFICATION sent: {notification})")
            }
            Reason::Refused { how, in_a_row } => write!(
                f,
                "{how}, refused {in_a_row} times in a row: probably the router already has a session with another BGP speaker on \
                 this node from the same address, or has none configured for that address"
            ),
            Reason::UnreadableNotification => f.write_str("NOTIFICATION received that can't be read"),
        }
    }
}
