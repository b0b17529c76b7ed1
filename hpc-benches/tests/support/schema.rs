//! As much of JSON Schema (draft 2020-12) as `docs/*.schema.json` use, and one rule of
//! our own: what is written must be named in the schema, so that nothing goes undocumented.
//!
//! A keyword that is not known here is a panic: a schema can't say more than is checked.

use serde_json::{Map, Value};

/// Asserts that `value` is laid out as the schema in `docs/` of this name says.
#[track_caller]
pub fn assert_layout(name: &str, value: &Value) {
    let schema = super::repository(&format!("docs/tacet-bench-{name}.schema.json"));
    let schema = serde_json::from_str(&schema).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(violations(&schema, value), Vec::<String>::new(), "{name}: {value}");
}

/// What `value` violates of `schema`, one line each.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    Check { root: schema, found: &mut found }.check(schema, value, "$");
    found
}

struct Check<'a> {
    root: &'a Value,
    found: &'a mut Vec<String>,
}

impl<'a> Check<'a> {
    fn check(&mut self, schema: &Value, value: &Value, at: &str) {
        let schema = schema.as_object().expect("a schema is an object");
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "items" => {}
                "$ref" => {
                    let target = self.resolve(rule);
                    self.check(target, value, at);
                }
                "const" => self.require(value == rule, at, &format!("is {value}, not {rule}")),
                "enum" => self.require(list(rule).contains(value), at, &format!("is {value}, none of {rule}")),
                "type" => self.require(has_type(value, rule), at, &format!("is {value}, not {rule}")),
                "minimum" => {
                    let low = value.as_f64().zip(rule.as_f64()).is_some_and(|(value, least)| value < least);
                    self.require(!low, at, &format!("is {value}, below {rule}"));
                }
                "minItems" | "maxItems" => {
                    let length = value.as_array().map(|items| items.len() as u64).zip(rule.as_u64());
                    let fits = length.is_none_or(|(n, m)| if keyword == "minItems" { n >= m } else { n <= m });
                    self.require(fits, at, &format!("has not {keyword} {rule}"));
                }
                "required" => {
                    for name in list(rule).iter().filter_map(Value::as_str) {
                        let there = value.as_object().is_none_or(|object| object.contains_key(name));
                        self.require(there, at, &format!("lacks {name}"));
                    }
                }
                "properties" => self.check_properties(rule.as_object().expect("properties are an object"), value, at),
                other => panic!("keyword {other} is not checked here"),
            }
        }
        if let (Some(rule), Some(items)) = (schema.get("items"), value.as_array()) {
            for (index, item) in items.iter().enumerate() {
                self.check(rule, item, &format!("{at}[{index}]"));
            }
        }
    }

    fn check_properties(&mut self, rules: &Map<String, Value>, value: &Value, at: &str) {
        for (name, property) in value.as_object().into_iter().flatten() {
            match rules.get(name) {
                Some(rule) => self.check(rule, property, &format!("{at}.{name}")),
                None => self.found.push(format!("{at}.{name} is not in the schema")),
            }
        }
    }

    fn resolve(&self, reference: &Value) -> &'a Value {
        let pointer = reference.as_str().and_then(|r| r.strip_prefix('#')).expect("references are into this file");
        self.root.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    fn require(&mut self, holds: bool, at: &str, what: &str) {
        if !holds {
            self.found.push(format!("{at} {what}"));
        }
    }
}

fn list(rule: &Value) -> &[Value] {
    rule.as_array().expect("a list of values")
}

fn has_type(value: &Value, rule: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a type is a name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    };
    rule.as_array().map_or_else(|| is(rule), |names| names.iter().any(is))
}
