//! Arrays.

use super::super::hir::{literal, optional, repeated};
use super::super::json::Json;
use super::{Compiler, MAX_FREE_NESTING, comma};
use crate::error::Result;
use regex_syntax::hir::Hir;

impl<'s> Compiler<'s> {
    /// An array by `prefixItems`, `items`, `minItems` and `maxItems`. The
    /// positions of `prefixItems` are all there, as in a tuple, unless
    /// `maxItems` is below their number.
    pub fn list(&mut self, schema: &'s Json) -> Result<Hir> {
        let min = self.count(schema, "minItems")?.unwrap_or(0);
        let max = self.count(schema, "maxItems")?;
        let mut first = Vec::new();
        match schema.get("prefixItems") {
            Some(Json::List(schemas)) => {
                for (index, schema) in schemas.iter().enumerate() {
                    if max.is_none_or(|max| index < max as usize) {
                        let index = index.to_string();
                        first.push(self.value_at("prefixItems", Some(&index), schema)?);
                    }
                }
            }
            Some(other) => return Err(self.wrong_at("prefixItems", other, "a list of schemas")),
            None => {}
        }
        let rest = match schema.get("items") {
            // Draft 2019-09 and before wrote prefixItems so.
            Some(list @ Json::List(_)) => {
                let range = "a schema; a list of schemas is called prefixItems";
                return Err(self.wrong_at("items", list, range));
            }
            Some(items) => self.value_at("items", None, items)?,
            None => self.free(MAX_FREE_NESTING)?,
        };
        if first.is_empty() {
            return self.list_of(rest, min, max);
        }
        let before = first.len() as u32;
        let min = min.saturating_sub(before);
        let max = max.map(|max| max - before);
        let mut parts = vec![literal("[")];
        for (index, item) in first.into_iter().enumerate() {
            if index > 0 {
                parts.push(comma());
            }
            parts.push(item);
        }
        parts.push(times(Hir::concat(vec![comma(), rest]), min, max));
        parts.push(literal("]"));
        Ok(Hir::concat(parts))
    }

    /// From `min` to `max` of `value`.
    pub fn list_of(&mut self, value: Hir, min: u32, max: Option<u32>) -> Result<Hir> {
        let inside = self.separated(value, min, max)?;
        Ok(Hir::concat(vec![literal("["), inside, literal("]")]))
    }

    /// From `min` to `max` of `member` with commas between.
    pub fn separated(&mut self, member: Hir, min: u32, max: Option<u32>) -> Result<Hir> {
        if max == Some(0) && min == 0 {
            return Ok(Hir::empty());
        }
        let more = Hir::concat(vec![comma(), self.copy(&member)?]);
        let (least, most) = (min.saturating_sub(1), max.map(|max| max.saturating_sub(1)));
        let some = Hir::concat(vec![member, times(more, least, most)]);
        Ok(if min == 0 { optional(some) } else { some })
    }
}

/// `sub` from `min` to `max` times; nothing matches where that is the wrong way
/// round.
fn times(sub: Hir, min: u32, max: Option<u32>) -> Hir {
    if max.is_some_and(|max| max < min) {
        return Hir::fail();
    }
    repeated(sub, min, max)
}
