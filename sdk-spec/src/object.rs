//! JSON objects that must be objects. Serde also reads a struct from an array of its fields in
//! order, which no schema of ours says and no second reader expects.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Reads a `T` from a JSON object and nothing else; repeated members are refused as `T` does.
///
/// # Errors
/// When the text is not JSON, or not such an object.
pub fn from_slice<T: for<'de> Deserialize<'de>>(json: &[u8]) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// The same JSON with integers written as such: `576.0` and `1e3` are integers to JSON Schema (and
/// to every JavaScript), which serde refuses.
#[must_use]
pub fn integral(json: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = json.get(at) {
        let mut end = at + 1;
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => end = (at + 2).min(json.len()),
            b'-' | b'0'..=b'9' if !in_string => {
                let part = |b: &&u8| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                end = at + json[at..].iter().take_while(part).count();
                if let Some(integer) = as_integer(&json[at..end]) {
                    out.get_or_insert_with(|| json[..at].to_vec()).extend(integer.into_bytes());
                    at = end;
                    continue;
                }
            }
            _ => {}
        }
        if let Some(out) = &mut out {
            out.extend_from_slice(&json[at..end]);
        }
        at = end;
    }
    out.map_or(Cow::Borrowed(json), Cow::Owned)
}

/// A number with a point or exponent whose value is an integer that every reader holds exactly
/// (below 2^53).
fn as_integer(number: &[u8]) -> Option<String> {
    const EXACT: f64 = (1_u64 << 53) as f64;
    if !number.iter().any(|b| matches!(b, b'.' | b'e' | b'E')) {
        return None;
    }
    // Only what JSON takes for a number: Rust also reads `1.` and `01.0`.
    let value: f64 = serde_json::from_slice(number).ok()?;
    (value.fract() == 0.0 && value.abs() < EXACT).then(|| format!("{}", value as i64))
}

/// For `#[serde(deserialize_with)]`.
pub(crate) fn read<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    d.deserialize_map(Object(PhantomData))
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        rest::{CreateRoom, CreateToken},
        ws::ClientMessage,
    };

    use super::*;

    #[test]
    fn an_integer_is_one_however_it_is_written() {
        let text = |json: &str| String::from_utf8_lossy(&integral(json.as_bytes())).into_owned();
        for (json, wanted) in [
            (r#"{"a":576.0,"b":[1e3,-2.50e1]}"#, r#"{"a":576,"b":[1000,-25]}"#),
            (r#"{"a":"576.0 \" 1.0","b":1}"#, r#"{"a":"576.0 \" 1.0","b":1}"#),
            (r#"{"a":0.5,"b":1e300,"c":12}"#, r#"{"a":0.5,"b":1e300,"c":12}"#),
            ("[1., 01.0, 1.0.0, -]", "[1., 01.0, 1.0.0, -]"),
            (r#"["\\", 2.0, "\"#, r#"["\\", 2, "\"#),
        ] {
            assert_eq!(text(json), wanted);
        }
        let token = br#"{"handle":"a","grants":{},"ttl_seconds":752.0}"#;
        let read: CreateToken = from_slice(&integral(token)).expect("an integer");
        assert_eq!(read.ttl_seconds, Some(752));
    }

    #[test]
    fn arrays_are_no_objects_at_any_depth() {
        assert!(from_slice::<CreateRoom>(b" {} ").is_ok());
        assert!(from_slice::<CreateRoom>(b"[]").is_err());
        assert!(from_slice::<CreateRoom>(b"{} {}").is_err());
        assert!(from_slice::<ClientMessage>(br#"{"type":"ping"}"#).is_ok());
        assert!(from_slice::<ClientMessage>(br#"["ping"]"#).is_err());
        let token = |grants: &str| {
            from_slice::<CreateToken>(format!(r#"{{"handle":"a","grants":{grants}}}"#).as_bytes())
        };
        assert!(token(r#"{"subscribe":true}"#).is_ok());
        assert!(token(r#"[["camera"],true]"#).is_err());
        assert!(token(r#"{"subscribe":true,"subscribe":false}"#).is_err());
    }
}
