//! The command line: one file a subcommand, which reads arguments, calls the library and prints.
//!
//! Results go to stdout, progress and errors to stderr. With `--json` stdout holds exactly one JSON document.
//! Exit codes: see `exit.rs`.

mod add;
mod backup;
mod bench;
mod check;
mod classify;
mod compact;
mod compare;
mod dataset;
mod download;
mod drop;
mod embed;
mod exit;
mod export;
mod fine_tune;
mod import;
mod index;
mod info;
mod label;
mod model;
mod output;
mod records;
mod repair;
mod scratch;
mod search;
mod shown;
mod sound;
mod verify;
mod view;

use crate::exchange::npy;
use clap::{CommandFactory, Parser, Subcommand};
use exit::Failure;
use otolith::{Database, DatabaseOptions};
use output::Output;
use shown::shown_lines;
use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;
#[cfg(unix)]
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  otolith compare                                  the experiment, on the built-in sounds
  otolith compare --data ESC-50 --report out.html  the same on ESC-50
  otolith add sounds.otolith recordings/           put sound files into a database
  otolith search sounds.otolith bark.wav --explain find sounds like this one, and which moments matched

Exit codes: 0 done; 1 failed, or done in part; 2 wrong usage; 3 damage found in a database.";

/// A vector database for records that are whole matrices, with sound built in.
#[derive(Parser)]
#[command(name = "otolith", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options that every subcommand takes.
#[derive(clap::Args)]
struct Global {
    /// Print one JSON document on stdout and nothing else there
    #[arg(long, global = true)]
    json: bool,
    /// No progress, no remarks
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Threads to use; all cores unless given
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Write to databases on network file systems and FUSE too, where commits may be lost and locks may not hold
    #[arg(long, global = true)]
    allow_network_fs: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Compare vector search with a classifier on a set of sounds (the main job)
    Compare(compare::Args),
    /// Put sound files into a database
    Add(add::Args),
    /// Find the records most like a sound or an array
    Search(search::Args),
    /// Check whether an answer is the exact one, by its proof
    Check(check::Args),
    /// Print or save the rows that a model makes of a sound
    Embed(embed::Args),
    /// Print a record
    Get(records::GetArgs),
    /// List records
    List(records::ListArgs),
    /// Delete records
    Delete(records::DeleteArgs),
    /// Say what class records are of
    Label(label::LabelArgs),
    /// Make a view that tells the labelled classes apart
    Adapt(label::AdaptArgs),
    /// Create, list and drop views
    #[command(subcommand)]
    View(view::Action),
    /// Build and list indexes
    #[command(subcommand)]
    Index(index::Action),
    /// Collections, views, sizes
    Info(info::Args),
    /// Look for damage
    Verify(verify::Args),
    /// Save what is whole of a damaged database
    Repair(repair::Args),
    /// Give back the space of deleted and replaced records
    Compact(compact::Args),
    /// Copy a database, also while others write to it
    Backup(backup::Args),
    /// Drop a collection with its records and views
    Drop(drop::Args),
    /// Put arrays and vectors into a database
    Import(import::Args),
    /// Write records out as arrays and vectors
    Export(export::Args),
    /// Measure recall and speed of exact and approximate search on your own data
    Bench(bench::Args),
    /// Train a network to tell classes of sound apart
    FineTune(fine_tune::Args),
    /// Name the classes of sounds by a fine-tuned network
    Classify(classify::Args),
    /// Fetch and prepare data sets
    #[command(subcommand)]
    Dataset(dataset::Action),
    /// Print a completion script for a shell
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Runs the command given by the arguments of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help_or_error) => {
            // A closed pipe behind `--help` is no failure. What is wrong with the arguments is told with parts of them,
            // which may be names from outside.
            let plain = help_or_error.render().to_string();
            let _ = match shown_lines(&plain) {
                Cow::Borrowed(_) => help_or_error.print(),
                Cow::Owned(escaped) => write!(io::stderr(), "{escaped}"),
            };
            return ExitCode::from(if help_or_error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    // A file beyond the limit of this process (`ulimit -f`) is an error of the write, and not the end.
    #[cfg(unix)]
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let mut output = Output::new(cli.global.json, cli.global.quiet);
    let threads = cli.global.threads.map(usize::from);
    if !otolith::use_threads(threads) {
        output.remark("the system gives this process no threads: everything is done by one");
    }
    let opening = Database::options().allow_network_fs(cli.global.allow_network_fs);
    exit::report(dispatch(cli.command, opening, &mut output).and_then(|()| output.finish()))
}

/// Whether these words, the name of the program first, are a command; else what is wrong with them.
///
/// # Errors
/// What the program would print.
#[doc(hidden)] // for the test of the documents
pub fn check_arguments(words: Vec<String>) -> Result<(), String> {
    match Cli::try_parse_from(words) {
        Err(error) if error.use_stderr() => Err(error.to_string()),
        _ => Ok(()),
    }
}

/// `opening` says how a database is opened for writing.
fn dispatch(command: Command, opening: DatabaseOptions, output: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Compare(args) => compare::run(args, opening, output),
        Command::Add(args) => add::run(args, opening, output),
        Command::Search(args) => search::run(args, output),
        Command::Check(args) => check::run(args, output),
        Command::Embed(args) => embed::run(args, output),
        Command::Get(args) => records::get(args, output),
        Command::List(args) => records::list(args, output),
        Command::Delete(args) => records::delete(args, opening, output),
        Command::Label(args) => label::label(args, opening, output),
        Command::Adapt(args) => label::adapt(args, opening, output),
        Command::View(action) => view::run(action, opening, output),
        Command::Index(action) => index::run(action, opening, output),
        Command::Info(args) => info::run(args, output),
        Command::Verify(args) => verify::run(args, output),
        Command::Repair(args) => repair::run(args, output),
        Command::Import(args) => import::run(args, opening, output),
        Command::Compact(args) => compact::run(args, opening, output),
        Command::Backup(args) => backup::run(args, output),
        Command::Drop(args) => drop::run(args, opening, output),
        Command::Export(args) => export::run(args, output),
        Command::Bench(args) => bench::run(args, output),
        Command::FineTune(args) => fine_tune::run(args, output),
        Command::Classify(args) => classify::run(args, output),
        Command::Dataset(action) => dataset::run(action, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "otolith", &mut script);
            output.text(&String::from_utf8_lossy(&script))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_sound() {
        Cli::command().debug_assert();
    }
}
