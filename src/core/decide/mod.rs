//! Who announces what, and the reason where nobody does.
