//! The `otolith` command.

fn main() -> std::process::ExitCode {
    otolith_cli::run()
}
