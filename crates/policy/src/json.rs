//! JSON as it was written: unlike `serde_json::Value`, objects keep a field that is named twice, so
//! that it can be refused.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value.
#[derive(Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Its text: conditions compare numbers as they compare strings, by parsing them.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a document. Depth is bounded by serde_json's own limit of 128.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The first field named twice in one object, anywhere below.
    pub(crate) fn duplicate(&self) -> Option<&str> {
        match self {
            Self::Array(items) => items.iter().find_map(Self::duplicate),
            Self::Object(fields) => {
                let mut seen = HashSet::new();
                let twice = fields.iter().find(|(name, _)| !seen.insert(name));
                twice.map(|(name, _)| name.as_str()).or_else(|| fields.iter().find_map(|(_, value)| value.duplicate()))
            }
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_object(&self) -> Option<&[(String, Json)]> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// The items of an array; anything else is a list of itself, as the grammar has it everywhere.
    pub(crate) fn as_list(&self) -> &[Json] {
        match self {
            Self::Array(items) => items,
            one => std::slice::from_ref(one),
        }
    }

    /// A string, or a list of strings that is not empty.
    pub(crate) fn as_strings(&self) -> Option<Vec<&str>> {
        let strings: Option<Vec<&str>> = self.as_list().iter().map(Self::as_str).collect();
        strings.filter(|strings| !strings.is_empty())
    }

    /// The text of a string, a number or a boolean: what a condition's value may be.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::Number(text) => Some(text),
            Self::Bool(true) => Some("true"),
            Self::Bool(false) => Some("false"),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Builder)
    }
}

struct Builder;

impl<'de> Visitor<'de> for Builder {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = entries.next_entry()? {
            fields.push(field);
        }
        Ok(Json::Object(fields))
    }
}
