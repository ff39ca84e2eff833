use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::Copies;

/// The name of a node; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// From its text.
    pub fn new(name: &str) -> NodeName {
        NodeName(name.into())
    }

    /// Lets the text be the copy that all have.
    pub fn share(&mut self, names: &mut Copies<str>) {
        self.0 = names.share(self.0.clone());
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a Service, `namespace/name`; sorts by namespace, then name; cheap to clone.
///
/// It is one word, since a dozen indices hold it for each of thousands of services. Its parts are read as fields.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ServiceKey(Arc<ServiceName>);

/// The parts of a [`ServiceKey`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// From namespace and name.
    pub fn new(namespace: &str, name: &str) -> ServiceKey {
        ServiceKey::of(namespace.into(), name.into())
    }

    /// Lets the namespace be the copy that all have, as long as nobody else has this key.
    pub fn share(&mut self, names: &mut Copies<str>) {
        if let Some(parts) = Arc::get_mut(&mut self.0) {
            parts.namespace = names.share(parts.namespace.clone());
        }
    }

    /// From namespace and name that are shared with others.
    pub fn of(namespace: Arc<str>, name: Arc<str>) -> ServiceKey {
        ServiceKey(Arc::new(ServiceName { namespace, name }))
    }
}

impl std::ops::Deref for ServiceKey {
    type Target = ServiceName;

    fn deref(&self) -> &ServiceName {
        &self.0
    }
}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &ServiceKey) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceKey {
    fn cmp(&self, other: &ServiceKey) -> Ordering {
        // Mostly it is the same one that is looked for.
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceKey").field("namespace", &self.namespace).field("name", &self.name).finish()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceKey;

    #[test]
    fn services_sort_by_namespace_then_name_whoever_made_the_key() {
        let keys =
            [("a", "z"), ("b", "a"), ("b", "b")].map(|(namespace, name)| ServiceKey::new(namespace, name));
        assert!(keys.is_sorted_by(|a, b| a < b));
        assert_eq!(keys[1], ServiceKey::new("b", "a"));
        assert_eq!(keys[1].cmp(&ServiceKey::new("b", "a")), std::cmp::Ordering::Equal);
        assert_eq!((&*keys[1].namespace, &*keys[1].name, keys[1].to_string()), ("b", "a", "b/a".to_owned()));
        assert_eq!(size_of::<ServiceKey>(), size_of::<usize>());
    }
}
