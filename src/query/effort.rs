//! How much effort a query is worth.

/// How much of the exact answer is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Effort {
    Exact,
    Recall(f64),
    ByHand(ByHand),
}

/// The effort set by hand for each kind of index; kinds without one are not used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ByHand {
    pub(super) ef: Option<usize>,
    pub(super) nprobe: Option<usize>,
    pub(super) candidates: Option<usize>,
}

impl Effort {
    /// Returns whether nothing but the exact answer will do.
    pub(super) fn is_exact(self) -> bool {
        self == Effort::Exact || self == Effort::Recall(1.0)
    }

    pub(super) fn by_hand(self) -> ByHand {
        if let Effort::ByHand(by_hand) = self { by_hand } else { ByHand::default() }
    }
}
