use std::fmt;
use std::sync::Arc;

/// An object's labels, or a Service's selector: texts by key. Cheap to clone, and small: a map would take half a kilobyte for
/// a single label, and there are several such maps for each of thousands of objects.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

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
        let place = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        self.0.get(place).map(|(_, value)| &**value)
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
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// Of several values for one key the last counts.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Labels {
        let mut all: Vec<(Box<str>, Box<str>)> =
            labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        if all.is_empty() {
            return Labels::default();
        }
        // Stable, so that the last of equal keys stays last; `dedup_by` keeps the first of a run, hence the swap.
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Labels(all.into())
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
    fn no_labels_take_no_memory() {
        assert_eq!(Labels::new().0.as_ptr(), Labels::default().0.as_ptr());
    }
}
