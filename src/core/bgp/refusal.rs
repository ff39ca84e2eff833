//! Recognises a router that takes connections only to refuse them at once, and says what is probably behind it.
//!
//! A router has one session with an address. Where another BGP speaker on the node (a CNI's, say) already has it, the
//! router turns ours away: with Cease/Connection Rejected or Connection Collision Resolution (RFC 4486), or by
//! closing the connection before it has said anything. The same is seen of a router that doesn't know our address. Once may
//! be chance; again and again isn't. The session machine's pauses between attempts grow meanwhile, and nothing that
//! we do harms the session that the router has.

use super::fsm::{Reason, State, Transition};
use super::wire::{CeaseSubcode, ErrorCode};

/// How many refusals in a row are no chance any more.
pub const TELLING: u32 = 3;

/// A session's refusals.
#[derive(Debug, Default)]
pub struct Refusals {
    in_a_row: u32,
}

impl Refusals {
    /// Takes note of a change of state; gives the reason to show for it.
    pub fn judge(&mut self, transition: &Transition) -> Reason {
        let Transition { old, new, reason } = transition;
        let failed = matches!(new, State::Idle | State::Active);
        if is_refusal(*old, reason) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else if failed || *new == State::Established {
            self.in_a_row = 0;
        }
        if failed && self.in_a_row >= TELLING {
            Reason::Refused { how: Box::new(reason.clone()), in_a_row: self.in_a_row }
        } else {
            reason.clone()
        }
    }
}

fn is_refusal(old: State, reason: &Reason) -> bool {
    match reason {
        Reason::NotificationReceived(notification) => {
            matches!(old, State::OpenSent | State::OpenConfirm)
                && matches!(
                    notification.error,
                    ErrorCode::Cease(
                        CeaseSubcode::ConnectionRejected | CeaseSubcode::ConnectionCollisionResolution
                    )
                )
        }
        Reason::ClosedByPeer | Reason::ConnectionLost(_) => old == State::OpenSent,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bgp::wire::Notification;

    #[test]
    fn three_refusals_in_a_row_are_named() {
        let mut refusals = Refusals::default();
        let mut judge = |old, new, reason: &Reason| {
            let transition = Transition { old, new, reason: reason.clone() };
            matches!(refusals.judge(&transition), Reason::Refused { .. })
        };
        let rejected = Notification::new(ErrorCode::Cease(CeaseSubcode::ConnectionRejected));
        let collision = Notification::new(ErrorCode::Cease(CeaseSubcode::ConnectionCollisionResolution));
        let ways = [
            (State::OpenSent, Reason::ClosedByPeer),
            (State::OpenSent, Reason::NotificationReceived(rejected)),
            (State::OpenConfirm, Reason::NotificationReceived(collision)),
            (State::OpenSent, Reason::ConnectionLost("reset".to_owned())),
        ];
        for (n, (old, reason)) in ways.iter().enumerate() {
            assert!(!judge(State::Idle, State::Connect, &Reason::Retry));
            assert_eq!(judge(*old, State::Idle, reason), n >= 2);
        }
        // Anything else is another story.
        let (_, closed) = &ways[0];
        for other in [Reason::ConnectTimedOut, Reason::HoldTimerExpired, Reason::ConnectFailed(String::new())]
        {
            assert!(judge(State::OpenSent, State::Idle, closed));
            assert!(!judge(State::Connect, State::Active, &other));
            assert!(!judge(State::OpenSent, State::Idle, closed));
            assert!(!judge(State::OpenSent, State::Idle, closed));
            assert!(judge(State::OpenSent, State::Idle, closed));
        }
        assert!(!judge(State::OpenConfirm, State::Established, &Reason::KeepaliveReceived));
        assert!(!judge(State::Established, State::Idle, closed));
        assert!(!judge(State::OpenSent, State::Idle, closed));
    }
}
