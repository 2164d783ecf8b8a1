//! The protocol in simulation.

/// The rules that make the protocol safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    LeaseFromBefore,
    ApplyThenExtend,
    NoAnswerWithoutLease,
    NoStaleFetch,
    ForgetWhenRemoved,
}

impl Rule {
    /// Whether it is obeyed.
    pub(super) fn is_obeyed(self) -> bool {
        true
    }
}
