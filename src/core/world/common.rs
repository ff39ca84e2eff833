use std::sync::Arc;

use super::{Object, ServiceAnnotations, ServicePort};
use crate::types::Copies;

/// What thousands of Services and EndpointSlices have in common, kept once: the names of namespaces, nodes and load balancer
/// classes, annotations, and lists of ports. A source has one, and passes each object through it.
#[derive(Debug, Default)]
pub struct Common {
    names: Copies<str>,
    annotations: Copies<ServiceAnnotations>,
    ports: Copies<[ServicePort]>,
}

impl Common {
    /// Lets an object, which nobody else has yet, refer to what others have too. It stays equal to what it was.
    pub fn share(&mut self, object: &mut Object) {
        let Common { names, annotations, ports } = self;
        match object {
            Object::Service(service) => {
                service.key.share(names);
                service.ports = ports.share(service.ports.clone());
                let mut texts = vec![&mut service.class];
                if let Some(own) = Arc::get_mut(&mut service.annotations) {
                    texts.extend([
                        &mut own.address_pool,
                        &mut own.allow_shared_ip,
                        &mut own.allocated_from_pool,
                    ]);
                }
                for text in texts.into_iter().flatten() {
                    *text = names.share(text.clone());
                }
                service.annotations = annotations.share(service.annotations.clone());
            }
            Object::EndpointSlice(slice) => {
                slice.namespace = names.share(slice.namespace.clone());
                if let Some(service) = &mut slice.service {
                    service.share(names);
                }
                for node in slice.endpoints.iter_mut().filter_map(|endpoint| endpoint.node.as_mut()) {
                    node.share(names);
                }
            }
            Object::Allocations(_)
            | Object::Config(_)
            | Object::Namespace(_)
            | Object::Node(_)
            | Object::Secret(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest;

    fn objects(name: &str) -> [Object; 2] {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {
                "name": name, "namespace": "shop", "annotations": {"metallb.io/ip-allocated-from-pool": "p"},
            },
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
            "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n1"}],
        });
        [service, slice].map(|value| manifest::object(value).unwrap().unwrap())
    }

    #[test]
    fn objects_share_what_is_equal_and_stay_as_they_are() {
        let mut common = Common::default();
        let [one, other] = ["a", "b"].map(|name| {
            let mut shared = objects(name);
            shared.iter_mut().for_each(|object| common.share(object));
            assert_eq!(shared, objects(name));
            shared
        });
        let ([Object::Service(s), Object::EndpointSlice(e)], [Object::Service(t), Object::EndpointSlice(f)]) =
            (one, other)
        else {
            panic!("other kinds");
        };
        for (a, b) in [
            (&s.key.namespace, &t.key.namespace),
            (&e.namespace, &s.key.namespace),
            (&e.service.as_ref().unwrap().namespace, &f.namespace),
            (
                s.annotations.allocated_from_pool.as_ref().unwrap(),
                t.annotations.allocated_from_pool.as_ref().unwrap(),
            ),
        ] {
            assert!(Arc::ptr_eq(a, b), "{a}");
        }
        assert!(Arc::ptr_eq(&s.ports, &t.ports));
        let node = |slice: &super::super::EndpointSlice| slice.endpoints[0].node.clone().unwrap();
        assert_eq!(node(&e).as_str().as_ptr(), node(&f).as_str().as_ptr());
    }
}
