//! The arms: each a view of one collection of raw frames, or a classifier on pooled ones.
//!
//! | arm | what a record is in its view | after |
//! |---|---|---|
//! | `concat-64` | 64 frames evenly spaced, concatenated, length one, inner product | the tutorial |
//! | `flat` | all frames concatenated, length one, inner product | what the cap of 32,768 dimensions forbade |
//! | `mean`, `mean-std` | pooled vectors, the second z-scored; cosine | |
//! | `maxsim` | the whole matrix; cosine of rows | ColBERT's late interaction |
//! | `maxsim-white` | stacked with context (log-mel only), every second row, whitened, cosine of rows | |
//! | `codes` | rows of `maxsim-white` coded by k-means centroids, pooled, whitened to 100 numbers; cosine | |
//! | `fused` | scores of `maxsim-white` plus half of those of `codes`, each in standard deviations over the records | |
//! | `adapted` | as `codes`, but 400 numbers, not whitened, then linear discriminants of the records' classes; cosine | |
//! | `knn` | the ten nearest by `adapted` vote for their classes, by distance | Dudani 1976 |
//! | `linear-probe` | logistic regression on seven statistics of each band | |
//! | `fine-tune` | a wav2vec2 network trained on the records' classes, its convolutions frozen | the tutorial |
//! | `tuned` | the mean of that network's last hidden state; cosine | |

use super::protocol::Protocol;
use super::table::ArmKind;
use otolith::Metric;
use otolith::View;
use otolith::pipeline::{Statistic, Step, recipes};
use otolith::{Error, Result};

/// The field of a record that names its class.
pub const CLASS: &str = "class";

/// One way of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arm {
    /// 64 frames, concatenated.
    Concat64,
    /// All frames, concatenated.
    Flat,
    /// The mean frame.
    Mean,
    /// Mean and standard deviation of the frames.
    MeanStd,
    /// MaxSim over all frames.
    MaxSim,
    /// MaxSim over whitened frames.
    MaxSimWhite,
    /// One whitened vector of pooled codes.
    Codes,
    /// MaxSim over whitened frames and pooled codes together.
    Fused,
    /// Pooled codes, by what tells the records' classes apart.
    Adapted,
    /// A vote of the nearest by [`Arm::Adapted`].
    Knn,
    /// A linear classifier.
    LinearProbe,
    /// A network trained for the classes.
    FineTune,
    /// The hidden states of that network.
    Tuned,
}

/// What an arm has to know of the frames.
#[derive(Clone, Copy, Debug)]
pub struct Frames {
    /// Frames of a clip.
    pub rows: usize,
    /// Whether a frame is a short glance (log-mel) that gains by the frames around it.
    pub short: bool,
    /// Seed of the arms that draw.
    pub seed: u64,
}

impl Arm {
    /// Every arm, in the order in which they are run and shown.
    pub const ALL: [Arm; 13] = [
        Arm::Concat64,
        Arm::Flat,
        Arm::Mean,
        Arm::MeanStd,
        Arm::MaxSim,
        Arm::MaxSimWhite,
        Arm::Codes,
        Arm::Fused,
        Arm::Adapted,
        Arm::Knn,
        Arm::LinearProbe,
        Arm::FineTune,
        Arm::Tuned,
    ];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Arm::Concat64 => "concat-64",
            Arm::Flat => "flat",
            Arm::Mean => "mean",
            Arm::MeanStd => "mean-std",
            Arm::MaxSim => "maxsim",
            Arm::MaxSimWhite => "maxsim-white",
            Arm::Codes => "codes",
            Arm::Fused => "fused",
            Arm::Adapted => "adapted",
            Arm::Knn => "knn",
            Arm::LinearProbe => "linear-probe",
            Arm::FineTune => "fine-tune",
            Arm::Tuned => "tuned",
        }
    }

    /// The arms of these names, in the order of [`Arm::ALL`].
    ///
    /// # Errors
    /// [`Error::NotFound`] for a name that is none.
    pub fn named(names: &[String]) -> Result<Vec<Arm>> {
        for name in names {
            if !Arm::ALL.iter().any(|arm| arm.name() == name) {
                return Err(Error::not_found("arm", name, Arm::ALL.map(Arm::name)));
            }
        }
        Ok(Arm::ALL.into_iter().filter(|arm| names.iter().any(|name| name == arm.name())).collect())
    }

    /// The arms whose scores it makes its own of, and how much each counts; none for an arm that answers by itself.
    pub fn parts(self) -> &'static [(Arm, f64)] {
        match self {
            Arm::Fused => &[(Arm::MaxSimWhite, 1.0), (Arm::Codes, 0.5)],
            Arm::Knn => &[(Arm::Adapted, 1.0)],
            _ => &[],
        }
    }

    /// Whether it ranks records or classes.
    pub fn kind(self) -> ArmKind {
        match self {
            Arm::Knn | Arm::LinearProbe | Arm::FineTune => ArmKind::Classifier,
            _ => ArmKind::Search,
        }
    }

    /// Why it has no answer under a protocol.
    pub fn refuses(self, protocol: Protocol) -> Option<&'static str> {
        let closed = self.is_trained() && protocol == Protocol::OpenSet;
        closed.then_some("has no answer for classes that it has not seen")
    }

    /// Whether it is a classifier that is trained and then sees no records, or what is left of one.
    pub fn is_trained(self) -> bool {
        matches!(self, Arm::LinearProbe | Arm::FineTune | Arm::Tuned)
    }

    /// Whether it learns from the records, so that each round needs a fit of its own.
    pub fn is_fitted(self) -> bool {
        matches!(self, Arm::MeanStd | Arm::MaxSimWhite | Arm::Codes | Arm::Adapted) || self.is_trained()
    }

    /// The view that it searches; `None` where that is the raw rows or those of its [`Arm::parts`]. (Of the classifier:
    /// the view that it learns on.)
    pub fn view(self, frames: &Frames) -> Option<View> {
        let view = match self {
            Arm::Concat64 => one_row(64),
            Arm::Flat => one_row(frames.rows),
            Arm::Mean => View::new([Step::Pool(vec![Statistic::Mean])]),
            Arm::MeanStd => View::new([Step::Pool(vec![Statistic::Mean, Statistic::Std]), Step::Standardise]),
            Arm::MaxSim | Arm::Fused | Arm::Knn | Arm::FineTune | Arm::Tuned => return None,
            Arm::MaxSimWhite => View::new(recipes::whitened(frames.short)),
            Arm::Codes => View::new(recipes::codes(frames.short, frames.seed)),
            Arm::Adapted => View::new(recipes::adapted(frames.short, CLASS, frames.seed)).metric(Metric::Cosine),
            Arm::LinearProbe => View::new([Step::Pool(vec![
                Statistic::Mean,
                Statistic::Std,
                Statistic::Max,
                Statistic::Quantile(0.1),
                Statistic::Median,
                Statistic::StdOfDifferences,
                Statistic::MeanAbsDifference,
            ])]),
        };
        Some(view)
    }
}

fn one_row(rows: usize) -> View {
    View::new([Step::Concatenate { rows }, Step::Normalise]).metric(Metric::Dot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_found_by_name_and_run_in_one_order() {
        let names = ["codes".to_owned(), "flat".to_owned()];
        assert_eq!(Arm::named(&names).unwrap(), [Arm::Flat, Arm::Codes]);
        assert!(Arm::named(&["fastest".to_owned()]).unwrap_err().to_string().contains("`concat-64`"));
    }
}
