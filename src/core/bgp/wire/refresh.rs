use super::{
    AfiSafi, HEADER_LEN, MessageType, WireError,
    header::{begin, finish},
    octets::Reader,
};
use crate::types::Family;

/// A ROUTE-REFRESH message (RFC 2918, RFC 7313).
///
/// ```text
/// | AFI: 2 | message subtype: 1 | SAFI: 1 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family that it is about; one that isn't negotiated is to be ignored.
    pub family: AfiSafi,
    /// What it says.
    pub subtype: RefreshSubtype,
}

/// What a ROUTE-REFRESH says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshSubtype {
    /// "Send me everything again" (RFC 2918).
    Request,
    /// Beginning of route refresh (RFC 7313).
    Begin,
    /// End of route refresh (RFC 7313).
    End,
    /// To be ignored (RFC 7313 section 5).
    Unknown(u8),
}

impl RouteRefresh {
    /// A request for all routes of this family.
    pub fn request(family: Family) -> RouteRefresh {
        RouteRefresh { family: AfiSafi::unicast(family), subtype: RefreshSubtype::Request }
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// It isn't 4 octets long. Outbound route filters (RFC 5291) would make it longer, but we never offer them.
    pub(super) fn decode(body: &[u8]) -> Result<RouteRefresh, WireError> {
        let mut reader = Reader::new(body);
        let length = u16::try_from(body.len().saturating_add(HEADER_LEN)).unwrap_or(u16::MAX);
        let (Some(afi), Some(subtype), Some(safi)) = (reader.u16(), reader.u8(), reader.u8()) else {
            return Err(WireError::BadMessageLength { length });
        };
        let subtype = RefreshSubtype::from_octet(subtype);
        let refresh = RouteRefresh { family: AfiSafi { afi, safi }, subtype };
        if reader.is_empty() {
            return Ok(refresh);
        }
        match subtype {
            RefreshSubtype::Request => Err(WireError::BadMessageLength { length }),
            RefreshSubtype::Begin | RefreshSubtype::End => {
                let mut message = Vec::with_capacity(usize::from(length));
                message.extend_from_slice(&[0xff; 16]);
                message.extend_from_slice(&length.to_be_bytes());
                message.push(MessageType::RouteRefresh as u8);
                message.extend_from_slice(body);
                Err(WireError::InvalidRefreshLength { message })
            }
            RefreshSubtype::Unknown(_) => Ok(refresh),
        }
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = begin(out, MessageType::RouteRefresh);
        out.extend_from_slice(&self.family.afi.to_be_bytes());
        out.extend_from_slice(&[self.subtype.octet(), self.family.safi]);
        finish(out, start);
    }
}

impl RefreshSubtype {
    fn from_octet(octet: u8) -> RefreshSubtype {
        match octet {
            0 => RefreshSubtype::Request,
            1 => RefreshSubtype::Begin,
            2 => RefreshSubtype::End,
            other => RefreshSubtype::Unknown(other),
        }
    }

    fn octet(self) -> u8 {
        match self {
            RefreshSubtype::Request => 0,
            RefreshSubtype::Begin => 1,
            RefreshSubtype::End => 2,
            RefreshSubtype::Unknown(other) => other,
        }
    }
}
