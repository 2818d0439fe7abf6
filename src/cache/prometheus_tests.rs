//! The text, line by line.
