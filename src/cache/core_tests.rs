//! The core as its host drives it.
