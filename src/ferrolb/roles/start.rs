//! What every role begins with: the log, the runtime, and the signals that end it.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::shell::sys;
use crate::shell::telemetry::log::{self, LogLevel};

/// Runs a role to its end; exit status 2, and one sentence on standard error, where it can't start or go on.
pub fn run(log_level: LogLevel, role: impl Future<Output = Result<(), String>>) -> ExitCode {
    sys::frugal_allocator();
    log::init(log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(role),
        Err(e) => Err(format!("the runtime can't start: {e}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ferrolb: {message}");
            ExitCode::from(2)
        }
    }
}

/// Waits for SIGTERM or SIGINT, which from now on don't kill the process.
///
/// # Errors
/// The signals can't be handled.
pub fn ending() -> Result<impl Future<Output = ()>, String> {
    let signals = |kind| signal(kind).map_err(|e| format!("signals can't be handled: {e}"));
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
