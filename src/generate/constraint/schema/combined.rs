//! Schemas made of others, or of values: `$ref`, `allOf`, `anyOf`, `oneOf`,
//! `enum` and `const`; and which keywords there are at all.

use super::super::hir::size;
use super::super::json::Json;
use super::disjoint;
use super::typed::{Kind, kinds_of};
use super::{Compiler, MAX_RECURSION, constant, pointer};
use crate::error::Result;
use regex_syntax::hir::Hir;

/// What says nothing of the value.
const ANNOTATIONS: [&str; 16] = [
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "description",
    "example",
    "examples",
    "readOnly",
    "title",
    "writeOnly",
];
/// Each of these is the whole of what its schema says.
const COMBINING: [&str; 6] = ["$ref", "allOf", "anyOf", "oneOf", "enum", "const"];
const OF_TYPES: [&str; 18] = [
    "additionalProperties",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
    "prefixItems",
    "properties",
    "required",
    "type",
];

fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword) || keyword.starts_with("x-")
}

impl<'s> Compiler<'s> {
    /// Refuses a keyword that is not kept to, or is none.
    pub fn check_keywords(&self, keywords: &[(String, Json)]) -> Result<()> {
        for (keyword, value) in keywords {
            let name = keyword.as_str();
            let known =
                is_annotation(name) || COMBINING.contains(&name) || OF_TYPES.contains(&name);
            // To say that items may be equal is to say nothing.
            let empty = name == "uniqueItems" && *value == Json::Bool(false);
            if !known && !empty {
                return Err(self.wrong_at(keyword, value, "left out: it is not supported"));
            }
        }
        Ok(())
    }

    /// The expression of a schema that is made of others; `None` for one that
    /// speaks for itself.
    pub fn combined(&mut self, schema: &'s Json) -> Result<Option<Hir>> {
        let Json::Object(keywords) = schema else {
            return Ok(None);
        };
        let Some((keyword, value)) = keywords
            .iter()
            .find(|(keyword, _)| COMBINING.contains(&keyword.as_str()))
        else {
            return Ok(None);
        };
        let of_values = matches!(keyword.as_str(), "enum" | "const");
        for (other, other_value) in keywords {
            let agrees = other == keyword || is_annotation(other) || other == "uniqueItems";
            let fits = agrees || of_values && other == "type";
            if !fits {
                let range = format!("left out beside {keyword}: both at once are not supported");
                return Err(self.wrong_at(other, other_value, range));
            }
        }
        match (keyword.as_str(), value) {
            ("$ref", Json::String(reference)) => self.reference(reference, value),
            ("$ref", other) => Err(self.wrong_at(keyword, other, "text")),
            ("const", value) => self.values(schema, std::slice::from_ref(value)),
            ("enum", Json::List(values)) => self.values(schema, values),
            ("allOf", Json::List(schemas)) => match &schemas[..] {
                [one] => self.value_at("allOf", Some("0"), one),
                _ => {
                    let range = "a list of one schema: several at once are not supported";
                    Err(self.wrong_at(keyword, value, range))
                }
            },
            ("oneOf", Json::List(schemas)) => self.one_of(schemas),
            ("anyOf", Json::List(schemas)) => self.alternatives("anyOf", schemas),
            (_, other) => Err(self.wrong_at(keyword, other, "a list")),
        }
        .map(Some)
    }

    fn reference(&mut self, reference: &'s str, value: &Json) -> Result<Hir> {
        let Some(target) = pointer::resolve(self.root, reference) else {
            let range = "a place in this schema, such as #/$defs/name";
            return Err(self.wrong_at("$ref", value, range));
        };
        let depth = self
            .followed
            .iter()
            .filter(|&&followed| followed == reference);
        if depth.count() >= MAX_RECURSION {
            return Ok(Hir::fail());
        }
        self.followed.push(reference);
        let path = std::mem::replace(&mut self.path, reference[1..].to_owned());
        let result = self.value(target);
        self.path = path;
        self.followed.pop();
        result
    }

    fn values(&mut self, schema: &'s Json, values: &'s [Json]) -> Result<Hir> {
        let kinds = match schema.get("type") {
            Some(_) => Some(self.declared_kinds(schema)?),
            None => None,
        };
        let mut constants = Vec::new();
        for value in values {
            let fits = kinds
                .as_ref()
                .is_none_or(|kinds| kinds.iter().any(|kind| kind.has(value)));
            if fits {
                let constant = constant(value);
                self.spend(size(&constant))?;
                constants.push(constant);
            }
        }
        Ok(Hir::alternation(constants))
    }

    fn alternatives(&mut self, keyword: &str, schemas: &'s [Json]) -> Result<Hir> {
        let alternatives: Result<Vec<Hir>> = schemas
            .iter()
            .enumerate()
            .map(|(index, schema)| self.value_at(keyword, Some(&index.to_string()), schema))
            .collect();
        Ok(Hir::alternation(alternatives?))
    }

    /// A value of two alternatives would not be one of `oneOf`, so that no two
    /// may have one in common.
    fn one_of(&mut self, schemas: &'s [Json]) -> Result<Hir> {
        for (index, schema) in schemas.iter().enumerate() {
            for (before, other) in schemas[..index].iter().enumerate() {
                self.spend(1)?;
                if !disjoint::are_disjoint(self.root, other, schema) {
                    let range = format!(
                        "unlike number {before} in its type, in a const or enum, or in those of a \
                         property that both require; else say anyOf"
                    );
                    return self.at("oneOf", Some(&index.to_string()), |compiler| {
                        Err(compiler.wrong(schema, range))
                    });
                }
            }
        }
        self.alternatives("oneOf", schemas)
    }

    /// The kinds that `type` names, or that the keywords are about; an error
    /// where it names none.
    pub fn declared_kinds(&self, schema: &Json) -> Result<Vec<Kind>> {
        match (kinds_of(schema), schema.get("type")) {
            (Some(kinds), _) => Ok(kinds),
            (None, Some(value)) => Err(self.wrong_at(
                "type",
                value,
                "null, boolean, integer, number, string, array or object, or a list of these",
            )),
            (None, None) => Ok(Vec::new()),
        }
    }
}
