//! A document as it was written: a tree that keeps every field, in its order, doubled ones too.
//!
//! That a field stands twice is refused by `reader.rs`; of the two, a map would keep one silently.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

/// How much of a text is shown in a finding, in characters.
const SHOWN_MAX: usize = 80;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    /// A number that is below zero or not whole.
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Tells whether nothing is asked by it.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Object(fields) => fields.is_empty(),
            _ => false,
        }
    }
}

/// Writes it for a finding: on one line, and never much.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(items) if items.is_empty() => f.write_str("[]"),
            Self::List(_) => f.write_str("[…]"),
            Self::Object(fields) if fields.is_empty() => f.write_str("{}"),
            Self::Object(_) => f.write_str("{…}"),
        }
    }
}

/// Writes a text in quotes, its end left out if it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reads)
    }
}

struct Reads;

impl<'de> Visitor<'de> for Reads {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(u64::try_from(value).map_or(Json::Number(value as f64), Json::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_keeps_its_fields_as_they_stand() {
        let json = Json::parse(r#"{"b": [1, -1, 1.5, null, true], "a": "x", "b": {}}"#).unwrap();
        let list = vec![
            Json::Unsigned(1),
            Json::Number(-1.0),
            Json::Number(1.5),
            Json::Null,
            Json::Bool(true),
        ];
        let fields = [
            ("b", Json::List(list)),
            ("a", Json::Text("x".to_owned())),
            ("b", Json::Object(Vec::new())),
        ];
        assert_eq!(json, Json::Object(fields.map(|(name, json)| (name.to_owned(), json)).into()));
    }

    #[test]
    fn what_is_shown_is_short_and_on_one_line() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Json::parse(text).unwrap().to_string(), expected, "{text}");
        };
        check("-1", "-1");
        check("0.5", "0.5");
        check(r#""a\nb\u0007""#, r#""a\nb\u{7}""#);
        check("[1, 2]", "[…]");
        check(r#"{"a": 1}"#, "{…}");
        let long = format!("\"{}\"", "ä".repeat(100));
        check(&long, &format!("\"{}\"…", "ä".repeat(80)));
    }

    #[test]
    fn depth_is_bounded() {
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
    }
}
