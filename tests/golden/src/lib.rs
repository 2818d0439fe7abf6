//! Golden checks.
