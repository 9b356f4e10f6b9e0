//! Progress of what comes from the network.

use super::output::Output;
use super::shown::shown;
use indicatif::ProgressBar;
use otolith::download::Progress;

/// A bar that shows one download after another.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(output: &Output) -> Bar {
        Bar(output.bytes())
    }

    pub(super) fn show(&self, progress: Progress<'_>) {
        let what = shown(progress.what);
        if self.0.message() != what {
            self.0.set_message(what.into_owned());
            self.0.reset();
        }
        match progress.total {
            Some(total) => self.0.set_length(total),
            None => self.0.unset_length(),
        }
        self.0.set_position(progress.bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
