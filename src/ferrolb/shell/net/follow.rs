use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the kernel is asked for, and which of its notices make the question worth repeating.
pub(super) struct Question<T> {
    /// What it is about, for the log.
    pub(super) about: &'static str,
    pub(super) notices: &'static [MulticastGroup],
    pub(super) ask: fn(Handle) -> BoxFuture<'static, io::Result<Vec<T>>>,
}

/// The answer now, and from then on each other one. The task behind it ends when nobody holds a receiver any more.
///
/// # Errors
/// The kernel refuses a netlink socket, or gives no whole answer. Later failures are logged, and tried again.
pub(super) async fn follow<T>(question: Question<T>) -> io::Result<watch::Receiver<Arc<[T]>>>
where
    T: PartialEq + Send + Sync + 'static,
{
    // Subscribed before the first dump, so that no change falls between the two.
    let mut subscription = Subscription::new(question.notices)?;
    let (sender, receiver) = watch::channel(Arc::from(question.answer(&subscription.handle).await?));
    tokio::spawn(async move {
        loop {
            let error = tokio::select! {
                () = sender.closed() => return,
                ended = question.publish(subscription, &sender) => ended,
            };
            tracing::warn!(%error, "lost track of {}, asking the kernel again", question.about);
            subscription = loop {
                tokio::time::sleep(RETRY).await;
                match Subscription::new(question.notices) {
                    Ok(subscription) => break subscription,
                    Err(error) => tracing::warn!(%error, "can't ask the kernel for {}", question.about),
                }
            };
        }
    });
    Ok(receiver)
}

/// How long to wait before a broken netlink socket is replaced.
const RETRY: Duration = Duration::from_secs(1);
/// How long an answer may take: it has a few kilobytes.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket that hears of changes.
struct Subscription {
    handle: Handle,
    changes: BoxStream<'static, ()>,
    _connection: AbortOnDropHandle<()>,
}

impl Subscription {
    fn new(notices: &[MulticastGroup]) -> io::Result<Subscription> {
        let (connection, handle, changes) = rtnetlink::new_multicast_connection(notices)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Subscription { handle, changes: changes.map(drop).boxed(), _connection: connection })
    }
}

impl<T: PartialEq> Question<T> {
    /// Publishes the answer now and after each change, until asking fails. What a notice says doesn't count, only that one
    /// came, be it that the socket has overflowed: a fresh dump can't miss anything.
    async fn publish(&self, subscription: Subscription, sender: &watch::Sender<Arc<[T]>>) -> io::Error {
        let Subscription { handle, changes, _connection } = subscription;
        // Those that have come during a dump are one change.
        let mut changes = changes.ready_chunks(1024);
        loop {
            let answer = match self.answer(&handle).await {
                Ok(answer) => answer,
                Err(error) => return error,
            };
            sender.send_if_modified(|published| {
                let changed = **published != *answer;
                if changed {
                    *published = answer.into();
                }
                changed
            });
            if changes.next().await.is_none() {
                return io::Error::other("the netlink socket is closed");
            }
        }
    }

    async fn answer(&self, handle: &Handle) -> io::Result<Vec<T>> {
        let answered = tokio::time::timeout(PATIENCE, (self.ask)(handle.clone())).await;
        answered.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
