//! A router that takes every session, says nothing, and counts.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use ferrolb_core::types::Password;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::{ScriptedPeer, open_of};
use crate::shell::sys::set_md5_key;

pub(super) struct Router {
    /// Where it listens.
    pub(super) at: Vec<SocketAddr>,
    listeners: Vec<Arc<TcpListener>>,
    asn: Arc<AtomicU32>,
    established: Arc<AtomicUsize>,
}

impl Router {
    /// With a port of its own at each address.
    pub(super) async fn new(addresses: &[&str]) -> Router {
        let mut router = Router {
            at: Vec::new(),
            listeners: Vec::new(),
            asn: Arc::new(AtomicU32::new(64513)),
            established: Arc::default(),
        };
        for address in addresses {
            let address: IpAddr = address.parse().unwrap();
            let listener = Arc::new(TcpListener::bind((address, 0)).await.unwrap());
            router.at.push(listener.local_addr().unwrap());
            router.listeners.push(listener.clone());
            let (asn, established) = (router.asn.clone(), router.established.clone());
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (asn, established) = (asn.load(SeqCst), established.clone());
                    tokio::spawn(async move {
                        let mut peer = ScriptedPeer::over(stream);
                        if peer.open_with(open_of(asn, 180)).await {
                            established.fetch_add(1, SeqCst);
                            let mut unread = [0; 8192];
                            while peer.stream.read(&mut unread).await.is_ok_and(|count| count > 0) {}
                        }
                    });
                }
            });
        }
        router
    }

    /// The AS that it says it has, from the next session on.
    pub(super) fn set_asn(&self, asn: u32) {
        self.asn.store(asn, SeqCst);
    }

    /// Wants this password of speakers at 127.0.0.1 and 127.0.0.2, from the next session on.
    pub(super) fn set_password(&self, password: &Password) {
        for listener in &self.listeners {
            for last in [1, 2] {
                set_md5_key(&**listener, IpAddr::from([127, 0, 0, last]), password).unwrap();
            }
        }
    }

    /// How many sessions it has ever had.
    pub(super) fn established(&self) -> usize {
        self.established.load(SeqCst)
    }
}
