//! What commits write, and what is read back of it.
