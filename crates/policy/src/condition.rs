//! One condition: an operator, a key and the values wanted of it.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Condition", "Condition operators: IfExists" and
//! "Set operators for multivalued context keys".

use crate::error::{Reason, quote};
use crate::json::Json;
use crate::operator::{self, Compare, Wanted};
use crate::request::{Request, key_name};

/// How many of the request's values must fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// The operator stands alone, and the key is expected to have one value. If it has more, one that
    /// fits is enough, or none must be named when the operator is negated.
    Single,
    /// `ForAllValues`: every one, and none at all is well.
    All,
    /// `ForAnyValue`: at least one.
    Any,
}

#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) key: String,
    pub(crate) set: Set,
    pub(crate) if_exists: bool,
    pub(crate) negated: bool,
    pub(crate) wanted: Wanted,
}

impl Condition {
    /// Reads a `Condition` element: operators, in each keys, in each values.
    pub(crate) fn parse_all(element: &Json, variables: bool, syntax: &Reason) -> Result<Vec<Self>, Reason> {
        let mut conditions = Vec::new();
        for (operator, keys) in element.as_object().ok_or_else(|| syntax.clone())? {
            let read = Operator::parse(operator).ok_or_else(|| Reason::ConditionType(quote(operator)))?;
            for (key, values) in keys.as_object().ok_or_else(|| syntax.clone())? {
                if !key.contains(':') {
                    return Err(Reason::Vendor);
                }
                let key = key_name(key).ok_or(Reason::ConditionKey)?;
                let values: Option<Vec<&str>> = values.as_list().iter().map(Json::scalar).collect();
                let values = values.filter(|values| !values.is_empty()).ok_or_else(|| syntax.clone())?;
                let wanted = Wanted::parse(read.compare, operator, &values, variables)?;
                let Operator { set, if_exists, negated, .. } = read;
                conditions.push(Self { key, set, if_exists, negated, wanted });
            }
        }
        Ok(conditions)
    }

    pub(crate) fn holds(&self, request: &Request<'_>) -> bool {
        let values = request.values(&self.key);
        if let Wanted::Null(missing) = &self.wanted {
            return missing.contains(&values.is_none());
        }
        let Some(values) = values else {
            return self.if_exists
                || match self.set {
                    Set::Single => self.negated,
                    Set::All => true,
                    Set::Any => false,
                };
        };
        let mut values = values.iter();
        let fits = |value: &String| self.wanted.matches(value, request) != self.negated;
        match self.set {
            Set::All => values.all(fits),
            Set::Any => values.any(fits),
            Set::Single if self.negated => values.all(fits),
            Set::Single => values.any(fits),
        }
    }
}

#[derive(Clone, Copy)]
struct Operator {
    set: Set,
    compare: Compare,
    negated: bool,
    if_exists: bool,
}

impl Operator {
    fn parse(written: &str) -> Option<Self> {
        let (set, name) = match written.split_once(':') {
            None => (Set::Single, written),
            Some(("ForAllValues", name)) => (Set::All, name),
            Some(("ForAnyValue", name)) => (Set::Any, name),
            Some(_) => return None,
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (compare, negated) = operator::by_name(name)?;
        // `Null` asks whether the key is there at all; nothing around it could mean anything.
        let alone = set == Set::Single && !if_exists;
        (alone || !matches!(compare, Compare::Null)).then_some(Self { set, compare, negated, if_exists })
    }
}
