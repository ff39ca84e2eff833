//! Asking the node's service proxy over HTTP: whether it is healthy, whether it has written its rules, and whether a service
//! has endpoints on this node.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ferrolb_core::proxy::{Probe, rules_written};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most that is read of kube-proxy's metrics, in octets; they are some 100,000.
const METRICS_LIMIT: u64 = 4 << 20;

/// Where kube-proxy is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// Whether it is healthy.
    pub health: u16,
    /// What it counts, on 127.0.0.1.
    pub metrics: u16,
}

/// Its defaults.
pub const KUBE_PROXY: Ports = Ports { health: 10256, metrics: 10249 };

/// Whether kube-proxy may be relied on: it is healthy, and doesn't deny that it has written its rules.
pub async fn ask_kube_proxy(addresses: &[IpAddr], ports: Ports) -> Probe {
    match ask(addresses, ports.health, "/healthz").await {
        Probe::Status(200) => {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), ports.metrics);
            match timeout(PATIENCE, get_text(address, "/metrics")).await {
                Ok(Ok(metrics)) if !rules_written(&metrics) => Probe::NoRules,
                // Whoever moved or closed that port has the proxy's health to rely on.
                Ok(_) | Err(_) => Probe::Status(200),
            }
        }
        other => other,
    }
}

/// Asks `path` of a port, on the first of these addresses where something listens.
pub async fn ask(addresses: &[IpAddr], port: u16, path: &str) -> Probe {
    let mut probe = Probe::Silent;
    for address in addresses {
        probe = match timeout(PATIENCE, get(SocketAddr::new(*address, port), path)).await {
            Ok(Ok(status)) => return Probe::Status(status),
            Ok(Err(e)) if e.kind() == ErrorKind::ConnectionRefused => Probe::Refused,
            Ok(Err(_)) | Err(_) => Probe::Silent,
        };
    }
    probe
}

/// The status of the answer.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    // "HTTP/1.1 200": nothing behind it matters.
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let status = line.get(9..).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    status.ok_or_else(|| ErrorKind::InvalidData.into())
}

/// All of an answer, in a version of HTTP that has no chunks.
async fn get_text(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut text = Vec::new();
    stream.take(METRICS_LIMIT).read_to_end(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// How long this machine has been up.
pub fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_the_port_does_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses: [IpAddr; 2] = ["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            for answer in [
                "HTTP/1.1 200 OK\r\n\r\n{}",
                "HTTP/1.0 503 Service Unavailable\r\n\r\n",
                "what?\r\n\r\n...",
                "",
            ] {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 64];
                let length = stream.read(&mut request).await.unwrap();
                assert!(request[..length].starts_with(b"GET /healthz HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        for expected in [Probe::Status(200), Probe::Status(503), Probe::Silent, Probe::Silent] {
            assert_eq!(ask(&addresses, port, "/healthz").await, expected);
        }
        server.await.unwrap();
        assert_eq!(ask(&addresses, port, "/healthz").await, Probe::Refused);
        assert!(uptime().is_some_and(|up| up > Duration::ZERO));
    }
}
