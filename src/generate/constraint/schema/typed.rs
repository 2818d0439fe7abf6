//! Schemas that name a type, or have keywords of one.

use super::super::hir::{literal, size};
use super::super::json::Json;
use super::{Compiler, MAX_FREE_NESTING};
use crate::error::Result;
use regex_syntax::hir::Hir;

/// JSON Schema's types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// The keywords by which a type is known where it is not named.
const TELLING: [(Kind, &[&str]); 4] = [
    (
        Kind::Object,
        &[
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "maxProperties",
        ],
    ),
    (
        Kind::Array,
        &["items", "prefixItems", "minItems", "maxItems"],
    ),
    (
        Kind::String,
        &["minLength", "maxLength", "pattern", "format"],
    ),
    (
        Kind::Number,
        &["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
    ),
];

impl Kind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "null" => Kind::Null,
            "boolean" => Kind::Boolean,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "string" => Kind::String,
            "array" => Kind::Array,
            "object" => Kind::Object,
            _ => return None,
        })
    }

    /// Whether a value is of this type.
    pub fn has(self, value: &Json) -> bool {
        match value {
            Json::Null => self == Kind::Null,
            Json::Bool(_) => self == Kind::Boolean,
            Json::Number(number) => match self {
                Kind::Number => true,
                Kind::Integer => number.as_f64().is_some_and(|number| number.fract() == 0.0),
                _ => false,
            },
            Json::String(_) => self == Kind::String,
            Json::List(_) => self == Kind::Array,
            Json::Object(_) => self == Kind::Object,
        }
    }

    /// Whether a value can be of both types.
    pub fn overlaps(self, other: Kind) -> bool {
        let numbers = [Kind::Integer, Kind::Number];
        self == other || numbers.contains(&self) && numbers.contains(&other)
    }
}

/// The types that a schema names, or by its keywords is about. `None` where
/// `type` is wrong, and where nothing tells.
pub fn kinds_of(schema: &Json) -> Option<Vec<Kind>> {
    let named = |name: &Json| match name {
        Json::String(name) => Kind::named(name),
        _ => None,
    };
    match schema.get("type") {
        Some(Json::List(names)) => names.iter().map(named).collect(),
        Some(name) => named(name).map(|kind| vec![kind]),
        None => {
            let told = |keywords: &&[&str]| keywords.iter().any(|k| schema.get(k).is_some());
            let kinds = TELLING.iter().filter(|(_, keywords)| told(keywords));
            let kinds: Vec<Kind> = kinds.map(|(kind, _)| *kind).collect();
            (!kinds.is_empty()).then_some(kinds)
        }
    }
}

impl<'s> Compiler<'s> {
    /// The expression of a schema by its types; of one that says nothing, any
    /// value.
    pub fn typed(&mut self, schema: &'s Json) -> Result<Hir> {
        let kinds = self.declared_kinds(schema)?;
        if kinds.is_empty() && schema.get("type").is_none() {
            return self.free(MAX_FREE_NESTING);
        }
        let mut alternatives = Vec::new();
        for &kind in &kinds {
            // An integer is a number already.
            if kind == Kind::Integer && kinds.contains(&Kind::Number) {
                continue;
            }
            let alternative = match kind {
                Kind::Null => literal("null"),
                Kind::Boolean => Hir::alternation(vec![literal("true"), literal("false")]),
                Kind::Integer => self.number(schema, true)?,
                Kind::Number => self.number(schema, false)?,
                Kind::String => self.string(schema)?,
                Kind::Array => self.list(schema)?,
                Kind::Object => self.object(schema)?,
            };
            self.spend(size(&alternative))?;
            alternatives.push(alternative);
        }
        Ok(Hir::alternation(alternatives))
    }
}
