use std::fmt;
use std::sync::Arc;

/// The `metadata.uid` of an object. The API server makes UUIDs (RFC 9562), and there are thousands: each is its 16 octets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uid(Form);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// Octets, since a number would have to be aligned.
    Uuid([u8; 16]),
    /// What isn't written as the API server writes a UUID.
    Text(Arc<str>),
}

/// The octets of a UUID that have a hyphen before them.
const HYPHENS: [usize; 4] = [4, 6, 8, 10];

impl Uid {
    /// Whether the object has none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Text(text) if text.is_empty())
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Uid {
        let digits = text.replace('-', "");
        let uuid = u128::from_str_radix(&digits, 16).map(|number| Uid(Form::Uuid(number.to_be_bytes())));
        match uuid {
            Ok(uuid) if uuid.to_string() == text => uuid,
            _ => Uid(Form::Text(text.into())),
        }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Uuid(octets) => octets.iter().enumerate().try_for_each(|(place, octet)| {
                let hyphen = if HYPHENS.contains(&place) { "-" } else { "" };
                write!(f, "{hyphen}{octet:02x}")
            }),
            Form::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uuids_are_octets_and_all_else_is_text() {
        for uuid in ["7d3ae4a8-0c1e-4b8f-9d7e-00c0ffee0001", "00000000-0000-0000-0000-000000000000"] {
            assert!(matches!(Uid::from(uuid).0, Form::Uuid(_)), "{uuid}");
        }
        let others = [
            "",
            "u1",
            "7D3AE4A8-0C1E-4B8F-9D7E-00C0FFEE0001",
            "7d3ae4a80c1e4b8f9d7e00c0ffee0001",
            "+d3ae4a8-0c1e-4b8f-9d7e-00c0ffee0001",
            "7d3ae4a8-0c1e-4b8f-9d7e-00c0ffee00010",
            "7d3ae4a8--0c1e-4b8f-9d7e00c0ffee0001",
        ];
        for other in others {
            assert!(matches!(Uid::from(other).0, Form::Text(_)), "{other}");
        }
        assert!(Uid::from("").is_empty() && !Uid::from("u1").is_empty());
        assert_eq!(size_of::<Uid>(), 24);
    }

    proptest! {
        #[test]
        fn it_says_what_it_was_made_of(text in "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[-+0-9a-fA-F]{0,40}|\\PC{0,40}") {
            prop_assert_eq!(Uid::from(text.as_str()).to_string(), text);
        }
    }
}
