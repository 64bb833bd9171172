//! What S3 refuses of a configuration.

use crate::name::{is_known, share};
use crate::rules::target_of;
use crate::{EVENTS_MAX, FILTER_LEN_MAX, Filter, ID_LEN_MAX, NotifyError, RULES_MAX, Rule, Rules};

/// Whether S3 would take the rules, on a server that has these targets.
///
/// # Errors
/// The first thing that is wrong.
pub fn validate(rules: &Rules, targets: &[String]) -> Result<(), NotifyError> {
    if rules.rules.len() > RULES_MAX {
        return Err(NotifyError::RuleCount);
    }
    for (index, rule) in rules.rules.iter().enumerate() {
        validate_rule(rule, targets)?;
        for earlier in rules.rules.iter().take(index) {
            if earlier.id == rule.id {
                return Err(NotifyError::IdTwice);
            }
            overlap(earlier, rule)?;
        }
    }
    Ok(())
}

fn validate_rule(rule: &Rule, targets: &[String]) -> Result<(), NotifyError> {
    if rule.id.len() > ID_LEN_MAX {
        return Err(NotifyError::IdLength);
    }
    if rule.events.is_empty() || rule.events.len() > EVENTS_MAX {
        return Err(NotifyError::EventCount);
    }
    if let Some(event) = rule.events.iter().find(|event| !is_known(event)) {
        return Err(NotifyError::Event(event.chars().take(64).collect()));
    }
    let filter = rule.filter.iter().flat_map(|filter| [&filter.prefix, &filter.suffix]).flatten();
    if filter.into_iter().any(|value| value.len() > FILTER_LEN_MAX) {
        return Err(NotifyError::FilterLength);
    }
    let name = target_of(rule.kind, &rule.arn)?;
    if !targets.iter().any(|target| target == name) {
        return Err(NotifyError::Destination(rule.arn.clone()));
    }
    Ok(())
}

/// Two rules may not both be meant by one event.
fn overlap(a: &Rule, b: &Rule) -> Result<(), NotifyError> {
    let events = a.events.iter().any(|a| b.events.iter().any(|b| share(a, b)));
    let none = Filter::default();
    let (filter_a, filter_b) = (a.filter.as_ref().unwrap_or(&none), b.filter.as_ref().unwrap_or(&none));
    let part = |value: &Option<String>| value.clone().unwrap_or_default();
    let (start_a, start_b) = (part(&filter_a.prefix), part(&filter_b.prefix));
    let (end_a, end_b) = (part(&filter_a.suffix), part(&filter_b.suffix));
    let starts = start_a.starts_with(&start_b) || start_b.starts_with(&start_a);
    let ends = end_a.ends_with(&end_b) || end_b.ends_with(&end_a);
    match events && starts && ends {
        false => Ok(()),
        true if *filter_a == none && *filter_b == none => Err(NotifyError::Overlap),
        true => Err(NotifyError::Ambiguous),
    }
}
