//! Allocation: which addresses each service gets, or why it gets none.
