//! A JSON schema to an expression for the JSON that fits it.
//!
//! The expression may match less than the schema allows, never more: objects
//! have their declared properties in their order, numbers no exponent, white
//! space is one optional space after `,` and `:`, and what would nest without
//! end nests a few levels. `docs/constraints.md` has the list. What cannot be
//! kept to is an error that names the keyword and its place.

mod combined;
mod disjoint;
mod list;
mod number;
mod object;
mod pattern;
mod pointer;
mod string;
mod typed;

use super::hir::{literal, optional, size};
use super::json::Json;
use super::regex::quoted;
use crate::error::{Error, Result};
use regex_syntax::hir::Hir;

pub const OPTION: &str = "constraint.jsonSchema";

/// How many parts an expression may have, copies counted each.
pub const MAX_PARTS: usize = 200_000;
/// How often a reference may be followed while it is being followed: so deep
/// nests what refers to itself.
pub const MAX_RECURSION: usize = 3;
/// How deep lists and objects nest that a schema says nothing of.
pub const MAX_FREE_NESTING: usize = 2;

/// Compiles a schema. Errors: `invalid-option`.
pub fn compile(schema: &Json) -> Result<Hir> {
    Compiler {
        root: schema,
        path: String::new(),
        followed: Vec::new(),
        parts_left: MAX_PARTS,
    }
    .value(schema)
}

struct Compiler<'s> {
    root: &'s Json,
    /// Where in the schema we are, as a JSON pointer.
    path: String,
    /// The references that are being followed.
    followed: Vec<&'s str>,
    parts_left: usize,
}

impl<'s> Compiler<'s> {
    /// The expression for the values that `schema` allows.
    fn value(&mut self, schema: &'s Json) -> Result<Hir> {
        self.spend(1)?;
        match schema {
            Json::Bool(true) => self.free(MAX_FREE_NESTING),
            Json::Bool(false) => Ok(Hir::fail()),
            Json::Object(keywords) => {
                self.check_keywords(keywords)?;
                match self.combined(schema)? {
                    Some(combined) => Ok(combined),
                    None => self.typed(schema),
                }
            }
            other => Err(self.wrong(other, "an object, true or false")),
        }
    }

    /// The expression of a schema at `keyword` of the one at hand, and there at
    /// `part`, a key or an index.
    fn value_at(&mut self, keyword: &str, part: Option<&str>, schema: &'s Json) -> Result<Hir> {
        self.at(keyword, part, |compiler| compiler.value(schema))
    }

    /// Goes on in another place of the schema.
    fn at<T>(
        &mut self,
        keyword: &str,
        part: Option<&str>,
        go_on: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let length = self.path.len();
        for token in std::iter::once(keyword).chain(part) {
            self.path.push('/');
            self.path.push_str(&pointer::escaped(token));
        }
        let result = go_on(self);
        self.path.truncate(length);
        result
    }

    /// A copy, of the cost of which the account is kept: schemas of a few lines
    /// could ask for any number of them.
    fn copy(&mut self, hir: &Hir) -> Result<Hir> {
        self.spend(size(hir))?;
        Ok(hir.clone())
    }

    fn spend(&mut self, parts: usize) -> Result<()> {
        match self.parts_left.checked_sub(parts) {
            Some(left) => {
                self.parts_left = left;
                Ok(())
            }
            None => Err(self.wrong(
                self.root,
                "smaller: with its references and lists written out it has too many parts",
            )),
        }
    }

    /// The error for a value at the place at hand.
    fn wrong(&self, value: &Json, range: impl Into<String>) -> Error {
        Error::option(format!("{OPTION}{}", self.path), short(value), range)
    }

    /// The error for the value of a keyword.
    fn wrong_at(&self, keyword: &str, value: &Json, range: impl Into<String>) -> Error {
        let keyword = pointer::escaped(keyword);
        Error::option(
            format!("{OPTION}{}/{keyword}", self.path),
            short(value),
            range,
        )
    }

    /// The value of a keyword that counts something.
    fn count(&self, schema: &Json, keyword: &str) -> Result<Option<u32>> {
        let Some(value) = schema.get(keyword) else {
            return Ok(None);
        };
        let count = match value {
            // 3.0 is an integer too.
            Json::Number(number) => number
                .as_f64()
                .filter(|count| count.fract() == 0.0 && (0.0..=1e9).contains(count)),
            _ => None,
        };
        match count {
            Some(count) => Ok(Some(count as u32)),
            None => Err(self.wrong_at(keyword, value, "a whole number from 0 to 10^9")),
        }
    }

    /// Any value, in which lists and objects nest at most `nesting` deep.
    fn free(&mut self, nesting: usize) -> Result<Hir> {
        let mut kinds = vec![
            literal("null"),
            literal("true"),
            literal("false"),
            number::any(),
            string::any(),
        ];
        if let Some(nesting) = nesting.checked_sub(1) {
            kinds.push(self.free_list(nesting)?);
            kinds.push(self.free_object(nesting)?);
        }
        let any = Hir::alternation(kinds);
        self.spend(size(&any))?;
        Ok(any)
    }

    fn free_list(&mut self, nesting: usize) -> Result<Hir> {
        let value = self.free(nesting)?;
        self.list_of(value, 0, None)
    }

    fn free_object(&mut self, nesting: usize) -> Result<Hir> {
        let value = self.free(nesting)?;
        self.map_of(value, 0, None)
    }
}

/// Between the members of a list or an object.
fn comma() -> Hir {
    Hir::concat(vec![literal(","), optional(literal(" "))])
}

/// Between a key and its value.
fn colon() -> Hir {
    Hir::concat(vec![literal(":"), optional(literal(" "))])
}

/// A value as JSON, in the white space of all.
fn constant(value: &Json) -> Hir {
    let between = |parts: Vec<Hir>| {
        let mut separated = Vec::new();
        for part in parts {
            if !separated.is_empty() {
                separated.push(comma());
            }
            separated.push(part);
        }
        Hir::concat(separated)
    };
    match value {
        Json::List(values) => Hir::concat(vec![
            literal("["),
            between(values.iter().map(constant).collect()),
            literal("]"),
        ]),
        Json::Object(members) => {
            let member = |(key, value): &(String, Json)| {
                Hir::concat(vec![object::key(key), constant(value)])
            };
            Hir::concat(vec![
                literal("{"),
                between(members.iter().map(member).collect()),
                literal("}"),
            ])
        }
        simple => literal(simple.to_string()),
    }
}

/// As JSON, of bounded length.
fn short(value: &Json) -> String {
    const MOST: usize = 200;
    match value {
        Json::String(text) => quoted(text),
        other => {
            let text = other.to_string();
            let mut short: String = text.chars().take(MOST).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            short
        }
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
