//! How long things take when there is much of everything.
