//! The `otolith` command.

fn main() -> std::process::ExitCode {
    otolith::cli::run()
}
