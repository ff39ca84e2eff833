//! Not faster than kube-proxy: when traffic that an announcement brings would find no rules on the node yet.
//!
//! Two rules, both about announcing only: withdrawals never wait, and what is announced already stays.
//! - After the node's boot nothing is announced before kube-proxy is healthy and has written its rules once, for a bounded
//!   time ([`Start`]).
//! - A node that becomes eligible for a service with external traffic policy Local announces it once the service's
//!   `healthCheckNodePort` reports local endpoints, or after a bounded time ([`LOCAL_LIMIT`], [`local_answer`]).

use std::collections::BTreeSet;
use std::time::Duration;

/// How the names of kube-proxy's metrics begin.
const SUBSYSTEM: &str = "kubeproxy_";
/// When rules were last written, and last wanted, in seconds since 1970; labelled with the address family.
const LAST_WRITTEN: &str = "kubeproxy_sync_proxy_rules_last_timestamp_seconds";
const LAST_QUEUED: &str = "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds";

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
    /// It is healthy, and has written no rules yet ([`rules_written`]).
    NoRules,
}

/// Whether kube-proxy has written its rules once for each address family, by its metrics in Prometheus' text format.
///
/// It calls itself healthy from its start on, and writes its rules when it knows all services: where there are thousands,
/// seconds later. What kube-proxy doesn't tell of (the metrics are of others, or of a version that has other names for
/// them) counts as written.
pub fn rules_written(metrics: &str) -> bool {
    let (mut queued, mut written) = (BTreeSet::new(), BTreeSet::new());
    for line in metrics.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let known = [(LAST_QUEUED, &mut queued), (LAST_WRITTEN, &mut written)];
        let found =
            known.into_iter().find_map(|(name, families)| Some((series.strip_prefix(name)?, families)));
        // Without a label, as older versions have it, a series is there from the start, and 0.
        if let Some((family, families)) = found
            && value.parse::<f64>().is_ok_and(|seconds| seconds > 0.0)
        {
            families.insert(family);
        }
    }
    let is_kube_proxy = metrics.lines().any(|line| line.starts_with(SUBSYSTEM));
    !is_kube_proxy || !written.is_empty() && queued.is_subset(&written)
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
            (Some(20), 9, Probe::NoRules, false),
            (Some(20), 10, Probe::NoRules, true),
            (Some(400), 0, Probe::NoRules, true),
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

    #[test]
    fn kube_proxys_metrics_tell_whether_it_has_written_rules() {
        let text = |series: &[(&str, &str)]| {
            let lines: Vec<_> = series.iter().map(|(series, value)| format!("{series} {value}\n")).collect();
            format!(
                "# HELP kubeproxy_x of kube-proxy\n# TYPE kubeproxy_x gauge\nkubeproxy_x 3\n{}",
                lines.concat()
            )
        };
        let (queued, written) = ("kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds", LAST_WRITTEN);
        let of = |name: &str, family: &str| format!("{name}{{ip_family=\"{family}\"}}");
        let (queued4, queued6) = (of(queued, "IPv4"), of(queued, "IPv6"));
        let (written4, written6) = (of(written, "IPv4"), of(written, "IPv6"));
        let time = "1.795744216517e+09";
        for (series, expected) in [
            (&[][..], false),
            (&[(&*queued4, time), (&*queued6, time)], false),
            (&[(&*queued4, time), (&*queued6, time), (&*written4, time)], false),
            (&[(&*queued4, time), (&*queued6, time), (&*written4, time), (&*written6, time)], true),
            (&[(&*queued4, time), (&*written4, time)], true),
            // Without families.
            (&[(queued, "0"), (written, "0")], false),
            (&[(queued, time), (written, "0")], false),
            (&[(queued, time), (written, time)], true),
            (&[(written, "soon")], false),
        ] {
            assert_eq!(rules_written(&text(series)), expected, "{series:?}");
        }
        for others in ["", "\n", "up 1\n", "<html>"] {
            assert!(rules_written(others), "{others:?}");
        }
    }
}
