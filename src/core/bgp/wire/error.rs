use super::notification::{
    ErrorCode, HeaderSubcode, Notification, OpenSubcode, RefreshSubcode, UpdateSubcode,
};

/// Why octets from a peer are no acceptable message. Each knows the NOTIFICATION that answers it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The marker isn't all ones (RFC 4271 6.1).
    #[error("the marker isn't all ones: the stream is out of step")]
    ConnectionNotSynchronized,
    /// The length is out of bounds for the message's type or for the session (RFC 4271 6.1, RFC 8654 section 5).
    #[error("message length {length} is out of bounds")]
    BadMessageLength {
        /// As the header has it, in octets.
        length: u16,
    },
    /// RFC 4271 6.1.
    #[error("unknown message type {0}")]
    BadMessageType(u8),
    /// RFC 4271 6.2.
    #[error("BGP version {0} isn't supported, only 4 is")]
    UnsupportedVersion(u8),
    /// RFC 4271 6.2.
    #[error("unknown optional parameter {0} in OPEN")]
    UnsupportedOptionalParameter(u8),
    /// A known part of OPEN is malformed (RFC 4271 6.2: subcode 0).
    #[error("malformed OPEN: {0}")]
    MalformedOpen(&'static str),
    /// An UPDATE's lengths don't add up, or an attribute is there twice (RFC 4271 6.3).
    #[error("malformed attribute list: {0}")]
    MalformedAttributeList(&'static str),
    /// RFC 4271 6.3.
    #[error("well-known attribute {code} ({name}) is missing")]
    MissingWellKnownAttribute {
        /// The attribute's type code.
        code: u8,
        /// Its name.
        name: &'static str,
    },
    /// One attribute is wrong (RFC 4271 6.3).
    #[error("attribute {code} ({name}): {what}")]
    Attribute {
        /// What the NOTIFICATION says.
        subcode: UpdateSubcode,
        /// The attribute's type code.
        code: u8,
        /// Its name.
        name: &'static str,
        /// What is wrong with it, for a person.
        what: &'static str,
        /// The whole attribute: flags, type, length and value.
        attribute: Vec<u8>,
    },
    /// A prefix in the withdrawn routes or the NLRI field is malformed (RFC 4271 6.3).
    #[error("malformed prefix in the {0} field")]
    InvalidNetworkField(&'static str),
    /// A ROUTE-REFRESH that opens or closes a refresh has to have a body of 4 octets (RFC 7313 section 5).
    #[error("ROUTE-REFRESH of the wrong length")]
    InvalidRefreshLength {
        /// The whole message, header included.
        message: Vec<u8>,
    },
}

impl WireError {
    /// The NOTIFICATION that answers it: code, subcode and data as its RFC wants them.
    pub fn notification(&self) -> Notification {
        let (error, data) = match self {
            WireError::ConnectionNotSynchronized => {
                (ErrorCode::MessageHeader(HeaderSubcode::ConnectionNotSynchronized), Vec::new())
            }
            WireError::BadMessageLength { length } => {
                (ErrorCode::MessageHeader(HeaderSubcode::BadMessageLength), length.to_be_bytes().to_vec())
            }
            WireError::BadMessageType(kind) => {
                (ErrorCode::MessageHeader(HeaderSubcode::BadMessageType), vec![*kind])
            }
            // The data is the version that we speak.
            WireError::UnsupportedVersion(_) => {
                (ErrorCode::Open(OpenSubcode::UnsupportedVersionNumber), vec![0, super::open::VERSION])
            }
            WireError::UnsupportedOptionalParameter(_) => {
                (ErrorCode::Open(OpenSubcode::UnsupportedOptionalParameter), Vec::new())
            }
            WireError::MalformedOpen(_) => (ErrorCode::Open(OpenSubcode::Unspecific), Vec::new()),
            WireError::MalformedAttributeList(_) => {
                (ErrorCode::Update(UpdateSubcode::MalformedAttributeList), Vec::new())
            }
            WireError::MissingWellKnownAttribute { code, .. } => {
                (ErrorCode::Update(UpdateSubcode::MissingWellKnownAttribute), vec![*code])
            }
            // RFC 4271 6.3 asks for no data here.
            WireError::Attribute { subcode: subcode @ UpdateSubcode::MalformedAsPath, .. } => {
                (ErrorCode::Update(*subcode), Vec::new())
            }
            WireError::InvalidNetworkField(_) => {
                (ErrorCode::Update(UpdateSubcode::InvalidNetworkField), Vec::new())
            }
            WireError::Attribute { subcode, attribute, .. } => {
                (ErrorCode::Update(*subcode), attribute.clone())
            }
            WireError::InvalidRefreshLength { message } => {
                (ErrorCode::RouteRefresh(RefreshSubcode::InvalidMessageLength), message.clone())
            }
        };
        Notification { error, data }
    }
}

/// Why a message of ours can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// It wouldn't fit: a capability over 255 octets, an OPEN over 4096, or attributes that leave no room for a prefix.
    #[error("it doesn't fit into a message")]
    TooLong,
    /// IPv6 routes need an IPv6 next hop, IPv4 routes an IPv4 one, or an IPv6 one where RFC 8950 was negotiated.
    #[error("a next hop of this family can't carry these routes on this session")]
    NextHopFamily,
}
