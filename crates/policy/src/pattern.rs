//! Text with wildcards and policy variables, and its matching.
//!
//! Source: IAM User Guide, "IAM policy elements: Variables and tags".

use std::borrow::Cow;

use crate::request::{Request, key_name};

/// What a pattern is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// `*`: any text, none included.
    Any,
    /// `?`: exactly one character.
    One,
    /// `${key}` or `${key, 'default'}`.
    Variable {
        key: String,
        default: Option<String>,
    },
}

/// Which characters of a text mean more than themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Syntax {
    /// `*` and `?`.
    pub(crate) wildcards: bool,
    /// `${...}`; not in documents of version 2008-10-17.
    pub(crate) variables: bool,
}

/// A `${...}` that is not well formed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadVariable;

/// Text with wildcards and variables. No two neighbours are both text or both `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

impl Template {
    pub(crate) fn parse(source: &str, syntax: Syntax) -> Result<Self, BadVariable> {
        let mut template = Self::default();
        let mut rest = source;
        while let Some(next) = rest.chars().next() {
            if let Some(inside) = rest.strip_prefix("${").filter(|_| syntax.variables) {
                let (piece, after) = variable(inside)?;
                template.push(piece);
                rest = after;
                continue;
            }
            template.push(match next {
                '*' if syntax.wildcards => Piece::Any,
                '?' if syntax.wildcards => Piece::One,
                other => Piece::Text(other.to_string()),
            });
            rest = &rest[next.len_utf8()..];
        }
        Ok(template)
    }

    fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Text(text)), Piece::Text(more)) => text.push_str(&more),
            // Two stars say what one says.
            (Some(Piece::Any), Piece::Any) => {}
            (_, piece) => self.pieces.push(piece),
        }
    }

    /// Whether the text matches. A variable that has no single value in the request and no default
    /// matches nothing, and so does all of the pattern around it.
    pub(crate) fn matches(&self, text: &str, request: &Request<'_>) -> bool {
        let parts: Option<Vec<Part<'_>>> = self.pieces.iter().map(|piece| resolve(piece, request)).collect();
        parts.is_some_and(|parts| matches(&parts, text))
    }

    /// As [`Self::matches`], where variables may stand for anything.
    pub(crate) fn could_match(&self, text: &str) -> bool {
        matches(&self.parts_at_large(), text)
    }

    /// Whether some text that begins with `head` could match, where variables may stand for anything.
    pub(crate) fn could_begin_with(&self, head: &str) -> bool {
        let mut left = head;
        for piece in &self.pieces {
            left = match piece {
                // It can swallow the rest of the head, and what follows can be chosen to fit.
                Piece::Any | Piece::Variable { .. } => return true,
                Piece::One => left.chars().next().map_or("", |c| &left[c.len_utf8()..]),
                Piece::Text(text) => match left.strip_prefix(text.as_str()) {
                    Some(rest) => rest,
                    None => return text.starts_with(left),
                },
            };
            if left.is_empty() {
                return true;
            }
        }
        false
    }

    fn parts_at_large(&self) -> Vec<Part<'_>> {
        self.pieces.iter().map(at_large).collect()
    }

    /// The text, variables filled in; `None` when one has no value. For patterns without wildcards.
    pub(crate) fn text(&self, request: &Request<'_>) -> Option<String> {
        let mut text = String::new();
        for piece in &self.pieces {
            match resolve(piece, request)? {
                Part::Text(part) => text.push_str(&part),
                Part::Any => text.push('*'),
                Part::One => text.push('?'),
            }
        }
        Some(text)
    }

    /// The text, if there is neither wildcard nor variable in it, `*` and `?` as plain text included.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] if !text.contains(['*', '?']) => Some(text),
            _ => None,
        }
    }

    /// How many wildcards and variables it has.
    pub(crate) fn wildcards(&self) -> usize {
        self.pieces.iter().filter(|piece| !matches!(piece, Piece::Text(_))).count()
    }

    /// Whether it begins with this text.
    pub(crate) fn starts_with(&self, head: &str) -> bool {
        matches!(self.pieces.first(), Some(Piece::Text(text)) if text.starts_with(head))
    }

    /// Cuts at the first `count - 1` colons that are plain text.
    pub(crate) fn split_at_colons(&self, count: usize) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        for piece in &self.pieces {
            let Piece::Text(text) = piece else {
                push_last(&mut parts, piece.clone());
                continue;
            };
            let colons_left = count - parts.len();
            for (i, run) in text.splitn(colons_left + 1, ':').enumerate() {
                if i > 0 {
                    parts.push(Self::default());
                }
                if !run.is_empty() {
                    push_last(&mut parts, Piece::Text(run.to_owned()));
                }
            }
        }
        parts
    }
}

fn push_last(parts: &mut [Template], piece: Piece) {
    if let Some(last) = parts.last_mut() {
        last.push(piece);
    }
}

/// Reads a variable after its `${`; gives what follows its `}` as well.
fn variable(inside: &str) -> Result<(Piece, &str), BadVariable> {
    // The default is quoted and may hold a brace.
    let (name, default, rest) = match inside.find(['}', ',']) {
        Some(at) if inside[at..].starts_with('}') => (&inside[..at], None, &inside[at + 1..]),
        Some(at) => {
            let quoted = inside[at + 1..].trim_start().strip_prefix('\'').ok_or(BadVariable)?;
            let (default, after) = quoted.split_once('\'').ok_or(BadVariable)?;
            let rest = after.trim_start().strip_prefix('}').ok_or(BadVariable)?;
            (&inside[..at], Some(default.to_owned()), rest)
        }
        None => return Err(BadVariable),
    };
    let name = name.trim();
    let piece = match (name, &default) {
        ("*" | "?" | "$", None) => Piece::Text(name.to_owned()),
        _ => Piece::Variable { key: key_name(name).ok_or(BadVariable)?, default },
    };
    Ok((piece, rest))
}

/// A piece whose variables are filled in. What a variable stands for is plain text: a `*` in it, which
/// a client may have sent, is no wildcard.
enum Part<'a> {
    Text(Cow<'a, str>),
    Any,
    One,
}

fn resolve<'a>(piece: &'a Piece, request: &'a Request<'_>) -> Option<Part<'a>> {
    Some(match piece {
        Piece::Text(text) => Part::Text(Cow::Borrowed(text)),
        Piece::Any => Part::Any,
        Piece::One => Part::One,
        Piece::Variable { key, default } => {
            let value = match request.values(key) {
                Some(Cow::Borrowed([one])) => Some(Cow::Borrowed(one.as_str())),
                // Only a key of one value can stand in a variable.
                Some(Cow::Owned(values)) if values.len() == 1 => values.into_iter().next().map(Cow::Owned),
                Some(_) => None,
                None => default.as_deref().map(Cow::Borrowed),
            };
            Part::Text(value?)
        }
    })
}

fn at_large(piece: &Piece) -> Part<'_> {
    match piece {
        Piece::Text(text) => Part::Text(Cow::Borrowed(text)),
        Piece::One => Part::One,
        Piece::Any | Piece::Variable { .. } => Part::Any,
    }
}

/// Matches with one place to go back to, the last `*`: that a `*` before it takes more never helps.
/// Each return moves on by a character or, where text follows the `*`, to where that is found next, so
/// the time is at most the text's length times the pattern's, of which only what is around `?` counts.
fn matches(parts: &[Part<'_>], text: &str) -> bool {
    let mut rest = text;
    let mut next = 0;
    let mut star: Option<(usize, &str)> = None;
    loop {
        let after = match parts.get(next) {
            Some(Part::Any) => {
                star = Some((next + 1, rest));
                Some(rest)
            }
            Some(Part::One) => rest.chars().next().map(|c| &rest[c.len_utf8()..]),
            Some(Part::Text(text)) => rest.strip_prefix(text.as_ref()),
            None if rest.is_empty() => return true,
            None => None,
        };
        if let Some(after) = after {
            rest = after;
            next += 1;
            continue;
        }
        let Some((behind, from)) = star else { return false };
        let Some(skipped) = from.chars().next() else { return false };
        rest = &from[skipped.len_utf8()..];
        if let Some(Part::Text(text)) = parts.get(behind) {
            let text = text.as_ref();
            let found = match behind + 1 == parts.len() {
                true => rest.ends_with(text).then(|| rest.len() - text.len()),
                false => rest.find(text),
            };
            let Some(at) = found else { return false };
            rest = &rest[at..];
        }
        next = behind;
        star = Some((behind, rest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: Syntax = Syntax { wildcards: true, variables: true };

    fn template(source: &str) -> Template {
        Template::parse(source, BOTH).unwrap()
    }

    #[test]
    fn wildcards_match() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b:c", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("a*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*?é", "aé", true),
            ("*ab", "aab", true),
            ("*aab", "aaab", true),
            ("a*b*c", "a-b-b-c", true),
            ("${*}", "*", true),
            ("${*}", "x", false),
            ("${?}${$}", "?$", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(template(pattern).could_match(text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn variables_are_read_or_refused() {
        for good in ["${aws:username}", "${aws:username, 'a}b'}", "x${ aws:username ,'' }y", "$", "$x{", "${s3:prefix}"]
        {
            assert!(Template::parse(good, BOTH).is_ok(), "{good}");
        }
        for bad in [
            "${",
            "${}",
            "${aws:username",
            "${aws:username,}",
            "${aws:username,'x}",
            "${aws:username,'x'",
            "${x}",
            "${*, 'x'}",
        ] {
            assert!(Template::parse(bad, BOTH).is_err(), "{bad}");
        }
        let old = Template::parse("${aws:username", Syntax { wildcards: true, variables: false }).unwrap();
        assert_eq!(old.fixed(), Some("${aws:username"));
    }

    #[test]
    fn what_a_pattern_can_begin_with() {
        for (pattern, expected) in [
            ("b", false),
            ("b/", true),
            ("b/k", true),
            ("b/*", true),
            ("b*", true),
            ("*", true),
            ("?/x", true),
            ("??", true),
            ("c/x", false),
            ("${aws:username}/x", true),
            ("", false),
        ] {
            assert_eq!(template(pattern).could_begin_with("b/"), expected, "{pattern}");
        }
    }

    /// A matcher that tries all ways would need longer than the world has for these.
    #[test]
    fn hard_patterns_end() {
        let text = "a".repeat(8_000);
        for pattern in
            ["*a".repeat(4_000) + "b", "a*".repeat(4_000) + "b", "*?".repeat(4_000) + "b", "*".repeat(8_000) + "b"]
        {
            assert!(!template(&pattern).could_match(&text));
        }
        assert!(template(&"*a".repeat(4_000)).could_match(&text));
    }

    #[test]
    fn colons_split_outside_variables() {
        let parts = template("arn:aws:s3:::b/${aws:username}:x:*").split_at_colons(6);
        assert_eq!(parts.len(), 6);
        assert_eq!(parts[3].fixed(), Some(""));
        assert!(parts[5].could_match("b/me:x:y"));
        assert_eq!(template("${aws:a}:b").split_at_colons(6).len(), 2);
    }
}
