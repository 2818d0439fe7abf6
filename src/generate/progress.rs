//! How far a prompt has been read.

use serde::Serialize;

/// Told with each step that reads a piece of a generation's prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PromptProgress {
    /// Tokens that have been read, those from the KV cache included.
    pub done: u32,
    /// Of these, how many were in the KV cache.
    pub cached: u32,
    pub total: u32,
    /// Most tokens that will be generated.
    pub max_tokens: u32,
}
