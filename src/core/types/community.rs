use std::fmt;
use std::str::FromStr;

/// A standard community (RFC 1997): `A:B`, each 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StandardCommunity(pub u32);

impl fmt::Display for StandardCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A large community (RFC 8092): `A:B:C`, each 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity {
    /// Global Administrator.
    pub global: u32,
    /// Local Data Part 1.
    pub local1: u32,
    /// Local Data Part 2.
    pub local2: u32,
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.global, self.local1, self.local2)
    }
}

/// A community of either kind, as configuration writes it: `A:B` or `large:A:B:C`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Community {
    /// RFC 1997.
    Standard(StandardCommunity),
    /// RFC 8092.
    Large(LargeCommunity),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Community::Standard(community) => write!(f, "{community}"),
            Community::Large(community) => write!(f, "large:{community}"),
        }
    }
}

/// Why a text is no community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommunityError {
    /// Neither two parts nor four: it may be the name of an alias.
    #[error("is neither A:B nor large:A:B:C")]
    Shape,
    /// Four parts, but the first isn't `large`.
    #[error("has four parts, so it has to be of the form large:A:B:C")]
    NotLarge,
    /// A part isn't a number, or is out of range.
    #[error("has a part that is no decimal number of {0} bits")]
    Number(u8),
}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            [a, b] => {
                let (a, b) = (decimal::<u16>(a, 16)?, decimal::<u16>(b, 16)?);
                Ok(Community::Standard(StandardCommunity(u32::from(a) << 16 | u32::from(b))))
            }
            ["large", a, b, c] => Ok(Community::Large(LargeCommunity {
                global: decimal(a, 32)?,
                local1: decimal(b, 32)?,
                local2: decimal(c, 32)?,
            })),
            [_, _, _, _] => Err(CommunityError::NotLarge),
            _ => Err(CommunityError::Shape),
        }
    }
}

/// Rust's integer parsing takes a leading `+`; Go's doesn't.
fn decimal<T: FromStr>(text: &str, bits: u8) -> Result<T, CommunityError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(CommunityError::Number(bits));
    }
    text.parse().map_err(|_| CommunityError::Number(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_parse_and_others_say_why() {
        assert_eq!("65535:65281".parse(), Ok(Community::Standard(StandardCommunity(0xffff_ff01))));
        let large = LargeCommunity { global: 4294967295, local1: 0, local2: 1 };
        assert_eq!("large:4294967295:0:1".parse(), Ok(Community::Large(large)));
        // RFC 8092 section 5.
        assert_eq!(large.to_string(), "4294967295:0:1");
        for text in ["1:2", "large:1:2:3"] {
            assert_eq!(text.parse::<Community>().map(|c| c.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("1:2:3".parse::<Community>(), Err(CommunityError::Shape));
        assert_eq!("no-export".parse::<Community>(), Err(CommunityError::Shape));
        assert_eq!("big:1:2:3".parse::<Community>(), Err(CommunityError::NotLarge));
        assert_eq!("65536:1".parse::<Community>(), Err(CommunityError::Number(16)));
        assert_eq!("+1:1".parse::<Community>(), Err(CommunityError::Number(16)));
        assert_eq!("large:1:2:4294967296".parse::<Community>(), Err(CommunityError::Number(32)));
    }
}
