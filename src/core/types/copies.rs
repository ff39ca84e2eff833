use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

/// One copy each of values of which thousands of objects have equal ones: names of namespaces, nodes and pools, sets of
/// attributes. What only the table itself still holds is dropped now and then.
#[derive(Clone, Debug)]
pub struct Copies<T: ?Sized + Eq + Hash> {
    known: HashSet<Arc<T>>,
    /// How many there may be until those are dropped.
    limit: usize,
}

/// A list that is shared and never changed. An empty one takes no memory.
pub fn shared<T>(list: Vec<T>) -> Arc<[T]> {
    if list.is_empty() { Arc::default() } else { list.into() }
}

/// The least number at which it is worth looking for values that nobody has.
const LEAST: usize = 64;

impl<T: ?Sized + Eq + Hash> Default for Copies<T> {
    fn default() -> Copies<T> {
        Copies { known: HashSet::new(), limit: LEAST }
    }
}

impl<T: ?Sized + Eq + Hash> Copies<T> {
    /// The copy of this value that all have; the first is that copy itself.
    pub fn share(&mut self, value: Arc<T>) -> Arc<T> {
        if let Some(known) = self.known.get(&*value) {
            return known.clone();
        }
        if self.known.len() >= self.limit {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.limit = self.known.len().saturating_mul(2).max(LEAST);
        }
        self.known.insert(value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lists_take_no_memory() {
        assert_eq!(shared::<u64>(vec![]).as_ptr(), shared::<u64>(vec![]).as_ptr());
        assert_eq!(*shared(vec![1, 2]), [1, 2]);
    }

    #[test]
    fn equal_values_become_one() {
        let mut copies = Copies::<str>::default();
        let first = copies.share("a".into());
        let other = copies.share("b".into());
        assert!(Arc::ptr_eq(&first, &copies.share("a".into())));
        assert_eq!((&*first, &*other), ("a", "b"));
    }

    #[test]
    fn what_nobody_has_is_dropped_and_what_somebody_has_stays() {
        let mut copies = Copies::<str>::default();
        let kept = copies.share("kept".into());
        for n in 0..10_000 {
            copies.share(n.to_string().into());
        }
        assert!(copies.known.len() <= LEAST, "{}", copies.known.len());
        assert!(Arc::ptr_eq(&kept, &copies.share("kept".into())));
    }
}
