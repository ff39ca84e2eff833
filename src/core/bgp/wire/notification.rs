use std::fmt;

use super::{
    HEADER_LEN, MAX_MESSAGE, MessageType, WireError,
    header::{begin, finish},
    octets::Reader,
};

/// A NOTIFICATION message (RFC 4271 4.5): the last on its connection.
///
/// ```text
/// | error code: 1 | error subcode: 1 | data: the rest |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What it says.
    pub error: ErrorCode,
    /// Detail whose form depends on the error.
    pub data: Vec<u8>,
}

impl Notification {
    /// One without data.
    pub fn new(error: ErrorCode) -> Notification {
        Notification { error, data: Vec::new() }
    }

    /// A Cease with a text for the peer's operator (RFC 9003), cut to 255 octets at a character's boundary. Only
    /// Administrative Shutdown and Administrative Reset carry one; others go without.
    pub fn cease(subcode: CeaseSubcode, text: &str) -> Notification {
        let mut notification = Notification::new(ErrorCode::Cease(subcode));
        let text = text.get(..text.floor_char_boundary(255)).unwrap_or_default();
        if notification.carries_text() && !text.is_empty() {
            notification.data.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            notification.data.extend_from_slice(text.as_bytes());
        }
        notification
    }

    /// The text for the operator that a Cease carries (RFC 9003), where there is one and it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        if !self.carries_text() {
            return None;
        }
        let text = std::str::from_utf8(Reader::new(&self.data).block8()?).ok()?;
        (!text.is_empty()).then_some(text)
    }

    fn carries_text(&self) -> bool {
        use CeaseSubcode::{AdministrativeReset, AdministrativeShutdown};
        matches!(self.error, ErrorCode::Cease(AdministrativeShutdown | AdministrativeReset))
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// It lacks code or subcode. No NOTIFICATION may answer a NOTIFICATION (RFC 4271 6.4): only log it.
    pub(super) fn decode(body: &[u8]) -> Result<Notification, WireError> {
        let mut reader = Reader::new(body);
        let (Some(code), Some(subcode)) = (reader.u8(), reader.u8()) else {
            return Err(WireError::BadMessageLength {
                length: u16::try_from(body.len().saturating_add(HEADER_LEN)).unwrap_or(u16::MAX),
            });
        };
        Ok(Notification { error: ErrorCode::from_octets(code, subcode), data: reader.rest().to_vec() })
    }

    /// Appends the message; data that would make it longer than 4096 octets is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        const ROOM: usize = MAX_MESSAGE - HEADER_LEN - 2;
        let start = begin(out, MessageType::Notification);
        out.extend_from_slice(&[self.error.code(), self.error.subcode()]);
        out.extend_from_slice(self.data.get(..ROOM).unwrap_or(&self.data));
        finish(out, start);
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.text() {
            // A peer's text may hold anything; quoted, it can't break a log line.
            Some(text) => write!(f, ": {text:?}"),
            // RFC 9003 section 2: one that can't be read is shown as octets.
            None if self.carries_text() && self.data.iter().any(|octet| *octet != 0) => {
                write!(f, ": unreadable text {:02x?}", self.data)
            }
            None => Ok(()),
        }
    }
}

/// The error code of a NOTIFICATION, with its subcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 1, RFC 4271 6.1.
    MessageHeader(HeaderSubcode),
    /// 2, RFC 4271 6.2.
    Open(OpenSubcode),
    /// 3, RFC 4271 6.3.
    Update(UpdateSubcode),
    /// 4, RFC 4271 6.5.
    HoldTimerExpired,
    /// 5, RFC 4271 6.6.
    Fsm(FsmSubcode),
    /// 6, RFC 4271 6.7.
    Cease(CeaseSubcode),
    /// 7, RFC 7313.
    RouteRefresh(RefreshSubcode),
    /// 8, RFC 9687.
    SendHoldTimerExpired,
    /// Any other pair.
    Unknown {
        /// Error code.
        code: u8,
        /// Error subcode.
        subcode: u8,
    },
}

impl ErrorCode {
    /// The pair by name where it has one.
    pub fn from_octets(code: u8, subcode: u8) -> ErrorCode {
        match code {
            1 => HeaderSubcode::from_octet(subcode).map(ErrorCode::MessageHeader),
            2 => OpenSubcode::from_octet(subcode).map(ErrorCode::Open),
            3 => UpdateSubcode::from_octet(subcode).map(ErrorCode::Update),
            4 => (subcode == 0).then_some(ErrorCode::HoldTimerExpired),
            5 => FsmSubcode::from_octet(subcode).map(ErrorCode::Fsm),
            6 => CeaseSubcode::from_octet(subcode).map(ErrorCode::Cease),
            7 => RefreshSubcode::from_octet(subcode).map(ErrorCode::RouteRefresh),
            8 => (subcode == 0).then_some(ErrorCode::SendHoldTimerExpired),
            _ => None,
        }
        .unwrap_or(ErrorCode::Unknown { code, subcode })
    }

    /// The error code.
    pub fn code(self) -> u8 {
        match self {
            ErrorCode::MessageHeader(_) => 1,
            ErrorCode::Open(_) => 2,
            ErrorCode::Update(_) => 3,
            ErrorCode::HoldTimerExpired => 4,
            ErrorCode::Fsm(_) => 5,
            ErrorCode::Cease(_) => 6,
            ErrorCode::RouteRefresh(_) => 7,
            ErrorCode::SendHoldTimerExpired => 8,
            ErrorCode::Unknown { code, .. } => code,
        }
    }

    /// The error subcode; 0 where there are none.
    pub fn subcode(self) -> u8 {
        match self {
            ErrorCode::MessageHeader(subcode) => subcode as u8,
            ErrorCode::Open(subcode) => subcode as u8,
            ErrorCode::Update(subcode) => subcode as u8,
            ErrorCode::Fsm(subcode) => subcode as u8,
            ErrorCode::Cease(subcode) => subcode as u8,
            ErrorCode::RouteRefresh(subcode) => subcode as u8,
            ErrorCode::HoldTimerExpired | ErrorCode::SendHoldTimerExpired => 0,
            ErrorCode::Unknown { subcode, .. } => subcode,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ErrorCode::MessageHeader(subcode) => write!(f, "Message Header Error/{subcode}"),
            ErrorCode::Open(subcode) => write!(f, "OPEN Message Error/{subcode}"),
            ErrorCode::Update(subcode) => write!(f, "UPDATE Message Error/{subcode}"),
            ErrorCode::HoldTimerExpired => f.write_str("Hold Timer Expired"),
            ErrorCode::Fsm(subcode) => write!(f, "Finite State Machine Error/{subcode}"),
            ErrorCode::Cease(subcode) => write!(f, "Cease/{subcode}"),
            ErrorCode::RouteRefresh(subcode) => write!(f, "ROUTE-REFRESH Message Error/{subcode}"),
            ErrorCode::SendHoldTimerExpired => f.write_str("Send Hold Timer Expired"),
            ErrorCode::Unknown { code, subcode } => write!(f, "error {code}/{subcode}"),
        }
    }
}

/// Declares the subcodes of one error code: variant, number, and the registry's name.
macro_rules! subcodes {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $number,)+
        }

        impl $name {
            fn from_octet(octet: u8) -> Option<$name> {
                match octet {
                    $($number => Some($name::$variant),)+
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($name::$variant => $text,)+
                })
            }
        }
    };
}

subcodes! {
    /// Of a Message Header Error (RFC 4271 6.1).
    HeaderSubcode {
        /// None of the others.
        Unspecific = 0 "Unspecific",
        /// The marker is wrong.
        ConnectionNotSynchronized = 1 "Connection Not Synchronized",
        /// Data: the length field.
        BadMessageLength = 2 "Bad Message Length",
        /// Data: the type field.
        BadMessageType = 3 "Bad Message Type",
    }
}

subcodes! {
    /// Of an OPEN Message Error (RFC 4271 6.2, RFC 5492, RFC 9234).
    OpenSubcode {
        /// None of the others; also a malformed parameter.
        Unspecific = 0 "Unspecific",
        /// Data: the version that is supported, in 2 octets.
        UnsupportedVersionNumber = 1 "Unsupported Version Number",
        /// The peer's AS isn't the one that was expected.
        BadPeerAs = 2 "Bad Peer AS",
        /// RFC 6286.
        BadBgpIdentifier = 3 "Bad BGP Identifier",
        /// An optional parameter isn't known.
        UnsupportedOptionalParameter = 4 "Unsupported Optional Parameter",
        /// Was authentication, now deprecated; old routers may send it.
        AuthenticationFailure = 5 "Authentication Failure",
        /// 1 or 2 seconds, or one that local policy refuses.
        UnacceptableHoldTime = 6 "Unacceptable Hold Time",
        /// Data: the capabilities that are missed (RFC 5492).
        UnsupportedCapability = 7 "Unsupported Capability",
        /// RFC 9234.
        RoleMismatch = 11 "Role Mismatch",
    }
}

subcodes! {
    /// Of an UPDATE Message Error (RFC 4271 6.3).
    UpdateSubcode {
        /// None of the others.
        Unspecific = 0 "Unspecific",
        /// Lengths don't add up, or an attribute comes twice.
        MalformedAttributeList = 1 "Malformed Attribute List",
        /// Data: the attribute.
        UnrecognizedWellKnownAttribute = 2 "Unrecognized Well-known Attribute",
        /// Data: the type code that is missing.
        MissingWellKnownAttribute = 3 "Missing Well-known Attribute",
        /// Data: the attribute.
        AttributeFlagsError = 4 "Attribute Flags Error",
        /// Data: the attribute.
        AttributeLengthError = 5 "Attribute Length Error",
        /// Data: the attribute.
        InvalidOriginAttribute = 6 "Invalid ORIGIN Attribute",
        /// Data: the attribute.
        InvalidNextHopAttribute = 8 "Invalid NEXT_HOP Attribute",
        /// Data: the attribute.
        OptionalAttributeError = 9 "Optional Attribute Error",
        /// A prefix is malformed.
        InvalidNetworkField = 10 "Invalid Network Field",
        /// Segments of AS_PATH are malformed.
        MalformedAsPath = 11 "Malformed AS_PATH",
    }
}

subcodes! {
    /// Of a Finite State Machine Error (RFC 6608): the state in which the message didn't fit.
    FsmSubcode {
        /// Not said.
        Unspecified = 0 "Unspecified Error",
        /// In OpenSent. Data: the message's type.
        UnexpectedInOpenSent = 1 "Receive Unexpected Message in OpenSent State",
        /// In OpenConfirm. Data: the message's type.
        UnexpectedInOpenConfirm = 2 "Receive Unexpected Message in OpenConfirm State",
        /// In Established. Data: the message's type.
        UnexpectedInEstablished = 3 "Receive Unexpected Message in Established State",
    }
}

subcodes! {
    /// Of a Cease (RFC 4486, RFC 8538, RFC 9384).
    CeaseSubcode {
        /// Not said.
        Unspecific = 0 "Unspecific",
        /// Too many routes.
        MaximumNumberOfPrefixesReached = 1 "Maximum Number of Prefixes Reached",
        /// May carry a text (RFC 9003).
        AdministrativeShutdown = 2 "Administrative Shutdown",
        /// The peer is no longer in the configuration.
        PeerDeconfigured = 3 "Peer De-configured",
        /// May carry a text (RFC 9003).
        AdministrativeReset = 4 "Administrative Reset",
        /// Not now: for instance, a session with this peer stands already.
        ConnectionRejected = 5 "Connection Rejected",
        /// An edit that a new session has to pick up.
        OtherConfigurationChange = 6 "Other Configuration Change",
        /// RFC 4271 6.8.
        ConnectionCollisionResolution = 7 "Connection Collision Resolution",
        /// The sender lacks memory or the like.
        OutOfResources = 8 "Out of Resources",
        /// RFC 8538: end it, and keep no routes.
        HardReset = 9 "Hard Reset",
        /// RFC 9384.
        BfdDown = 10 "BFD Down",
    }
}

subcodes! {
    /// Of a ROUTE-REFRESH Message Error (RFC 7313).
    RefreshSubcode {
        /// Reserved.
        Reserved = 0 "Reserved",
        /// Data: the whole message.
        InvalidMessageLength = 1 "Invalid Message Length",
    }
}
