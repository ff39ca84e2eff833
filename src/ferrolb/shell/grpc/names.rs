//! Names of states, for people and for JSON.

use serde::Serializer;

use super::api::SessionState;

impl SessionState {
    /// The RFC's name.
    pub fn name(self) -> &'static str {
        match self {
            SessionState::Unspecified => "unknown",
            SessionState::Idle => "Idle",
            SessionState::Connect => "Connect",
            SessionState::Active => "Active",
            SessionState::OpenSent => "OpenSent",
            SessionState::OpenConfirm => "OpenConfirm",
            SessionState::Established => "Established",
        }
    }
}

/// The name of a state as the API carries it, also of one that a newer role sends.
pub fn of(state: i32) -> &'static str {
    SessionState::try_from(state).unwrap_or_default().name()
}

pub fn state<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(of(*value))
}

pub fn optional_state<S: Serializer>(value: &Option<i32>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(state) => serializer.serialize_some(of(*state)),
        None => serializer.serialize_none(),
    }
}
