//! Objects.

use super::super::hir::{literal, optional};
use super::super::json::Json;
use super::{Compiler, MAX_FREE_NESTING, colon, comma, string};
use crate::error::Result;
use regex_syntax::hir::Hir;

/// What comes before a property's value.
pub fn key(name: &str) -> Hir {
    let name = serde_json::Value::String(name.to_owned()).to_string();
    Hir::concat(vec![literal(name), colon()])
}

/// A property, or none where it need not be.
struct Member {
    hir: Hir,
    required: bool,
}

impl<'s> Compiler<'s> {
    /// An object by `properties`, `required` and `additionalProperties`. With
    /// `properties` it has no others, but for required ones, and they keep their
    /// order; without, any keys may come, each any number of times.
    pub fn object(&mut self, schema: &'s Json) -> Result<Hir> {
        let required = self.required(schema)?;
        let properties: &[(String, Json)] = match schema.get("properties") {
            Some(Json::Object(properties)) => properties,
            Some(other) => return Err(self.wrong_at("properties", other, "an object of schemas")),
            None => &[],
        };
        if schema.get("properties").is_none() && required.is_empty() {
            return self.map(schema);
        }
        let mut members = Vec::new();
        for (name, schema) in properties {
            let value = self.value_at("properties", Some(name), schema)?;
            members.push(Member {
                hir: Hir::concat(vec![key(name), value]),
                required: required.contains(&name.as_str()),
            });
        }
        for name in &required {
            if properties.iter().all(|(property, _)| property != name) {
                let value = self.additional(schema)?;
                members.push(Member {
                    hir: Hir::concat(vec![key(name), value]),
                    required: true,
                });
            }
        }
        self.check_counts(schema, &members)?;
        let inside = self.in_order(members)?;
        Ok(Hir::concat(vec![literal("{"), inside, literal("}")]))
    }

    fn required(&self, schema: &'s Json) -> Result<Vec<&'s str>> {
        let Some(value) = schema.get("required") else {
            return Ok(Vec::new());
        };
        let names = match value {
            Json::List(names) => names.iter().map(|name| match name {
                Json::String(name) => Some(name.as_str()),
                _ => None,
            }),
            _ => return Err(self.wrong_at("required", value, "a list of names")),
        };
        let names: Option<Vec<&str>> = names.collect();
        let mut names = names.ok_or_else(|| self.wrong_at("required", value, "a list of names"))?;
        let mut seen = std::collections::HashSet::new();
        names.retain(|name| seen.insert(*name));
        Ok(names)
    }

    /// The values of properties that are not declared.
    fn additional(&mut self, schema: &'s Json) -> Result<Hir> {
        match schema.get("additionalProperties") {
            Some(additional) => self.value_at("additionalProperties", None, additional),
            None => self.free(MAX_FREE_NESTING),
        }
    }

    /// An object of which only the values are known. A key could come twice, so
    /// that there is no telling how many different ones there are.
    fn map(&mut self, schema: &'s Json) -> Result<Hir> {
        let min = self.count(schema, "minProperties")?.unwrap_or(0);
        if let (Some(value), true) = (schema.get("minProperties"), min > 1) {
            let range = "0 or 1 without properties: more are not supported";
            return Err(self.wrong_at("minProperties", value, range));
        }
        let max = self.count(schema, "maxProperties")?;
        let value = self.additional(schema)?;
        self.map_of(value, min, max)
    }

    /// From `min` to `max` members of any keys with values of `value`.
    pub fn map_of(&mut self, value: Hir, min: u32, max: Option<u32>) -> Result<Hir> {
        let member = Hir::concat(vec![string::any(), colon(), value]);
        let inside = if max.is_some_and(|max| max < min) {
            Hir::fail()
        } else {
            self.separated(member, min, max)?
        };
        Ok(Hir::concat(vec![literal("{"), inside, literal("}")]))
    }

    /// With declared properties, how many come is not counted.
    fn check_counts(&self, schema: &Json, members: &[Member]) -> Result<()> {
        let required = members.iter().filter(|member| member.required).count();
        if let (Some(value), Some(min)) = (
            schema.get("minProperties"),
            self.count(schema, "minProperties")?,
        ) && min as usize > required
        {
            let range = format!("at most the number of required properties, {required}");
            return Err(self.wrong_at("minProperties", value, range));
        }
        if let (Some(value), Some(max)) = (
            schema.get("maxProperties"),
            self.count(schema, "maxProperties")?,
        ) && (max as usize) < members.len()
        {
            let range = format!("at least the number of properties, {}", members.len());
            return Err(self.wrong_at("maxProperties", value, range));
        }
        Ok(())
    }

    /// The members in their order, with commas between those that are there.
    fn in_order(&mut self, members: Vec<Member>) -> Result<Hir> {
        let Some(first) = members.iter().position(|member| member.required) else {
            return self.all_optional(members);
        };
        // The first required one has no comma; those before it have one behind
        // them, those after it one before.
        let parts = members.into_iter().enumerate().map(|(index, member)| {
            let hir = match index.cmp(&first) {
                std::cmp::Ordering::Less => Hir::concat(vec![member.hir, comma()]),
                std::cmp::Ordering::Equal => member.hir,
                std::cmp::Ordering::Greater => Hir::concat(vec![comma(), member.hir]),
            };
            if member.required { hir } else { optional(hir) }
        });
        Ok(Hir::concat(parts.collect()))
    }

    /// Without a required member any can be the first, and what follows has to
    /// be written out for each.
    fn all_optional(&mut self, members: Vec<Member>) -> Result<Hir> {
        let mut alternatives = vec![Hir::empty()];
        let mut rest = Hir::empty();
        for member in members.into_iter().rev() {
            let after = self.copy(&rest)?;
            let this = self.copy(&member.hir)?;
            alternatives.push(Hir::concat(vec![this, after]));
            rest = Hir::concat(vec![optional(Hir::concat(vec![comma(), member.hir])), rest]);
        }
        Ok(Hir::alternation(alternatives))
    }
}
