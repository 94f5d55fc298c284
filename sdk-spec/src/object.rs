//! JSON objects that must be objects. Serde also reads a struct from an array of its fields in
//! order, which no schema of ours says and no second reader expects.

use std::{fmt, marker::PhantomData};

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
