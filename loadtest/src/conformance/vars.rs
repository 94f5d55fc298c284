//! `${name}` in paths, headers, bodies and patterns.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use sdk_spec::rest::Timestamp;
use serde_json::Value;

/// Letters of a long text at most.
const LONG_MAX: usize = 1 << 20;

/// Names and their values in a case.
#[derive(Debug, Clone, Default)]
pub(super) struct Vars(BTreeMap<String, Value>);

impl Vars {
    pub(super) fn new(given: &BTreeMap<String, Value>) -> Self {
        Self(given.clone())
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// A value, the time in so many seconds for `time+60` and `time-60`, or so many letters for
    /// `long+60`.
    fn get(&self, name: &str) -> Result<Value> {
        if let Some(length) = name.strip_prefix("long+") {
            let length: usize = length.parse()?;
            return Ok(Value::String("x".repeat(length.min(LONG_MAX))));
        }
        if let Some(offset) = name.strip_prefix("time") {
            let seconds: i64 = if offset.is_empty() { 0 } else { offset.parse()? };
            return time(seconds);
        }
        self.0.get(name).cloned().with_context(|| format!("the case names no ${{{name}}} before"))
    }

    /// With every name replaced, in all strings. A string that is only a name takes its value's type.
    pub(super) fn fill(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => match only_name(text) {
                Some(name) => self.get(name)?,
                None => Value::String(self.text(text)?),
            },
            Value::Array(list) => {
                Value::Array(list.iter().map(|one| self.fill(one)).collect::<Result<_>>()?)
            }
            Value::Object(map) => {
                let fill = |(key, one): (&String, &Value)| Ok((self.text(key)?, self.fill(one)?));
                Value::Object(map.iter().map(fill).collect::<Result<_>>()?)
            }
            other => other.clone(),
        })
    }

    /// A text with every name replaced.
    pub(super) fn text(&self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("a ${ without its }")?;
            out += before;
            match self.get(name)? {
                Value::String(text) => out += &text,
                other => out += &other.to_string(),
            }
            rest = after;
        }
        Ok(out + rest)
    }
}

fn only_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains('}')).then_some(name)
}

fn time(seconds: i64) -> Result<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let ms = now.as_millis() as i64 + seconds * 1000;
    Ok(serde_json::to_value(Timestamp(u64::try_from(ms)?))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_replaced_and_unknown_ones_are_told() {
        let mut vars = Vars::default();
        vars.set("id", json!("rm_1"));
        vars.set("n", json!(3));
        let filled = vars.fill(&json!({ "a": "${n}", "b": ["/v1/${id}/${n}"] })).unwrap();
        assert_eq!(filled, json!({ "a": 3, "b": ["/v1/rm_1/3"] }));
        assert!(vars.text("${other}").is_err() && vars.text("${open").is_err());
        let time = vars.text("${time+60}").unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
}
