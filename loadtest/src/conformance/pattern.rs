//! Whether a value is like a pattern.
//!
//! Objects hold at least the pattern's members; arrays and plain values are equal. An object whose
//! members begin with `$` is a condition.

use serde_json::{Map, Value};

/// `Err` says where and why not. An absent member is [`None`].
pub(super) fn check(pattern: &Value, value: Option<&Value>) -> Result<(), String> {
    at("", pattern, value)
}

fn at(place: &str, pattern: &Value, value: Option<&Value>) -> Result<(), String> {
    if let Some(conditions) = conditions(pattern) {
        return conditions.iter().try_for_each(|(name, want)| condition(place, name, want, value));
    }
    let shown = || value.map_or_else(|| String::from("nothing"), Value::to_string);
    let differs = || Err(format!("{place}: want {pattern}, got {}", shown()));
    match (pattern, value) {
        (Value::Object(want), Some(Value::Object(got))) => want
            .iter()
            .try_for_each(|(name, pattern)| at(&format!("{place}/{name}"), pattern, got.get(name))),
        (Value::Array(want), Some(Value::Array(got))) if want.len() == got.len() => {
            let mut pairs = want.iter().zip(got).enumerate();
            pairs.try_for_each(|(i, (want, got))| at(&format!("{place}/{i}"), want, Some(got)))
        }
        (Value::Number(want), Some(Value::Number(got))) if want.as_f64() == got.as_f64() => Ok(()),
        (want, Some(got)) if want == got => Ok(()),
        _ => differs(),
    }
}

fn conditions(pattern: &Value) -> Option<&Map<String, Value>> {
    let map = pattern.as_object()?;
    let all = !map.is_empty() && map.keys().all(|name| name.starts_with('$'));
    all.then_some(map)
}

fn condition(place: &str, name: &str, want: &Value, value: Option<&Value>) -> Result<(), String> {
    let number = value.and_then(Value::as_f64);
    let text = value.and_then(Value::as_str);
    let list = value.and_then(Value::as_array);
    let holds = match name {
        "$any" => value.is_some(),
        "$absent" => value.is_none(),
        "$type" => value.map(type_of) == want.as_str(),
        "$starts" => text.zip(want.as_str()).is_some_and(|(text, begin)| text.starts_with(begin)),
        "$contains" => text.zip(want.as_str()).is_some_and(|(text, part)| text.contains(part)),
        "$min" => number.zip(want.as_f64()).is_some_and(|(number, low)| number >= low),
        "$max" => number.zip(want.as_f64()).is_some_and(|(number, high)| number <= high),
        "$length" => list.map(Vec::len) == want.as_u64().map(|n| n as usize),
        "$has" => list.is_some_and(|list| list.iter().any(|one| at("", want, Some(one)).is_ok())),
        "$not" => at("", want, value).is_err(),
        "$one_of" => {
            let all = want.as_array().into_iter().flatten();
            all.into_iter().any(|one| at("", one, value).is_ok())
        }
        _ => return Err(format!("{place}: the case has an unknown condition {name}")),
    };
    let shown = || value.map_or_else(|| String::from("nothing"), Value::to_string);
    if holds { Ok(()) } else { Err(format!("{place}: want {name} {want}, got {}", shown())) }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn likeness_is_decided_as_documented() {
        let value = json!({ "id": "rm_1", "n": 3, "list": [{ "a": 1 }, { "a": 2 }], "no": null });
        let like = [
            json!({ "id": "rm_1" }),
            json!({ "id": { "$starts": "rm_" }, "n": { "$min": 3, "$max": 3 } }),
            json!({ "list": { "$has": { "a": 2 }, "$length": 2 } }),
            json!({ "list": [{}, { "a": 2 }] }),
            json!({ "gone": { "$absent": true }, "no": null, "n": { "$type": "number" } }),
            json!({ "id": { "$not": "rm_2" }, "n": { "$one_of": [1, 3] } }),
        ];
        for pattern in like {
            assert_eq!(check(&pattern, Some(&value)), Ok(()), "{pattern}");
        }
        let unlike = [
            json!({ "id": "rm_2" }),
            json!({ "id": { "$starts": "pa_" } }),
            json!({ "n": { "$max": 2 } }),
            json!({ "list": [{}] }),
            json!({ "list": { "$has": { "a": 3 } } }),
            json!({ "gone": { "$any": true } }),
            json!({ "gone": null }),
            json!({ "id": { "$absent": true } }),
            json!({ "id": { "$typo": 1 } }),
            json!([]),
        ];
        for pattern in unlike {
            assert!(check(&pattern, Some(&value)).is_err(), "{pattern}");
        }
    }
}
