//! Schemas case by case: what is written for them and what is not, and what is
//! refused. (What is written fits its schema by a validator's judgement too:
//! `tests/constraint`.)

use super::*;
use crate::generate::constraint::automaton::{Automaton, Failure};
use serde_json::json;

fn compiled(schema: &str) -> Result<Hir> {
    compile(&Json::parse(schema).unwrap())
}

fn automaton(schema: &str) -> Automaton {
    Automaton::new(&compiled(schema).unwrap(), &[true; 256]).unwrap()
}

fn check(schema: &str, yes: &[&str], no: &[&str]) {
    let automaton = automaton(schema);
    for text in yes {
        assert!(automaton.accepts(text), "{schema}: {text}");
        serde_json::from_str::<serde_json::Value>(text).unwrap();
    }
    for text in no {
        assert!(!automaton.accepts(text), "{schema}: {text}");
    }
}

/// Option, value and range of the error.
fn refused(schema: &str) -> (String, String, String) {
    match compiled(schema) {
        Err(Error::InvalidOption {
            option,
            value,
            range,
        }) => (option, value, range),
        other => panic!("{schema}: {other:?}"),
    }
}

fn unmatchable(schema: &str) {
    let found = Automaton::new(&compiled(schema).unwrap(), &[true; 256]);
    assert_eq!(found.err(), Some(Failure::Unmatchable), "{schema}");
}

#[test]
fn white_space_is_one_optional_space_after_a_comma_and_a_colon() {
    let schema = r#"{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"array","items":{"type":"null"}}},"required":["a","b"]}"#;
    check(
        schema,
        &[r#"{"a":1,"b":[]}"#, r#"{"a": 1, "b": [null,null, null]}"#],
        &[
            r#"{"a":  1,"b":[]}"#,
            r#"{ "a":1,"b":[]}"#,
            r#"{"a":1 ,"b":[]}"#,
            "{\"a\":\n1,\"b\":[]}",
            r#"{"a":1,"b":[ ]}"#,
            r#" {"a":1,"b":[]}"#,
            r#"{"a":1,"b":[]} "#,
        ],
    );
}

#[test]
fn properties_keep_the_order_of_the_schema() {
    let schema =
        r#"{"properties":{"z":{"const":1},"a":{"const":2},"m":{"const":3}},"required":["a"]}"#;
    check(
        schema,
        &[
            r#"{"a":2}"#,
            r#"{"z":1,"a":2}"#,
            r#"{"a":2,"m":3}"#,
            r#"{"z":1,"a":2,"m":3}"#,
        ],
        &[
            "{}",
            r#"{"z":1}"#,
            r#"{"a":2,"z":1}"#,
            r#"{"a":2,"x":3}"#,
            r#"{"a":2,}"#,
            r#"{,"a":2}"#,
        ],
    );
}

#[test]
fn without_a_required_property_any_may_be_the_first() {
    let schema =
        r#"{"type":"object","properties":{"a":{"const":1},"b":{"const":2},"c":{"const":3}}}"#;
    check(
        schema,
        &[
            "{}",
            r#"{"a":1}"#,
            r#"{"b":2}"#,
            r#"{"c":3}"#,
            r#"{"a":1,"c":3}"#,
            r#"{"b":2,"c":3}"#,
            r#"{"a":1,"b":2,"c":3}"#,
        ],
        &[r#"{,"b":2}"#, r#"{"c":3,"a":1}"#, r#"{"a":1,}"#],
    );
}

#[test]
fn a_required_property_that_is_not_declared_comes_last() {
    check(
        r#"{"properties":{"a":{"const":1}},"required":["x","a"],"additionalProperties":{"type":"null"}}"#,
        &[r#"{"a":1,"x":null}"#],
        &[r#"{"a":1}"#, r#"{"x":null,"a":1}"#, r#"{"a":1,"x":0}"#],
    );
    unmatchable(r#"{"properties":{},"required":["x"],"additionalProperties":false}"#);
}

#[test]
fn an_object_without_properties_has_any_keys() {
    check(
        r#"{"type":"object","additionalProperties":{"type":"integer"},"maxProperties":2}"#,
        &["{}", r#"{"a":1}"#, r#"{"\"é":1, "":2}"#],
        &[r#"{"a":null}"#, r#"{"a":1,"b":2,"c":3}"#],
    );
    check(
        r#"{"type":"object","minProperties":1}"#,
        &[r#"{"a":{"b":[1,"c"]}}"#],
        &["{}"],
    );
    check(
        r#"{"type":"object","additionalProperties":false}"#,
        &["{}"],
        &[r#"{"a":1}"#],
    );
}

#[test]
fn lists_have_as_many_items_as_allowed() {
    let items = |more: &str| format!(r#"{{"items":{{"enum":[1,2]}}{more}}}"#);
    check(
        &items(""),
        &["[]", "[1]", "[1,2,1]"],
        &["[3]", "[,1]", "[1,]"],
    );
    check(
        &items(r#","minItems":2,"maxItems":3"#),
        &["[1,2]", "[1, 1,1]"],
        &["[]", "[1]", "[1,1,1,1]"],
    );
    check(&items(r#","maxItems":0"#), &["[]"], &["[1]"]);
    check(&items(r#","maxItems":1"#), &["[]", "[1]"], &["[1,1]"]);
    check(&items(r#","minItems":2.0"#), &["[1,1,1,1,1]"], &["[1]"]);
    unmatchable(&items(r#","minItems":2,"maxItems":1"#));
    check(r#"{"items":false}"#, &["[]"], &["[1]"]);
    check(
        r#"{"items":{"type":"array","items":{"const":0}}}"#,
        &["[[],[0,0]]"],
        &["[0]"],
    );
}

#[test]
fn a_tuple_has_all_its_positions() {
    let tuple = |more: &str| format!(r#"{{"prefixItems":[{{"const":1}},{{"const":"a"}}]{more}}}"#);
    check(
        &tuple(r#","items":false"#),
        &[r#"[1,"a"]"#],
        &["[]", "[1]", r#"[1,"a",2]"#],
    );
    check(
        &tuple(r#","items":{"const":0},"maxItems":3"#),
        &[r#"[1,"a"]"#, r#"[1, "a", 0]"#],
        &[r#"[1,"a",0,0]"#],
    );
    check(&tuple(r#","maxItems":1"#), &["[1]"], &[r#"[1,"a"]"#]);
    check(
        &tuple(r#","minItems":4,"items":{"const":0}"#),
        &[r#"[1,"a",0,0]"#],
        &[r#"[1,"a",0]"#],
    );
    unmatchable(&tuple(r#","items":false,"minItems":3"#));
}

#[test]
fn strings_have_their_length_in_characters() {
    check(
        r#"{"type":"string","minLength":1,"maxLength":2}"#,
        &[r#""a""#, r#""é€""#, r#""\n\"""#, r#""😀😀""#],
        &[
            r#""""#,
            r#""abc""#,
            "\"\n\"",
            r#""\x""#,
            r#""\u0041""#,
            r#""a"#,
        ],
    );
    check(
        r#"{"type":"string"}"#,
        &[r#""""#, r#""a b/c""#],
        &["a", "\"\u{1f}\""],
    );
    unmatchable(r#"{"type":"string","minLength":3,"maxLength":2}"#);
}

#[test]
fn patterns_are_about_the_content() {
    let pattern = |pattern: &str| json!({ "pattern": pattern }).to_string();
    check(
        &pattern(r"^[a-z]+\d$"),
        &[r#""ab1""#],
        &[r#""1""#, r#""ab٣""#, r#""ab1 ""#],
    );
    // As JSON writes it.
    check(
        &pattern("^[\"\\\\\\n\\x01x]{2}$"),
        &[r#""\"\\""#, r#""\n\u0001""#, r#""xx""#],
        &[r#"""""#, r#""\x""#, r#""x""#],
    );
    // Anywhere, unless it says otherwise.
    check(&pattern("b"), &[r#""b""#, r#""abc""#], &[r#""ac""#]);
    check(&pattern("^b"), &[r#""bc""#], &[r#""ab""#]);
    check(&pattern("^a|b$"), &[r#""ac""#, r#""cb""#], &[r#""ca""#]);
    check(&pattern("(^a$)"), &[r#""a""#], &[r#""ab""#]);
    check(&pattern("^(a|b)$"), &[r#""a""#], &[r#""ab""#]);
    check(&pattern("^$"), &[r#""""#], &[r#""a""#]);
    check(&pattern(""), &[r#""""#, r#""a""#], &[]);
    // Classes as in ECMAScript.
    check(
        &pattern(r"^\w.\s$"),
        &["\"aé\u{FEFF}\""],
        &["\"éa \"", "\"aa\u{85}\""],
    );
    check(
        &pattern(r"^[^\d\s]$"),
        &["\"é\"", "\"٣\""],
        &["\"3\"", "\" \""],
    );
    check(&pattern(r"^[\W_]$"), &["\"é\"", "\"_\""], &["\"a\""]);
    check(&pattern(r"^\p{Lu}\u00e9\/$"), &["\"Éé/\""], &["\"éé/\""]);
    for (wrong, says) in [
        ("a(", "unclosed group"),
        (r"\bword\b", r"without ^, $, \b"),
        ("a^b", r"without ^, $, \b"),
        ("(?=a)", "look-around"),
        (r"(a)\1", "backreferences"),
        ("(?i)a", "without inline flags"),
        ("(?i:a)", "without inline flags"),
        ("[a-z&&[^b]]", "&&"),
        ("[[:alpha:]]", "without [ in classes"),
        ("[a[b]]", "without [ in classes"),
    ] {
        let (option, _, range) = refused(&pattern(wrong));
        assert_eq!(option, "constraint.jsonSchema/pattern");
        assert!(range.contains(says), "{wrong}: {range}");
    }
}

#[test]
fn lengths_beside_a_pattern_are_kept_where_it_keeps_them() {
    let schema = |more: &str| format!(r#"{{"pattern":"^[a-z\"é]{{2,4}}$"{more}}}"#);
    check(
        &schema(r#","minLength":2,"maxLength":4"#),
        &[r#""éé""#, r#""\"\"\"\"""#],
        &[r#""a""#],
    );
    for (more, keyword) in [
        (r#","maxLength":3"#, "maxLength"),
        (r#","minLength":3"#, "minLength"),
    ] {
        assert_eq!(refused(&schema(more)).0, format!("{OPTION}/{keyword}"));
    }
    assert_eq!(
        refused(r#"{"pattern":"a","maxLength":9}"#).0,
        format!("{OPTION}/maxLength")
    );
    check(
        r#"{"format":"uuid","maxLength":36}"#,
        &[r#""00000000-0000-0000-0000-000000000000""#],
        &[],
    );
}

#[test]
fn formats_are_those_of_their_standards() {
    let format = |format: &str| json!({ "type": "string", "format": format }).to_string();
    check(
        &format("date"),
        &[r#""2024-02-29""#, r#""2000-02-29""#, r#""1999-12-31""#],
        &[
            r#""2023-02-29""#,
            r#""1900-02-29""#,
            r#""2024-04-31""#,
            r#""2024-13-01""#,
            r#""24-01-01""#,
        ],
    );
    check(
        &format("date-time"),
        &[
            r#""2024-02-29T23:59:59Z""#,
            r#""2024-01-01T00:00:00.5+01:00""#,
        ],
        &[
            r#""2024-01-01 00:00:00Z""#,
            r#""2024-01-01T24:00:00Z""#,
            r#""2024-01-01""#,
        ],
    );
    check(
        &format("time"),
        &[r#""09:30:00Z""#],
        &[r#""09:60:00Z""#, r#""09:30:00""#],
    );
    check(
        &format("duration"),
        &[r#""P1Y2M3DT4H5M6S""#, r#""PT5M""#, r#""P2W""#],
        &[r#""P""#, r#""PT""#, r#""P1W1D""#],
    );
    check(
        &format("ipv4"),
        &[r#""127.0.0.255""#],
        &[r#""256.0.0.1""#, r#""01.0.0.1""#],
    );
    check(
        &format("ipv6"),
        &[r#""2001:db8:0:0:0:0:0:1""#],
        &[r#""1:2""#],
    );
    check(
        &format("email"),
        &[r#""a.b+c@d-e.org""#],
        &[r#""a@b""#, r#""a..b@c.org""#],
    );
    check(
        &format("hostname"),
        &[r#""a1.example""#],
        &[r#""-a.example""#, r#""a..b""#],
    );
    let (option, value, range) = refused(&format("uri"));
    assert_eq!(
        (&*option, &*value),
        ("constraint.jsonSchema/format", "\"uri\"")
    );
    assert!(range.starts_with("one of date, time"));
}

#[test]
fn numbers_keep_their_bounds() {
    check(
        r#"{"type":"integer","minimum":-3,"exclusiveMaximum":12}"#,
        &["-3", "0", "11"],
        &["-4", "12", "1.0", "-0", "01"],
    );
    check(
        r#"{"type":"number","exclusiveMinimum":0,"maximum":2.5}"#,
        &["0.000001", "2.5", "2.50", "1"],
        &["0", "0.0", "-1", "2.500001", "2.6", "1e0"],
    );
    check(
        r#"{"type":"integer","minimum":0.5,"maximum":2.5}"#,
        &["1", "2"],
        &["0", "3"],
    );
    check(
        r#"{"type":"number","minimum":1e-9,"maximum":2e-9}"#,
        &["0.000000001", "0.000000002"],
        &["0", "0.000000003"],
    );
    check(
        r#"{"minimum":5,"exclusiveMinimum":7}"#,
        &["7.1", "8"],
        &["7", "6"],
    );
    check(r#"{"type":["integer","number"]}"#, &["1.5"], &[]);
    unmatchable(r#"{"type":"integer","exclusiveMinimum":1,"exclusiveMaximum":2}"#);
    unmatchable(r#"{"type":"number","minimum":1e300}"#);
}

#[test]
fn values_of_enum_and_const_are_written_as_they_are() {
    check(
        r#"{"enum":["a\"\n",1,1.5,null,true,[1,{"b":[],"a":"x"}]]}"#,
        &[
            r#""a\"\n""#,
            "1",
            "1.5",
            "null",
            "true",
            r#"[1, {"b":[], "a": "x"}]"#,
        ],
        &["2", "false", r#"[1,{"a":"x","b":[]}]"#],
    );
    check(
        r#"{"type":"integer","enum":[1,"a",2.0,2.5]}"#,
        &["1", "2.0"],
        &["2.5", "\"a\""],
    );
    check(r#"{"const":{}}"#, &["{}"], &["null"]);
    unmatchable(r#"{"enum":[]}"#);
}

#[test]
fn types_are_alternatives_and_known_by_keywords() {
    check(
        r#"{"type":["string","null"],"maxLength":1}"#,
        &["null", r#""a""#],
        &[r#""ab""#, "1"],
    );
    check(r#"{"maxLength":1}"#, &[r#""a""#], &["1"]);
    check(
        r#"{"type":"boolean","title":"t","x-order":1}"#,
        &["true", "false"],
        &["null"],
    );
    for any in ["true", "{}", r#"{"description":"any"}"#] {
        check(
            any,
            &["null", "-1.5", r#"[[1],{"a":"b"}]"#, r#"{"a":[1]}"#],
            &["[[[1]]]", r#"{"a":[{}]}"#, "a"],
        );
    }
    unmatchable("false");
}

#[test]
fn references_are_followed_and_nest_a_few_levels() {
    let node = r##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"next":{"$ref":"#/$defs/node"}}}}}"##;
    check(
        node,
        &["{}", r#"{"next":{}}"#, r#"{"next":{"next":{}}}"#],
        &[r#"{"next":{"next":{"next":{}}}}"#],
    );
    let list = r##"{"type":"array","items":{"$ref":"#"}}"##;
    check(list, &["[]", "[[],[[]]]", "[[[[]]]]"], &["[[[[[]]]]]"]);
    unmatchable(r##"{"$ref":"#"}"##);
    unmatchable(r##"{"properties":{"a":{"$ref":"#"}},"required":["a"]}"##);
    for reference in ["#/$defs/none", "other.json", "#name"] {
        let (option, ..) = refused(&json!({ "$ref": reference }).to_string());
        assert_eq!(option, "constraint.jsonSchema/$ref");
    }
}

#[test]
fn any_of_and_one_of_are_alternatives() {
    check(
        r#"{"anyOf":[{"type":"integer"},{"type":"number"},{"const":"a"}]}"#,
        &["1", "1.5", r#""a""#],
        &["null"],
    );
    let tagged = |tag: &str| {
        format!(
            r#"{{"type":"object","properties":{{"tag":{{"const":"{tag}"}}}},"required":["tag"]}}"#
        )
    };
    let disjoint = format!(
        r#"{{"oneOf":[{},{},{{"type":"null"}}]}}"#,
        tagged("a"),
        tagged("b")
    );
    check(
        &disjoint,
        &[r#"{"tag":"a"}"#, r#"{"tag":"b"}"#, "null"],
        &[r#"{"tag":"c"}"#],
    );
    check(
        r#"{"allOf":[{"type":"null"}],"title":"t"}"#,
        &["null"],
        &["1"],
    );
    for alternatives in [
        [tagged("a"), tagged("a")],
        [
            r#"{"type":"integer"}"#.into(),
            r#"{"type":"number"}"#.into(),
        ],
        [
            r#"{"properties":{"a":{}}}"#.into(),
            r#"{"properties":{"b":{}}}"#.into(),
        ],
        [r#"{"const":1}"#.into(), r#"{"enum":[2,1.0]}"#.into()],
        [
            r#"{"maxLength":1}"#.into(),
            r#"{"type":"integer","minimum":0}"#.into(),
        ],
        ["{}".into(), r#"{"type":"null"}"#.into()],
    ] {
        let (option, _, range) = refused(&format!(r#"{{"oneOf":[{}]}}"#, alternatives.join(",")));
        assert_eq!(option, "constraint.jsonSchema/oneOf/1");
        assert!(range.contains("number 0"));
    }
}

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    for (schema, place) in [
        (r#"{"type":"array","uniqueItems":true}"#, "/uniqueItems"),
        (
            r#"{"properties":{"a/b":{"not":{}}}}"#,
            "/properties/a~1b/not",
        ),
        (r#"{"items":{"multipleOf":2}}"#, "/items/multipleOf"),
        (
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"if":{}}}}"##,
            "/$defs/a/if",
        ),
        (
            r#"{"anyOf":[{},{"patternProperties":{}}]}"#,
            "/anyOf/1/patternProperties",
        ),
        (r#"{"allOf":[{},{}]}"#, "/allOf"),
        (r#"{"requird":[]}"#, "/requird"),
        (r#"{"anyOf":[{}],"minimum":1}"#, "/minimum"),
        (r#"{"type":"text"}"#, "/type"),
        (r#"{"type":["string",1]}"#, "/type"),
        (r#"{"minLength":-1}"#, "/minLength"),
        (r#"{"minLength":1.5}"#, "/minLength"),
        (r#"{"maxItems":"2"}"#, "/maxItems"),
        (r#"{"minimum":"2"}"#, "/minimum"),
        (r#"{"exclusiveMinimum":true}"#, "/exclusiveMinimum"),
        (r#"{"properties":[]}"#, "/properties"),
        (r#"{"properties":{"a":3}}"#, "/properties/a"),
        (r#"{"required":"a"}"#, "/required"),
        (r#"{"required":[1]}"#, "/required"),
        (r#"{"items":[{}]}"#, "/items"),
        (r#"{"prefixItems":{}}"#, "/prefixItems"),
        (r#"{"enum":1}"#, "/enum"),
        (r#"{"anyOf":{}}"#, "/anyOf"),
        (r#"{"pattern":1}"#, "/pattern"),
        (r#"{"pattern":"a","format":"date"}"#, "/format"),
        (r#"{"type":"object","minProperties":2}"#, "/minProperties"),
        (
            r#"{"properties":{"a":{}},"minProperties":1}"#,
            "/minProperties",
        ),
        (
            r#"{"properties":{"a":{}},"maxProperties":0}"#,
            "/maxProperties",
        ),
        ("3", ""),
    ] {
        let (option, value, range) = refused(schema);
        assert_eq!(option, format!("constraint.jsonSchema{place}"), "{schema}");
        assert!(!value.is_empty() && !range.is_empty());
    }
    // What says nothing does not matter.
    check(
        r#"{"type":"array","uniqueItems":false,"maxItems":0}"#,
        &["[]"],
        &[],
    );
    check(
        r#"{"properties":{"a":{"const":1}},"minProperties":1,"required":["a"]}"#,
        &[r#"{"a":1}"#],
        &[],
    );
}

#[test]
fn a_small_schema_cannot_ask_for_a_large_expression() {
    // Each definition has eight of the next.
    let definitions: Vec<String> = (0..30)
        .map(|level| {
            let next = format!(r##"{{"$ref":"#/$defs/{}"}}"##, level + 1);
            format!(r#""{level}":{{"anyOf":[{}]}}"#, vec![next; 8].join(","))
        })
        .collect();
    let references = format!(
        r##"{{"$ref":"#/$defs/0","$defs":{{{},"30":true}}}}"##,
        definitions.join(",")
    );
    // Each list writes its items twice.
    let lists = format!("{}true{}", r#"{"items":"#.repeat(50), "}".repeat(50));
    let tree = r##"{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"},"d":{"$ref":"#"},"e":{"$ref":"#"},"f":{"$ref":"#"}}}"##;
    for schema in [&references, &lists, tree] {
        let (_, _, range) = refused(schema);
        assert!(range.contains("too many parts"), "{range}");
    }
}
