//! How the experiment tells how far it is.

/// How far a long piece of work is.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// So many steps of this begin.
    Begin {
        /// What is being done.
        what: &'a str,
        /// Number of steps.
        steps: usize,
    },
    /// One step is done.
    Step,
    /// All are.
    End,
}
