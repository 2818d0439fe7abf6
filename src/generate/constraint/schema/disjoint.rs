//! Whether two schemas can have no value in common, as far as that shows.
//!
//! It shows in their types, in values of `const` and `enum`, and in a property
//! that both require, such as the tag by which kinds of objects are told apart.

use super::super::json::Json;
use super::pointer;
use super::typed::{Kind, kinds_of};

/// How deep properties and references are looked into.
const MAX_DEPTH: usize = 8;

/// True only where no value fits both.
pub fn are_disjoint(root: &Json, a: &Json, b: &Json) -> bool {
    disjoint(root, a, b, MAX_DEPTH)
}

fn disjoint(root: &Json, a: &Json, b: &Json, depth: usize) -> bool {
    let (Some(depth), Some(a), Some(b)) =
        (depth.checked_sub(1), followed(root, a), followed(root, b))
    else {
        return false;
    };
    if *a == Json::Bool(false) || *b == Json::Bool(false) {
        return true;
    }
    match (values(a), values(b)) {
        (Some(a), Some(b)) => return !a.iter().any(|a| b.iter().any(|b| a.is_same_value(b))),
        (Some(values), None) if named_kinds(b).is_some_and(|kinds| has_none(&kinds, values)) => {
            return true;
        }
        (None, Some(values)) if named_kinds(a).is_some_and(|kinds| has_none(&kinds, values)) => {
            return true;
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (named_kinds(a), named_kinds(b))
        && !a.iter().any(|a| b.iter().any(|b| a.overlaps(*b)))
    {
        return true;
    }
    // Only objects are written for either; else there may be others in common.
    is_object(a) && is_object(b) && tagged(root, a, b, depth)
}

/// Whether both require a property whose values are never the same.
fn tagged(root: &Json, a: &Json, b: &Json, depth: usize) -> bool {
    required(a)
        .filter(|name| required(b).any(|other| other == *name))
        .any(|name| match (property(a, name), property(b, name)) {
            (Some(a), Some(b)) => disjoint(root, a, b, depth),
            _ => false,
        })
}

fn property<'s>(schema: &'s Json, name: &str) -> Option<&'s Json> {
    schema.get("properties")?.get(name)
}

fn required(schema: &Json) -> impl Iterator<Item = &str> {
    let names = match schema.get("required") {
        Some(Json::List(names)) => &names[..],
        _ => &[],
    };
    names.iter().filter_map(|name| match name {
        Json::String(name) => Some(name.as_str()),
        _ => None,
    })
}

fn is_object(schema: &Json) -> bool {
    kinds_of(schema).is_some_and(|kinds| kinds == [Kind::Object])
}

/// The types where they are named: by the keywords alone others are not
/// excluded.
fn named_kinds(schema: &Json) -> Option<Vec<Kind>> {
    schema.get("type").and_then(|_| kinds_of(schema))
}

fn has_none(kinds: &[Kind], values: &[Json]) -> bool {
    !values
        .iter()
        .any(|value| kinds.iter().any(|kind| kind.has(value)))
}

fn values(schema: &Json) -> Option<&[Json]> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Json::List(values)), _) => Some(values),
        (_, Some(value)) => Some(std::slice::from_ref(value)),
        _ => None,
    }
}

/// What a reference means; `None` where it means nothing, or never ends.
fn followed<'s>(root: &'s Json, mut schema: &'s Json) -> Option<&'s Json> {
    for _ in 0..MAX_DEPTH {
        match schema.get("$ref") {
            Some(Json::String(reference)) => schema = pointer::resolve(root, reference)?,
            _ => return Some(schema),
        }
    }
    None
}
