//! The operators of conditions, and how each compares one value.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Condition operators".

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::IpNet;

use crate::error::{Reason, quote};
use crate::moment;
use crate::pattern::{Syntax, Template};
use crate::request::Request;
use crate::resource::ArnPattern;

/// How two things that have an order compare.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, value: T, wanted: T) -> bool {
        match self {
            Self::Equal => value == wanted,
            Self::Less => value < wanted,
            Self::LessOrEqual => value <= wanted,
            Self::Greater => value > wanted,
            Self::GreaterOrEqual => value >= wanted,
        }
    }
}

/// What an operator does, before its `Not`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Compare {
    Text,
    TextIgnoreCase,
    TextLike,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

/// An operator by its name, and whether it is negated. Names are exact: an operator in another case is
/// refused when the policy is put, not passed over when it should protect.
pub(crate) fn by_name(name: &str) -> Option<(Compare, bool)> {
    use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
    Some(match name {
        "StringEquals" => (Compare::Text, false),
        "StringNotEquals" => (Compare::Text, true),
        "StringEqualsIgnoreCase" => (Compare::TextIgnoreCase, false),
        "StringNotEqualsIgnoreCase" => (Compare::TextIgnoreCase, true),
        "StringLike" => (Compare::TextLike, false),
        "StringNotLike" => (Compare::TextLike, true),
        "NumericEquals" => (Compare::Number(Equal), false),
        "NumericNotEquals" => (Compare::Number(Equal), true),
        "NumericLessThan" => (Compare::Number(Less), false),
        "NumericLessThanEquals" => (Compare::Number(LessOrEqual), false),
        "NumericGreaterThan" => (Compare::Number(Greater), false),
        "NumericGreaterThanEquals" => (Compare::Number(GreaterOrEqual), false),
        "DateEquals" => (Compare::Date(Equal), false),
        "DateNotEquals" => (Compare::Date(Equal), true),
        "DateLessThan" => (Compare::Date(Less), false),
        "DateLessThanEquals" => (Compare::Date(LessOrEqual), false),
        "DateGreaterThan" => (Compare::Date(Greater), false),
        "DateGreaterThanEquals" => (Compare::Date(GreaterOrEqual), false),
        "Bool" => (Compare::Bool, false),
        "BinaryEquals" => (Compare::Binary, false),
        "IpAddress" => (Compare::Ip, false),
        "NotIpAddress" => (Compare::Ip, true),
        // The guide: the two behave alike.
        "ArnEquals" | "ArnLike" => (Compare::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Compare::Arn, true),
        "Null" => (Compare::Null, false),
        _ => return None,
    })
}

/// The values that a policy gives an operator, read once.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Text(Vec<Template>),
    TextIgnoreCase(Vec<Template>),
    TextLike(Vec<Template>),
    Number(Order, Vec<f64>),
    Date(Order, Vec<i128>),
    Bool(Vec<bool>),
    Binary(Vec<Vec<u8>>),
    Ip(Vec<IpNet>),
    Arn(Vec<ArnPattern>),
    /// Whether the key should be missing.
    Null(Vec<bool>),
}

impl Wanted {
    /// Reads the values; `operator` as the policy has it, for the message. Variables stand in text and
    /// ARNs only ("Where you can use policy variables").
    pub(crate) fn parse(compare: Compare, operator: &str, values: &[&str], variables: bool) -> Result<Self, Reason> {
        let template = |wildcards| {
            move |value: &&str| {
                Template::parse(value, Syntax { wildcards, variables }).map_err(|_| Reason::Variable(quote(value)))
            }
        };
        Ok(match compare {
            Compare::Text => Self::Text(values.iter().map(template(false)).collect::<Result<_, _>>()?),
            Compare::TextIgnoreCase => {
                Self::TextIgnoreCase(values.iter().map(template(false)).collect::<Result<_, _>>()?)
            }
            Compare::TextLike => Self::TextLike(values.iter().map(template(true)).collect::<Result<_, _>>()?),
            Compare::Number(order) => Self::Number(order, each(operator, values, number)?),
            Compare::Date(order) => Self::Date(order, each(operator, values, moment::parse)?),
            Compare::Bool => Self::Bool(each(operator, values, boolean)?),
            Compare::Binary => Self::Binary(each(operator, values, binary)?),
            Compare::Ip => Self::Ip(each(operator, values, network)?),
            Compare::Arn => Self::Arn(each(operator, values, |value| ArnPattern::parse(value, variables))?),
            Compare::Null => Self::Null(each(operator, values, boolean)?),
        })
    }

    /// The most wildcards and variables that one of the values has.
    pub(crate) fn wildcards(&self) -> usize {
        let most = match self {
            Self::Text(values) | Self::TextIgnoreCase(values) | Self::TextLike(values) => {
                values.iter().map(Template::wildcards).max()
            }
            Self::Arn(values) => values.iter().map(ArnPattern::wildcards).max(),
            _ => None,
        };
        most.unwrap_or_default()
    }

    /// Whether one value of the request is any of those wanted. A value that the operator cannot read
    /// is none of them.
    pub(crate) fn matches(&self, value: &str, request: &Request<'_>) -> bool {
        match self {
            Self::Text(wanted) => wanted.iter().any(|w| w.text(request).is_some_and(|w| w == value)),
            Self::TextIgnoreCase(wanted) => {
                let value = value.to_lowercase();
                wanted.iter().any(|w| w.text(request).is_some_and(|w| w.to_lowercase() == value))
            }
            Self::TextLike(wanted) => wanted.iter().any(|w| w.matches(value, request)),
            Self::Number(order, wanted) => number(value).is_some_and(|v| wanted.iter().any(|w| order.holds(v, *w))),
            Self::Date(order, wanted) => {
                moment::parse(value).is_some_and(|v| wanted.iter().any(|w| order.holds(v, *w)))
            }
            Self::Bool(wanted) | Self::Null(wanted) => boolean(value).is_some_and(|v| wanted.contains(&v)),
            Self::Binary(wanted) => binary(value).is_some_and(|v| wanted.contains(&v)),
            Self::Ip(wanted) => address(value).is_some_and(|v| wanted.iter().any(|w| w.contains(&v))),
            Self::Arn(wanted) => wanted.iter().any(|w| w.matches(value, request)),
        }
    }
}

fn each<T>(operator: &str, values: &[&str], read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Reason> {
    let refuse = |value| Reason::ConditionValue { operator: quote(operator), value: quote(value) };
    values.iter().map(|value| read(value).ok_or_else(|| refuse(value))).collect()
}

/// Whole numbers are exact up to 2^53, which is beyond any size or count that S3 knows.
fn number(text: &str) -> Option<f64> {
    // Rust's parser takes "inf" and "nan" as well.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

fn binary(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}

/// A range, or one address. Bits beyond the prefix do not count.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: IpAddr| IpNet::from(address)))
}

/// An IPv4 client on a socket of both families shows as `::ffff:a.b.c.d`; policies mean `a.b.c.d`.
fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}
