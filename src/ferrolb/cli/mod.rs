//! The command line: definitions, offline commands, tables.

mod allocate;
mod args;
mod check;
mod cluster;
mod controller;
mod explain;
mod goflags;
mod live;
mod load;
mod pages;
mod plan;
mod print;
mod speaker;
mod status;
mod table;
mod watch;

use std::process::ExitCode;

use clap::Parser;

pub use args::{Cli, Command, StandaloneArgs};
pub use controller::{ControllerArgs, WebhookArgs, WebhookMode};
pub use pages::PageArgs;
pub use speaker::SpeakerArgs;

/// Parses the arguments, runs the command, and gives the exit status: 0, 1 where something was found wrong, 2 where the
/// input can't be read or the arguments are wrong.
pub fn run() -> ExitCode {
    match Cli::parse_from(goflags::normalise(std::env::args_os())).command {
        Command::Plan(args) => plan::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Allocate(args) => allocate::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Standalone(args) => crate::roles::standalone::run(&args),
        Command::Speaker(args) => crate::roles::speaker::run(&args),
        Command::Controller(args) => crate::roles::controller::run(&args),
        Command::Crds => match print::stdout(&ferrolb_api::crd::yaml()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => refuse(message),
        },
    }
}

/// One line on standard error, and exit status 2.
fn refuse(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("ferrolb: {message}");
    ExitCode::from(2)
}
