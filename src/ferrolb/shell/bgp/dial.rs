//! Opens a session's connection.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream};

use super::spec::SessionSpec;

/// Connects to the peer of a session, from its source address and with its TTL.
///
/// # Errors
/// What the system says; a session with a password isn't dialled without it.
pub(super) async fn dial(spec: &SessionSpec) -> io::Result<TcpStream> {
    let socket = if spec.remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if spec.password.is_some() {
        return Err(io::Error::other("TCP MD5 isn't supported yet"));
    }
    let options = socket2::SockRef::from(&socket);
    if spec.remote.is_ipv4() {
        options.set_ttl_v4(u32::from(spec.ttl()))?;
    } else {
        options.set_unicast_hops_v6(u32::from(spec.ttl()))?;
    }
    socket.set_nodelay(true)?;
    if let Some(source) = spec.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(spec.remote).await
}
