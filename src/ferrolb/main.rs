//! FerroLB: a load balancer for bare-metal Kubernetes.
#![deny(unsafe_code)]

mod cli;
mod roles;
mod shell;

fn main() -> std::process::ExitCode {
    cli::run()
}
