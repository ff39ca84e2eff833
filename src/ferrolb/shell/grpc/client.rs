//! For commands that ask a running role.

use std::path::Path;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::api::introspection_client::IntrospectionClient;

/// A connection to a role.
pub type Client = IntrospectionClient<Channel>;

/// Connects to the role that serves at `socket`.
///
/// # Errors
/// One sentence with the remedy.
pub async fn connect(socket: &Path) -> Result<Client, String> {
    let fail = |why: &str| {
        let path = socket.display();
        format!(
            "nobody can be asked at {path}: {why}; is the role running, and may this user use its socket?"
        )
    };
    // What the system says of it is clearer than what comes through gRPC.
    drop(tokio::net::UnixStream::connect(socket).await.map_err(|e| fail(&e.to_string()))?);
    let path = socket.to_str().ok_or_else(|| fail("its name isn't UTF-8"))?;
    let endpoint = Endpoint::from_shared(format!("unix://{path}")).map_err(|e| fail(&e.to_string()))?;
    let channel = endpoint.connect().await.map_err(|e| fail(&e.to_string()))?;
    // A full table is more than the default of 4 MiB, and what comes is our own role's.
    Ok(IntrospectionClient::new(channel).max_decoding_message_size(usize::MAX))
}

/// What a refusal says, for people.
pub fn refusal(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "the role is of an older version, and doesn't know this question".to_owned(),
        _ => status.message().to_owned(),
    }
}
