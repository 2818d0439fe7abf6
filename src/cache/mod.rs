//! Answers kept, so that none is computed twice: the part of the response cache
//! that decides. It knows no model, no clock and no storage: its host gives it
//! the time and a random number with each call, and carries records to and from
//! other layers.
//!
//! | module | what it does |
//! |---|---|
//! | `canonical`, `key` | the one spelling of a request; its hash |
//! | `entry`, `record`, `signature` | what is known of an answer; as sealed bytes; signed |
//! | `memory` | answers in memory: order, limits, expiry, pins |
//! | `refresh` | which are computed anew before they expire |
//! | `invalidation`, `clean_up` | which are to be deleted, here and in other layers |
//! | `semantic`, `guards` | which prompt means the same |
//! | `wording`, `phrases`, `numerals` | what a prompt says, for the guards |
//! | `metrics`, `latency`, `events`, `prometheus` | what happened |
//! | `settings`, `core` | all of it behind one type |

pub mod canonical;
pub mod clean_up;
pub mod core;
pub mod entry;
pub mod events;
pub mod guards;
pub mod invalidation;
pub mod key;
pub mod latency;
pub mod memory;
pub mod metrics;
mod numerals;
mod phrases;
pub mod prometheus;
pub mod record;
pub mod refresh;
pub mod semantic;
pub mod settings;
pub mod signature;
mod wording;

#[cfg(test)]
mod list;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod testing;
