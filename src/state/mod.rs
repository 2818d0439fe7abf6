//! States: texts with a history, as git keeps one for files.
//!
//! | module | what it does |
//! |---|---|
//! | `revision`, `revisions` | an immutable moment of a text; the graph of all |
//! | `states`, `travel` | movable references to revisions: create, append; fork, roll back |
//! | `blocks` | which KV blocks a history has |
//! | `commit`, `restore`, `record`, `garbage` | to storage and back, as data; sealed records; what nobody needs |
//! | `views` | what callers see |
//! | `text`, `diff`, `state_diff`, `changes`, `comparing` | what differs between two states |
//! | `ancestor`, `merge`, `resolution`, `merge_tokens`, `merge_maps`, `merging` | making one of several |
//! | `export`, `import` | states as files |
//! | `clean_up` | which states go when there are too many |
//! | `commands` | all of it as commands in JSON |

pub mod ancestor;
pub mod blocks;
pub mod changes;
pub mod clean_up;
pub mod commands;
pub mod commit;
pub mod comparing;
pub mod diff;
pub mod export;
pub mod garbage;
pub mod import;
pub mod kv_report;
pub mod merge;
pub mod merge_maps;
pub mod merge_tokens;
pub mod merging;
pub mod record;
pub mod resolution;
pub mod restore;
pub mod revision;
pub mod revisions;
pub mod state_diff;
pub mod states;
pub mod text;
pub mod travel;
pub mod views;

#[cfg(test)]
pub(crate) mod lab;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod scale_tests;
#[cfg(test)]
mod testing;

pub use ancestor::common_ancestor;
pub use changes::{Change, JsonMap, changes};
pub use commit::Commit;
pub use diff::{DiffHunk, HunkKind, TokenDiff};
pub use merge_maps::{merge_maps, merge_tags};
pub use merge_tokens::{
    MergeConflict, MergeConflicts, MergeRequest, MergeStrategy, Merged, merge_tokens,
};
pub use resolution::{OnConflict, Resolution, TextResolution};
pub use restore::MissingBlock;
pub use revision::{Attributes, ModelRef, Operation, Revision, RevisionId};
pub use state_diff::StateDiff;
pub use states::{State, StateRecord, States};
pub use text::{Span, TokenText, token_offsets};
