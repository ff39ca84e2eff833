//! Generates the introspection API from `proto/`, without protoc.

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    let file = root.join("ferrolb/v1/introspection.proto");
    println!("cargo:rerun-if-changed={}", file.display());
    let descriptors = protox::compile([file], [root])?;
    tonic_prost_build::configure()
        // `-o json` prints the messages as they are.
        .message_attribute(".", "#[derive(serde::Serialize)] #[serde(rename_all = \"camelCase\")]")
        .enum_attribute(".", "#[derive(serde::Serialize)] #[serde(rename_all = \"camelCase\")]")
        .field_attribute("ferrolb.v1.Session.state", "#[serde(serialize_with = \"super::names::state\")]")
        .field_attribute("ferrolb.v1.SentToPeer.state", "#[serde(serialize_with = \"super::names::state\")]")
        .field_attribute("ferrolb.v1.SessionChange.new", "#[serde(serialize_with = \"super::names::state\")]")
        .field_attribute(
            "ferrolb.v1.SessionChange.old",
            "#[serde(serialize_with = \"super::names::optional_state\")]",
        )
        .compile_fds(descriptors)?;
    Ok(())
}
