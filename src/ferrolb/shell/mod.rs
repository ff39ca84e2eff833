//! Everything that touches the world: sockets, files, clocks, logs.

pub mod bgp;
pub mod facts;
pub mod grpc;
pub mod kube;
pub mod layer2;
pub mod net;
pub mod proxy;
pub mod source;
pub mod state;
pub mod sys;
pub mod telemetry;
pub mod tls;
pub mod webhook;
