//! FerroLB: a load balancer for bare-metal Kubernetes.
#![deny(unsafe_code)]

fn main() {}
