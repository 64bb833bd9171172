//! From the data file to a ladder without mistakes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::{Cell, Dependency, Failure, Ladder, Operation, Plan, Rung, Step};

/// Operations that decide who may do or open something. Each must be there and say so: what the file says of itself is not enough.
const SECURITY: [&str; 6] = ["kms-encrypt", "kms-generate", "kms-manage", "revoke", "deny", "policy"];

/// What begins the reason of a cell that does not come up.
const NONE: &str = "none:";

/// Something that is wrong with a ladder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// It is no TOML, or not of this shape.
    #[error("the file cannot be read: {0}")]
    Shape(String),
    /// A cell is not there.
    #[error("{0} has no cell: add it")]
    Missing(Place),
    /// An operation or dependency is there twice.
    #[error("{0} is there twice: keep one")]
    Twice(String),
    /// A row or cell of something that is not declared.
    #[error("operation {operation} has a row or cell of {name}, which there is not")]
    Unknown {
        /// The operation.
        operation: String,
        /// What it names.
        name: String,
    },
    /// A step that is none.
    #[error("{place}: {step:?} is no rung: same, stale(MAX), smaller, deferred, refuse, with MAX as 10s, 15m, 24h")]
    Step {
        /// The cell.
        place: Place,
        /// As it is written.
        step: String,
    },
    /// `stale` has to say how old, and the last step has to hold for ever.
    #[error("{0}: stale and each step before the last but smaller and deferred must have a MAX, and the last one none")]
    Bounds(Place),
    /// A better rung below a worse one, or the same twice.
    #[error("{0}: the rungs are not in the order same, stale, smaller, deferred, refuse, each once")]
    Order(Place),
    /// It ends on a rung that can fail too.
    #[error(
        "{0}: the last rung must be refuse, or same alone; of what has no caller, and of what is kept as a whole, it may be deferred"
    )]
    Open(Place),
    /// An old answer to who may do what.
    #[error("{0}: stale is no rung of what decides who may do or open something")]
    StaleDecision(Place),
    /// An operation that decides who may do or open something does not say so, or is not there.
    #[error("operation {0} must be there, with security = true")]
    NotSecurity(&'static str),
    /// `none:` without a reason.
    #[error("{0}: none needs a reason")]
    NoReason(Place),
}

/// Which cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The operation.
    pub operation: String,
    /// The dependency.
    pub dependency: String,
    /// The failure.
    pub failure: Failure,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.operation, self.dependency, self.failure)
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the degradation ladder is not right:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLadder {
    dependency: Vec<RawDependency>,
    operation: Vec<RawOperation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDependency {
    name: String,
    told: String,
    what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOperation {
    name: String,
    what: String,
    #[serde(default)]
    security: bool,
    #[serde(default)]
    background: bool,
    #[serde(default)]
    keeps: bool,
    on: BTreeMap<String, Row>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    /// One text for all failures: only why none comes up.
    Whole(String),
    /// A text a failure.
    Cells(BTreeMap<String, String>),
}

pub(crate) fn parse(text: &str) -> Result<Ladder, Mistakes> {
    let raw: RawLadder = toml::from_str(text).map_err(|error| Mistakes(vec![Mistake::Shape(error.to_string())]))?;
    let mut mistakes = Vec::new();
    let names = |names: Vec<&String>, mistakes: &mut Vec<Mistake>| {
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                mistakes.push(Mistake::Twice((*name).clone()));
            }
        }
    };
    names(raw.dependency.iter().map(|dependency| &dependency.name).collect(), &mut mistakes);
    names(raw.operation.iter().map(|operation| &operation.name).collect(), &mut mistakes);
    for name in SECURITY {
        if !raw.operation.iter().any(|operation| operation.name == name && operation.security) {
            mistakes.push(Mistake::NotSecurity(name));
        }
    }
    let mut cells = Vec::new();
    for operation in &raw.operation {
        unknown(operation, &raw.dependency, &mut mistakes);
        for dependency in &raw.dependency {
            for failure in Failure::ALL {
                let (operation_name, dependency) = (operation.name.clone(), dependency.name.clone());
                let place = Place { operation: operation_name, dependency, failure };
                match plan(operation, &place) {
                    Ok(plan) => {
                        let Place { operation, dependency, failure } = place;
                        cells.push(Cell { operation, dependency, failure, plan });
                    }
                    Err(mistake) => mistakes.push(mistake),
                }
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(Mistakes(mistakes));
    }
    let dependency = |raw: RawDependency| Dependency { name: raw.name, told: raw.told, what: raw.what };
    let operation = |raw: RawOperation| Operation {
        name: raw.name,
        what: raw.what,
        security: raw.security,
        background: raw.background,
    };
    Ok(Ladder {
        operations: raw.operation.into_iter().map(operation).collect(),
        dependencies: raw.dependency.into_iter().map(dependency).collect(),
        cells,
    })
}

/// Rows of dependencies, and cells of failures, that there are not.
fn unknown(operation: &RawOperation, dependencies: &[RawDependency], mistakes: &mut Vec<Mistake>) {
    let told = |name: &str| Mistake::Unknown { operation: operation.name.clone(), name: name.to_owned() };
    for (name, row) in &operation.on {
        if !dependencies.iter().any(|dependency| dependency.name == *name) {
            mistakes.push(told(name));
        }
        if let Row::Cells(cells) = row {
            mistakes.extend(cells.keys().filter(|name| Failure::named(name).is_none()).map(|name| told(name)));
        }
    }
}

fn plan(operation: &RawOperation, place: &Place) -> Result<Plan, Mistake> {
    let missing = || Mistake::Missing(place.clone());
    let (text, is_row) = match operation.on.get(&place.dependency).ok_or_else(missing)? {
        Row::Whole(text) => (text, true),
        Row::Cells(cells) => (cells.get(place.failure.name()).ok_or_else(missing)?, false),
    };
    if let Some(reason) = text.strip_prefix(NONE) {
        let reason = reason.trim();
        return if reason.is_empty() {
            Err(Mistake::NoReason(place.clone()))
        } else {
            Ok(Plan::None(reason.to_owned()))
        };
    }
    // Rungs are said failure by failure: who writes one for all has not thought of each.
    if is_row {
        return Err(missing());
    }
    let step = |step: &str| {
        let step = step.trim();
        step.parse::<Step>().map_err(|()| Mistake::Step { place: place.clone(), step: step.to_owned() })
    };
    let steps: Vec<Step> = text.split(',').map(step).collect::<Result<_, _>>()?;
    judge(&steps, operation, place)?;
    Ok(Plan::Steps(steps))
}

fn judge(steps: &[Step], operation: &RawOperation, place: &Place) -> Result<(), Mistake> {
    if !steps.is_sorted_by(|a, b| a.rung < b.rung) {
        return Err(Mistake::Order(place.clone()));
    }
    let last = steps.len() - 1;
    let is_end = match (steps[last].rung, last) {
        (Rung::Refuse, _) => !operation.background,
        (Rung::Same, 0) => true,
        (Rung::Deferred, _) => operation.background || operation.keeps,
        _ => false,
    };
    if !is_end {
        return Err(Mistake::Open(place.clone()));
    }
    if operation.security && steps.iter().any(|step| step.rung == Rung::Stale) {
        return Err(Mistake::StaleDecision(place.clone()));
    }
    let is_bound = |(index, step): (usize, &Step)| match step.rung {
        Rung::Smaller | Rung::Deferred => true,
        _ => step.max_s.is_some() == (index < last),
    };
    if !steps.iter().enumerate().all(is_bound) {
        return Err(Mistake::Bounds(place.clone()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ladder of one dependency; the operations that must be there, and `get` with this row.
    fn ladder(row: &str) -> String {
        let mut text = "[[dependency]]\nname = \"meta\"\ntold = \"meta\"\nwhat = \"rows\"\n".to_owned();
        for name in SECURITY {
            text += &format!(
                "[[operation]]\nname = \"{name}\"\nwhat = \"-\"\nsecurity = true\non.meta = \"none: not asked\"\n"
            );
        }
        text + "[[operation]]\nname = \"get\"\nwhat = \"-\"\n" + row
    }

    fn cells(down: &str) -> String {
        let others =
            "slow = \"refuse\", wrong = \"refuse\", partial = \"same\", refused = \"refuse\", overloaded = \"same\"";
        format!("on.meta = {{ down = \"{down}\", {others} }}\n")
    }

    fn mistakes(text: &str) -> Vec<Mistake> {
        Ladder::parse(text).err().map(|mistakes| mistakes.0).unwrap_or_default()
    }

    fn place(operation: &str, failure: Failure) -> Place {
        Place { operation: operation.to_owned(), dependency: "meta".to_owned(), failure }
    }

    #[test]
    fn what_is_right() {
        for down in ["same", "refuse", "same(10s), refuse", "stale(15m), refuse", "deferred, refuse", "none: so it is"]
        {
            assert_eq!(mistakes(&ladder(&cells(down))), [], "{down}");
        }
    }

    #[test]
    fn what_is_kept_as_a_whole_may_be_deferred_for_ever() {
        assert_eq!(mistakes(&ladder(&("keeps = true\n".to_owned() + &cells("deferred")))), []);
    }

    #[test]
    fn what_is_wrong() {
        let here = || place("get", Failure::Down);
        let step = |step: &str| Mistake::Step { place: here(), step: step.to_owned() };
        for (down, mistake) in [
            ("refuse, same", Mistake::Order(here())),
            ("same, same", Mistake::Order(here())),
            ("stale(15m)", Mistake::Open(here())),
            ("deferred", Mistake::Open(here())),
            ("same, smaller", Mistake::Open(here())),
            ("same, refuse", Mistake::Bounds(here())),
            ("stale, refuse", Mistake::Bounds(here())),
            ("refuse(10s)", Mistake::Bounds(here())),
            ("same(10s)", Mistake::Bounds(here())),
            ("", step("")),
            ("worse", step("worse")),
            ("none: ", Mistake::NoReason(here())),
        ] {
            assert_eq!(mistakes(&ladder(&cells(down))), [mistake], "{down}");
        }
    }

    #[test]
    fn every_cell_once_and_nothing_else() {
        let missing: Vec<Mistake> =
            Failure::ALL.into_iter().map(|failure| Mistake::Missing(place("get", failure))).collect();
        assert_eq!(mistakes(&ladder("on = {}\n")), missing);
        assert_eq!(mistakes(&ladder("on.meta = \"same\"\n")), missing, "one rung for all is none for each");
        let without = cells("same").replace("slow = \"refuse\", ", "");
        assert_eq!(mistakes(&ladder(&without)), [Mistake::Missing(place("get", Failure::Slow))]);
        let unknown = |name: &str| Mistake::Unknown { operation: "get".to_owned(), name: name.to_owned() };
        let burnt = cells("same").replace("down = ", "burnt = \"same\", down = ");
        assert_eq!(mistakes(&ladder(&burnt)), [unknown("burnt")]);
        let more = cells("same") + "on.moon = \"none: far\"\n";
        assert_eq!(mistakes(&ladder(&more)), [unknown("moon")]);
        let twice = ladder(&cells("same")) + "[[operation]]\nname = \"get\"\nwhat = \"-\"\n" + &cells("same");
        assert_eq!(mistakes(&twice), [Mistake::Twice("get".to_owned())]);
        let same_row = ladder(&(cells("same") + &cells("same")));
        assert!(matches!(mistakes(&same_row)[..], [Mistake::Shape(_)]));
        assert!(matches!(mistakes("x = 1")[..], [Mistake::Shape(_)]));
    }

    #[test]
    fn no_old_answer_decides() {
        let row = |security: &str| format!("security = {security}\n{}", cells("stale(15m), refuse"));
        assert_eq!(mistakes(&ladder(&row("false"))), []);
        assert_eq!(mistakes(&ladder(&row("true"))), [Mistake::StaleDecision(place("get", Failure::Down))]);
        let unmarked = ladder(&cells("same")).replacen("security = true", "security = false", 1);
        assert_eq!(mistakes(&unmarked), [Mistake::NotSecurity(SECURITY[0])]);
        let absent = ladder(&cells("same")).replacen("\"revoke\"", "\"revok\"", 1);
        assert_eq!(mistakes(&absent), [Mistake::NotSecurity("revoke")]);
    }
}
