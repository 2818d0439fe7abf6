//! Records: what goes in comes out, and nothing else comes in.
