use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// An object's labels, or a Service's selector: texts by key. Cheap to clone, and small, since there are several for each of
/// thousands of objects: one text, in which each key and each value, in the order of the keys, follows its length in octets
/// and a colon.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<str>);

impl Labels {
    /// None.
    pub fn new() -> Labels {
        Labels::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// Whether there is a label, whatever its value.
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// With one more label, or another value for it.
    pub fn with(&self, key: &str, value: &str) -> Labels {
        self.iter().chain([(key, value)]).collect()
    }

    /// Without one of them.
    pub fn without(&self, key: &str) -> Labels {
        self.iter().filter(|(k, _)| *k != key).collect()
    }

    /// All labels, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut ahead = &*self.0;
        std::iter::from_fn(move || {
            let (key, after) = next_text(ahead)?;
            let (value, after) = next_text(after)?;
            ahead = after;
            Some((key, value))
        })
    }
}

/// The text at the front, and what follows it.
fn next_text(ahead: &str) -> Option<(&str, &str)> {
    let (length, ahead) = ahead.split_once(':')?;
    ahead.split_at_checked(length.parse().ok()?)
}

/// Of several values for one key the last counts.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Labels {
        let all: BTreeMap<Box<str>, Box<str>> =
            labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if all.is_empty() {
            return Labels::default();
        }
        let mut text = String::new();
        for part in all.iter().flat_map(|(key, value)| [key, value]) {
            // Writing to a String can't fail.
            let _ = write!(text, "{}:{part}", part.len());
        }
        Labels(text.into())
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>, const N: usize> From<[(K, V); N]> for Labels {
    fn from(labels: [(K, V); N]) -> Labels {
        labels.into_iter().collect()
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn labels_are_found_by_key_and_of_equal_keys_the_last_counts() {
        let labels = Labels::from([("b", "1"), ("a", "2"), ("b", "3"), ("b", "4")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "4")]);
        assert_eq!((labels.get("b"), labels.get("c")), (Some("4"), None));
        assert!(Labels::new().is_empty() && !labels.is_empty() && labels.contains_key("a"));
    }

    #[test]
    fn labels_are_set_and_removed() {
        let labels = Labels::from([("a", "1")]);
        assert_eq!(labels.with("a", "2"), Labels::from([("a", "2")]));
        assert_eq!(labels.with("b", "2"), Labels::from([("a", "1"), ("b", "2")]));
        assert_eq!(labels.without("a"), Labels::new());
        assert_eq!(labels.without("b"), labels);
    }

    #[test]
    fn any_text_is_a_label() {
        let texts = ["", ":", "1:a", "3", "\u{20ac}:", "\0", "a=b,c"];
        let all: Vec<(&str, &str)> = texts.iter().flat_map(|key| [(*key, "x"), (*key, *key)]).collect();
        let labels: Labels = all.iter().copied().collect();
        assert_eq!(labels.iter().count(), texts.len());
        for text in texts {
            assert_eq!(labels.get(text), Some(text), "{text:?}");
        }
        assert_eq!(labels.get("b"), None);
        assert_ne!(Labels::from([("ab", "c")]), Labels::from([("a", "bc")]));
    }

    #[test]
    fn no_labels_take_no_memory() {
        assert_eq!(Labels::new().0.as_ptr(), Labels::default().0.as_ptr());
    }
}
