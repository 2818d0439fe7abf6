//! Any sequence of operations against a list that is searched from end to end.
