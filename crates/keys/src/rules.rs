//! Which portion an object belongs to: rules that are asked in order when it is written. Pure.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use meta::record::PortionClass;
use serde::{Deserialize, Serialize};

use crate::portions::is_reserved;

/// Most rules of a tenant: all are asked for each object written.
const RULES_MAX: usize = 1_000;
/// Bytes of a rules document: it is one row, and rows have at most 128 KiB.
pub const RULES_BYTES_MAX: usize = 100 * 1024;
/// Bytes of a portion's name; longer ones that rules make are cut and told apart by a hash.
pub const PORTION_NAME_MAX: usize = 256;
/// Where no rule matches.
const DEFAULT_PORTION: &str = "bucket/{bucket}";

/// Why a document holds no rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Not JSON, or not of the known shape.
    #[error("the rules are not valid: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Longer than the limits allow.
    #[error("the rules are too long: at most {RULES_MAX} rules and {RULES_BYTES_MAX} bytes")]
    TooLong,
    /// A rule that cannot be meant.
    #[error("rule {rule}: {why}")]
    Rule {
        /// Its place in the list, from 1.
        rule: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The bucket's name.
    pub bucket: &'a str,
    /// The object's key.
    pub key: &'a str,
    /// The object's tags.
    pub tags: &'a BTreeMap<String, String>,
    /// `Content-Type`, empty where it has none.
    pub content_type: &'a str,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The portion's name.
    pub portion: String,
    /// The rule that matched, from 1; `None`: none did.
    pub rule: Option<usize>,
    /// What the portion's key is like if the portion is made now.
    #[serde(default)]
    pub class: PortionClass,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rules: Vec<RawRule>,
}

/// A rule as it is written. What is absent matches everything.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    bucket: Option<String>,
    prefix: Option<String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    content_type: Option<String>,
    portion: String,
    #[serde(default)]
    class: PortionClass,
}

/// Rules in their order.
#[derive(Debug, Default)]
pub struct Rules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    bucket: Option<String>,
    prefix: Vec<Piece>,
    tags: BTreeMap<String, String>,
    content_type: Option<String>,
    portion: Vec<Piece>,
    class: PortionClass,
}

/// Of a prefix: text, or a name for what stands there up to the next `/`. Of a portion's name:
/// text, or what was caught under that name.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Caught(String),
}

impl Rules {
    /// Reads a document: `{"rules": [{"bucket": "app-*", "prefix": "users/{id}/", "tags": {"class": "secret"},
    /// "content_type": "image/*", "portion": "users/{id}", "class": "quorum"}]}`. `*` stands for any text in `bucket`, `content_type` and
    /// the values of `tags`.
    ///
    /// # Errors
    /// [`RulesError`], which names the first rule that is wrong.
    pub fn parse(document: &str) -> Result<Self, RulesError> {
        if document.len() > RULES_BYTES_MAX {
            return Err(RulesError::TooLong);
        }
        let document: Document = serde_json::from_str(document)?;
        if document.rules.len() > RULES_MAX {
            return Err(RulesError::TooLong);
        }
        let rules = document
            .rules
            .into_iter()
            .enumerate()
            .map(|(index, raw)| compile(raw).map_err(|why| RulesError::Rule { rule: index + 1, why }));
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// The portion of an object that is written.
    pub fn choose(&self, subject: &Subject<'_>) -> Choice {
        let found = self.0.iter().enumerate().find_map(|(index, rule)| {
            let portion = bounded(rule.portion_of(subject)?);
            Some(Choice { portion, rule: Some(index + 1), class: rule.class })
        });
        let default = || DEFAULT_PORTION.replace("{bucket}", subject.bucket);
        found.unwrap_or_else(|| Choice { portion: default(), rule: None, class: PortionClass::Sealed })
    }
}

impl Rule {
    fn portion_of(&self, subject: &Subject<'_>) -> Option<String> {
        let fits = |pattern: &Option<String>, text: &str| pattern.as_ref().is_none_or(|glob| matches(glob, text));
        let tagged = |(name, glob): (&String, &String)| subject.tags.get(name).is_some_and(|tag| matches(glob, tag));
        if !fits(&self.bucket, subject.bucket)
            || !fits(&self.content_type, subject.content_type)
            || !self.tags.iter().all(tagged)
        {
            return None;
        }
        let caught = caught(&self.prefix, subject.key)?;
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Caught(name) if name == "bucket" => subject.bucket.to_owned(),
            // Checked when the rule was read.
            Piece::Caught(name) => {
                caught.iter().find(|(known, _)| *known == name).map_or("", |(_, text)| text).to_owned()
            }
        };
        Some(self.portion.iter().map(piece).collect())
    }
}

fn compile(raw: RawRule) -> Result<Rule, String> {
    let prefix = pieces(raw.prefix.as_deref().unwrap_or_default())?;
    let portion = pieces(&raw.portion)?;
    let mut names = vec!["bucket"];
    for pair in prefix.windows(2) {
        if matches!(pair, [Piece::Caught(_), Piece::Caught(_)]) {
            return Err("two names in a row in the prefix: nothing tells where one ends".to_owned());
        }
    }
    for piece in &prefix {
        let Piece::Caught(name) = piece else { continue };
        if names.contains(&name.as_str()) {
            return Err(format!("{{{name}}} stands twice in the prefix, or is `bucket`"));
        }
        names.push(name);
    }
    for piece in &portion {
        if let Piece::Caught(name) = piece
            && !names.contains(&name.as_str())
        {
            return Err(format!("the portion names {{{name}}}, which the prefix does not catch"));
        }
    }
    if portion.is_empty() || raw.portion.len() > PORTION_NAME_MAX {
        return Err(format!("the portion's name has 1 to {PORTION_NAME_MAX} bytes"));
    }
    Ok(Rule { bucket: raw.bucket, prefix, tags: raw.tags, content_type: raw.content_type, portion, class: raw.class })
}

fn pieces(source: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = source;
    while !rest.is_empty() {
        let Some((text, inside)) = rest.split_once('{') else {
            pieces.push(Piece::Text(rest.to_owned()));
            break;
        };
        let (name, after) = inside.split_once('}').ok_or_else(|| format!("a {{ without its }} in {source:?}"))?;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("a name in braces has letters, digits and _: {source:?}"));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(text.to_owned()));
        }
        pieces.push(Piece::Caught(name.to_owned()));
        rest = after;
    }
    Ok(pieces)
}

/// What a key that begins as the pattern says has at its names; `None` for any other key.
fn caught<'p, 'k>(pattern: &'p [Piece], key: &'k str) -> Option<Vec<(&'p String, &'k str)>> {
    let mut found = Vec::new();
    let mut rest = key;
    let mut pieces = pattern.iter().peekable();
    while let Some(piece) = pieces.next() {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Piece::Caught(name) => {
                let segment = rest.split('/').next().unwrap_or_default();
                let end = match pieces.peek() {
                    // The text behind may begin with the `/` that ends the segment.
                    Some(Piece::Text(next)) => {
                        rest.match_indices(next.as_str()).map(|(at, _)| at).find(|at| *at > 0)?
                    }
                    _ => segment.len(),
                };
                if end == 0 || end > segment.len() {
                    return None;
                }
                found.push((name, &rest[..end]));
                rest = &rest[end..];
            }
        }
    }
    Some(found)
}

/// Whether all of `text` is as `glob` says, whose `*` stand for any text, none included.
fn matches(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A name of at most [`PORTION_NAME_MAX`] bytes. A longer one is cut, and told from others that are
/// cut the same way by its SHA-256.
fn bounded(mut name: String) -> String {
    // What a key caught must not be taken for another portion's key.
    if is_reserved(&name) {
        name.insert_str(0, "rule/");
    }
    if name.len() <= PORTION_NAME_MAX {
        return name;
    }
    let hash = hex::encode(digest::digest(&digest::SHA256, name.as_bytes()));
    let mut end = PORTION_NAME_MAX - 1 - hash.len();
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{hash}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn choose(
        rules: &Rules,
        bucket: &str,
        key: &str,
        tags: &[(&str, &str)],
        content_type: &str,
    ) -> (String, Option<usize>) {
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let choice = rules.choose(&Subject { bucket, key, tags: &tags, content_type });
        (choice.portion, choice.rule)
    }

    #[test]
    fn the_first_rule_that_matches_names_the_portion() {
        let rules = Rules::parse(
            r#"{"rules": [
                {"tags": {"class": "secret*"}, "portion": "secrets"},
                {"bucket": "app-*", "prefix": "users/{id}/", "portion": "users/{id}"},
                {"prefix": "logs/{year}-{month}/", "portion": "logs/{bucket}/{year}"},
                {"content_type": "image/*", "portion": "images"},
                {"bucket": "raw", "prefix": "{first}", "portion": "{first}"}
            ]}"#,
        )
        .unwrap();
        let secret = [("class", "secret-1")];
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str, Option<usize>);
        let table: &[Row<'_>] = &[
            ("app-1", "users/7/a", &[], "", "users/7", Some(2)),
            ("app-1", "users/7/a/b", &[], "image/png", "users/7", Some(2)),
            ("app-1", "users/7/a", &secret, "", "secrets", Some(1)),
            ("app-1", "users//a", &[], "", "bucket/app-1", None),
            ("app-1", "users/7", &[], "", "bucket/app-1", None),
            ("other", "users/7/a", &[], "", "bucket/other", None),
            ("b", "logs/2026-11/x", &[], "", "logs/b/2026", Some(3)),
            ("b", "logs/2026/11-1/x", &[], "", "bucket/b", None),
            ("b", "x", &[], "image/png", "images", Some(4)),
            ("raw", "a/b", &[], "", "a", Some(5)),
            ("raw", "a", &[], "", "a", Some(5)),
            ("raw", "/a", &[], "", "bucket/raw", None),
        ];
        for (bucket, key, tags, content_type, portion, rule) in table {
            let expected = ((*portion).to_owned(), *rule);
            assert_eq!(choose(&rules, bucket, key, tags, content_type), expected, "{bucket} {key}");
        }
    }

    #[test]
    fn rules_that_cannot_be_meant_are_named() {
        let table = [
            (r#"{"rules": [{"portion": "a"}, {"prefix": "{a}", "portion": "{b}"}]}"#, "rule 2: the portion names {b}"),
            (r#"{"rules": [{"prefix": "{a}{b}/", "portion": "x"}]}"#, "rule 1: two names in a row"),
            (r#"{"rules": [{"prefix": "{a}/{a}/", "portion": "x"}]}"#, "rule 1: {a} stands twice"),
            (r#"{"rules": [{"prefix": "{bucket}/", "portion": "x"}]}"#, "rule 1: {bucket} stands twice"),
            (r#"{"rules": [{"prefix": "{a", "portion": "x"}]}"#, "rule 1: a { without its }"),
            (r#"{"rules": [{"prefix": "{a b}/", "portion": "x"}]}"#, "rule 1: a name in braces"),
            (r#"{"rules": [{"portion": ""}]}"#, "rule 1: the portion's name has"),
            (r#"{"rules": [{"portion": "x", "prefixes": "y"}]}"#, "unknown field"),
            (r#"{"rules": [{"portion": "x", "class": "open"}]}"#, "unknown variant"),
            (r#"{"rules": {}}"#, "the rules are not valid"),
            ("", "the rules are not valid"),
        ];
        for (document, words) in table {
            let error = Rules::parse(document).unwrap_err().to_string();
            assert!(error.contains(words), "{document}: {error}");
        }
    }

    #[test]
    fn globs() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "ab", true),
            ("a*", "ba", false),
            ("*a", "ba", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("**", "x", true),
        ];
        for (glob, text, expected) in table {
            assert_eq!(matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let rules = Rules::parse(r#"{"rules": [{"prefix": "{id}/", "portion": "{id}"}]}"#).unwrap();
        let long = |end: &str| format!("{}{end}/x", "é".repeat(300));
        let (one, two) = (choose(&rules, "b", &long("1"), &[], "").0, choose(&rules, "b", &long("2"), &[], "").0);
        assert!(one.len() <= PORTION_NAME_MAX && two.len() <= PORTION_NAME_MAX);
        assert_ne!(one, two);
    }

    proptest! {
        #[test]
        fn no_document_and_no_key_panics(document in ".{0,80}", prefix in "[a/{}*]{0,8}", key in ".{0,30}") {
            let _ = Rules::parse(&document);
            let rule = serde_json::json!({"rules": [{"prefix": prefix, "portion": "p"}]}).to_string();
            if let Ok(rules) = Rules::parse(&rule) {
                let choice = choose(&rules, "b", &key, &[], "");
                prop_assert!(!choice.0.is_empty());
            }
        }

        /// What is caught has no `/`, and the key begins with the prefix as it was filled in.
        #[test]
        fn what_is_caught_stood_there(key in "[ab/]{0,12}") {
            let rules = Rules::parse(r#"{"rules": [{"prefix": "a/{x}b/{y}", "portion": "{x}|{y}"}]}"#).unwrap();
            let (portion, rule) = choose(&rules, "b", &key, &[], "");
            if rule.is_some() {
                let (x, y) = portion.split_once('|').unwrap();
                prop_assert!(!x.contains('/') && !y.contains('/') && !x.is_empty() && !y.is_empty());
                let filled = format!("a/{x}b/{y}");
                prop_assert!(key.starts_with(&filled));
            }
        }
    }
}
