//! Not faster than kube-proxy: when traffic that an announcement brings would find no rules on the node yet.
//!
//! Two rules, both about announcing only: withdrawals never wait, and what is announced already stays.
//! - After the node's boot nothing is announced before kube-proxy says that it is healthy, for a bounded time ([`Start`]).
//! - A node that becomes eligible for a service with external traffic policy Local announces it once the service's
//!   `healthCheckNodePort` reports local endpoints, or after a bounded time ([`LOCAL_LIMIT`], [`local_answer`]).

use std::time::Duration;

/// A node that has been up for longer isn't waited on.
pub const FRESH_BOOT: Duration = Duration::from_secs(5 * 60);
/// The longest wait after a boot.
pub const START_LIMIT: Duration = Duration::from_secs(10);
/// The longest wait for a service's local endpoints.
pub const LOCAL_LIMIT: Duration = Duration::from_secs(3);

/// What the `/healthz` of kube-proxy said, or the port did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It wasn't asked yet, or didn't answer in time.
    Silent,
    /// Nothing listens there.
    Refused,
    /// It answers with this HTTP status.
    Status(u16),
}

/// Whether a speaker that starts may announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It may, and why.
    Go(&'static str),
    /// Not yet; ask again.
    Wait,
}

/// Whether a speaker may announce that has waited for `waited` on a node that is up for `uptime` (`None`: unknown), after
/// this answer of kube-proxy.
///
/// On a node that is long up, rules stand already, or there is another proxy, or none: nothing to wait for. On one that
/// booted just now a refused port means that kube-proxy hasn't started yet.
pub fn may_announce(uptime: Option<Duration>, waited: Duration, probe: Probe) -> Start {
    match (uptime, probe) {
        (None, _) => Start::Go("it is not known when the node was booted"),
        (_, Probe::Status(200)) => Start::Go("kube-proxy is healthy"),
        (Some(uptime), _) if uptime.saturating_sub(waited) > FRESH_BOOT => {
            Start::Go("the node has long been up")
        }
        _ if waited >= START_LIMIT => Start::Go("kube-proxy has not become healthy in time"),
        _ => Start::Wait,
    }
}

/// Whether an answer of a service's `healthCheckNodePort` reports local endpoints: it is 200 where there are any. Where
/// nothing listens on a node whose proxy doesn't serve these ports, only the time ends the wait.
pub fn local_answer(probe: Probe) -> bool {
    probe == Probe::Status(200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_boot_waits_for_kube_proxy_for_ten_seconds_at_most() {
        let seconds = Duration::from_secs;
        let goes = |uptime: Option<u64>, waited, probe| {
            matches!(may_announce(uptime.map(seconds), seconds(waited), probe), Start::Go(_))
        };
        for (uptime, waited, probe, expected) in [
            (Some(20), 0, Probe::Silent, false),
            (Some(20), 0, Probe::Refused, false),
            (Some(20), 0, Probe::Status(503), false),
            (Some(20), 0, Probe::Status(200), true),
            (Some(29), 9, Probe::Refused, false),
            (Some(30), 10, Probe::Refused, true),
            (Some(30), 10, Probe::Silent, true),
            // What counts is how long the node was up when the wait began.
            (Some(305), 6, Probe::Status(503), false),
            (Some(301), 0, Probe::Refused, true),
            (Some(301), 0, Probe::Silent, true),
            (Some(100_000), 0, Probe::Status(503), true),
            (None, 0, Probe::Refused, true),
        ] {
            assert_eq!(goes(uptime, waited, probe), expected, "{uptime:?} {waited} {probe:?}");
        }
        assert!(local_answer(Probe::Status(200)));
        assert!(![Probe::Status(503), Probe::Refused, Probe::Silent].into_iter().any(local_answer));
    }
}
