//! How a command ends: 0 done; 1 failed, or done in part; 2 wrong usage; 3 damage found in a database.

use super::shown::tell;
use otolith::{Error, ErrorKind};
use std::io;
use std::process::ExitCode;

pub(super) const DONE: u8 = 0;
const FAILED: u8 = 1;
pub(super) const USAGE: u8 = 2;
const DAMAGE: u8 = 3;

/// Why a command did not do all it was asked.
pub(super) enum Failure {
    /// The library refused.
    Error(Error),
    /// Stdout or stderr could not be written.
    Output(io::Error),
    /// Some of the work failed; each failure has been told, this is the count.
    Partly(String),
    /// Damage was found and has been told.
    Damage(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

/// Tells a failure on stderr and gives the exit code.
pub(super) fn report(result: Result<(), Failure>) -> ExitCode {
    let hint = if let Err(Failure::Error(error)) = &result { hint(error) } else { "" };
    let (code, message) = match result {
        Ok(()) => return ExitCode::from(DONE),
        // Whoever closed the pipe has seen enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::from(DONE),
        Err(Failure::Output(error)) => (FAILED, format!("standard output: {error}")),
        Err(Failure::Error(error)) if error.kind() == ErrorKind::Damage => (DAMAGE, error.to_string()),
        Err(Failure::Error(error)) => (FAILED, error.to_string()),
        Err(Failure::Partly(message)) => (FAILED, message),
        Err(Failure::Damage(message)) => (DAMAGE, message),
    };
    tell(&format!("error: {message}{hint}"));
    ExitCode::from(code)
}

/// What a user of the command can do about an error of the library, which knows of no flags.
fn hint(error: &Error) -> &'static str {
    match error {
        Error::Corrupt { .. } => " (`otolith verify`, `otolith repair`)",
        Error::Mismatch { what, .. } if what == "model" => ": choose it with --model and --layer",
        Error::Invalid { what, .. } if what.starts_with("the run in ") => " (--out)",
        _ => "",
    }
}
