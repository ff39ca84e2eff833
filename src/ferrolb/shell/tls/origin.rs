//! Where the certificate of a port comes from, and how it stays good.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{error, info};

use super::certs::{AHEAD, Bundle};
use super::served::Served;

/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// How often the end of a certificate that was made here is looked at.
const LOOK_AT_OWN: Duration = Duration::from_secs(3600);
/// How long until what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `tls.crt` and `tls.key` in this directory, which somebody else renews.
    Directory(PathBuf),
    /// It is made here, for this name, by a CA that nobody knows, and kept nowhere.
    Own(String),
}

impl Origin {
    /// Keeps the certificate in use up to date. `told` is given what is wrong, or `None` where nothing is, whenever that changes.
    pub async fn keep(&self, served: &Served, told: impl Fn(Option<String>)) -> std::convert::Infallible {
        let pause = if matches!(self, Origin::Own(_)) { LOOK_AT_OWN } else { LOOK };
        let mut before: Option<String> = None;
        loop {
            let problem = match self.look(served, Timestamp::now()).await {
                Ok(true) => {
                    info!(event = "certificateInUse", "a certificate is in use from now on");
                    None
                }
                Ok(false) => None,
                Err(problem) => Some(problem),
            };
            if problem != before {
                if let Some(problem) = &problem {
                    error!(event = "certificateProblem", error = %problem, "this certificate can't be used: what was in use before stays; tried again every few seconds");
                }
                told(problem.clone());
            }
            tokio::time::sleep(if problem.is_some() { RETRY } else { pause }).await;
            before = problem;
        }
    }

    /// Puts what there is now to use; whether that was another one before.
    async fn look(&self, served: &Served, now: Timestamp) -> Result<bool, String> {
        match self {
            Origin::Directory(directory) => served.put(&Bundle::from_directory(directory).await?),
            Origin::Own(name) => {
                if served.bundle().is_some_and(|bundle| bundle.holds(name, now, AHEAD)) {
                    return Ok(false);
                }
                served.put(&Bundle::generate(name, now, &Bundle::default())?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_second(1_764_000_000 + n * 86400).unwrap()
    }

    #[tokio::test]
    async fn files_are_taken_as_they_change_and_bad_ones_never() {
        let directory = tempfile::tempdir().unwrap();
        let write = |bundle: &Bundle, names: &[&str]| {
            for name in names {
                std::fs::write(directory.path().join(name), &bundle.data()[*name]).unwrap();
            }
        };
        let both = ["tls.crt", "tls.key"];
        let make = |n| Bundle::generate("x", day(n), &Bundle::default()).unwrap();
        let (first, second) = (make(0), make(1));
        let origin = Origin::Directory(directory.path().into());
        let served = Served::default();
        assert!(origin.look(&served, day(0)).await.is_err_and(|e| e.contains("tls.crt")));
        write(&first, &both);
        assert_eq!(origin.look(&served, day(0)).await, Ok(true));
        assert_eq!(origin.look(&served, day(0)).await, Ok(false));
        // One of the two is new already.
        write(&second, &["tls.crt"]);
        assert!(origin.look(&served, day(0)).await.is_err());
        assert_eq!(served.bundle().unwrap().data()["tls.crt"], first.data()["tls.crt"]);
        write(&second, &both);
        assert_eq!(origin.look(&served, day(0)).await, Ok(true));
        assert_eq!(served.bundle().unwrap().data()["tls.crt"], second.data()["tls.crt"]);
    }

    #[tokio::test]
    async fn an_own_certificate_is_made_once_and_anew_before_it_ends() {
        let (origin, served) = (Origin::Own("localhost".into()), Served::default());
        assert_eq!(origin.look(&served, day(0)).await, Ok(true));
        let first = served.bundle();
        assert_eq!(origin.look(&served, day(270)).await, Ok(false));
        assert_eq!(served.bundle(), first);
        assert_eq!(origin.look(&served, day(280)).await, Ok(true));
        assert!(served.bundle().unwrap().holds("localhost", day(280), AHEAD));
    }
}
