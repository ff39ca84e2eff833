use std::fmt::Display;
use std::io;
use std::net::{IpAddr, SocketAddr};

use ferrolb_core::types::Password;
use tokio::net::{TcpSocket, TcpStream};

use crate::shell::sys::set_md5_key;

/// A connection to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Address and port of the peer.
    pub remote: SocketAddr,
    /// The local address; the kernel's choice without one.
    pub source: Option<IpAddr>,
    /// For TCP MD5 (RFC 2385).
    pub password: Option<Password>,
    /// TTL or hop limit of our packets: 1 for an eBGP peer on the same link, else 255.
    pub ttl: u8,
}

/// Opens a connection, with TCP_NODELAY. It waits as long as the kernel does, some two minutes: the caller drops the
/// future when its own time is up.
///
/// # Errors
/// A sentence that says which step failed, and the kernel's reason.
pub async fn dial(options: &Dial) -> io::Result<TcpStream> {
    let Dial { remote, source, password, ttl } = options;
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
        .map_err(|error| explain("can't open a socket", error))?;
    let raw = socket2::SockRef::from(&socket);
    if remote.is_ipv4() {
        raw.set_ttl_v4(u32::from(*ttl)).map_err(|error| explain("can't set the TTL", error))?;
    } else {
        raw.set_only_v6(true).map_err(|error| explain("can't set IPV6_V6ONLY", error))?;
        raw.set_unicast_hops_v6(u32::from(*ttl))
            .map_err(|error| explain("can't set the hop limit", error))?;
    }
    socket.set_nodelay(true).map_err(|error| explain("can't set TCP_NODELAY", error))?;
    if let Some(password) = password {
        // Before the first segment, so that the SYN is signed.
        set_md5_key(&socket, remote.ip(), password)
            .map_err(|error| explain("can't set the password", error))?;
    }
    if let Some(source) = source {
        if source.is_ipv4() != remote.is_ipv4() {
            let what = format!("source address {source} isn't of the family of {}", remote.ip());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let failed = |error| explain(format_args!("can't use source address {source}"), error);
        socket.bind(SocketAddr::new(*source, 0)).map_err(failed)?;
    }
    socket.connect(*remote).await.map_err(|error| explain(format_args!("can't connect to {remote}"), error))
}

fn explain(what: impl Display, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    fn to(remote: SocketAddr) -> Dial {
        Dial { remote, source: None, password: None, ttl: 255 }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn source_ttl_and_nodelay_are_set() {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let options = Dial {
                source: Some(IpAddr::from([127, 0, 0, 9])),
                ttl: 1,
                ..to(listener.local_addr().unwrap())
            };
            let stream = dial(&options).await.unwrap();
            let (_accepted, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip(), IpAddr::from([127, 0, 0, 9]));
            assert_eq!(stream.local_addr().unwrap(), peer);
            assert!(stream.nodelay().unwrap());
            assert_eq!(stream.ttl().unwrap(), 1);

            let listener = TcpListener::bind("[::1]:0").await.unwrap();
            let stream = dial(&Dial { ttl: 1, ..to(listener.local_addr().unwrap()) }).await.unwrap();
            assert_eq!(socket2::SockRef::from(&stream).unicast_hops_v6().unwrap(), 1);
        });
    }

    #[test]
    fn errors_name_the_step() {
        runtime().block_on(async {
            let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            let error = dial(&to(closed)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert!(error.to_string().starts_with(&format!("can't connect to {closed}: ")), "{error}");
            let foreign = Dial { source: Some(IpAddr::from([192, 0, 2, 1])), ..to(closed) };
            let error = dial(&foreign).await.unwrap_err();
            assert!(error.to_string().starts_with("can't use source address 192.0.2.1: "), "{error}");
            let other_family = Dial { source: Some("::1".parse().unwrap()), ..to(closed) };
            assert_eq!(dial(&other_family).await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            let long = Dial { password: Some(Password::new(&[b'k'; 81])), ..to(closed) };
            let error = dial(&long).await.unwrap_err();
            assert_eq!(error.to_string(), "can't set the password: a TCP MD5 password has 1 to 80 octets");
        });
    }

    #[test]
    fn only_the_right_password_connects() {
        runtime().block_on(async {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let listener = TcpListener::bind(address).await.unwrap();
                let remote = listener.local_addr().unwrap();
                set_md5_key(&listener, remote.ip(), &Password::new(b"right")).unwrap();
                let attempt = |password: Option<&[u8]>| {
                    let options = Dial { password: password.map(Password::new), ..to(remote) };
                    async move { timeout(Duration::from_millis(400), dial(&options)).await }
                };
                // The listener's kernel drops segments whose signature is wrong or missing.
                assert!(attempt(Some(b"wrong")).await.is_err());
                assert!(attempt(None).await.is_err());
                let stream = attempt(Some(b"right")).await.unwrap().unwrap();
                let (accepted, _) = listener.accept().await.unwrap();
                accepted.writable().await.unwrap();
                assert_eq!(accepted.try_write(b"x").unwrap(), 1);
                stream.readable().await.unwrap();
                assert_eq!(stream.try_read(&mut [0]).unwrap(), 1);
            }
        });
    }
}
