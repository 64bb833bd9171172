//! What S3 takes as rules.
//!
//! Sources beside the crate's: what S3 was seen to answer. Rules of both forms in one configuration:
//! ansible/ansible issue 53751, hashicorp/terraform-provider-aws issues 23228 and 23299.

use std::collections::BTreeSet;

use crate::{Expiration, Filter, FilterForm, LifecycleError, Noncurrent, Rule, Rules, day};
use crate::{FILTER_SIZE_MAX, ID_LEN_MAX, NEWER_VERSIONS_MAX, PREFIX_LEN_MAX};
use crate::{RULES_MAX, TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX};

/// Whether S3 would take these rules; where there is more than one fault, the first that is met.
///
/// Rules may overlap: what is due is then decided by the earliest ([`crate::expiry`]).
///
/// # Errors
///
/// [`LifecycleError`]; its text is the answer's message, its code the answer's code.
pub fn validate(rules: &Rules) -> Result<(), LifecycleError> {
    // An empty configuration is deleted, not put.
    demand((1..=RULES_MAX).contains(&rules.0.len()), LifecycleError::RuleCount)?;
    let mut ids = BTreeSet::new();
    let mut first_is_legacy = None;
    for rule in &rules.0 {
        demand(rule.id.len() <= ID_LEN_MAX, LifecycleError::IdLength)?;
        demand(ids.insert(rule.id.as_str()), LifecycleError::IdTwice)?;
        self::rule(rule)?;
        let legacy = rule.filter.form == FilterForm::Legacy;
        let expected = *first_is_legacy.get_or_insert(legacy);
        demand(legacy || !expected, LifecycleError::FilterAmongPrefixes)?;
        demand(expected || !legacy, LifecycleError::PrefixAmongFilters)?;
    }
    Ok(())
}

fn demand(holds: bool, otherwise: LifecycleError) -> Result<(), LifecycleError> {
    if holds { Ok(()) } else { Err(otherwise) }
}

fn rule(rule: &Rule) -> Result<(), LifecycleError> {
    filter(&rule.filter)?;
    demand(!rule.transitions, LifecycleError::Transition)?;
    let acts = rule.expiration.is_some() || rule.noncurrent.is_some() || rule.abort_uploads_days.is_some();
    demand(acts, LifecycleError::NoAction)?;
    if let Some(expiration) = &rule.expiration {
        self::expiration(expiration, &rule.filter)?;
    }
    if let Some(noncurrent) = &rule.noncurrent {
        self::noncurrent(noncurrent, &rule.filter)?;
    }
    if let Some(days) = rule.abort_uploads_days {
        demand(days > 0, LifecycleError::AbortDays)?;
        demand(rule.filter.tags.is_empty(), LifecycleError::AbortTags)?;
        demand(!rule.filter.has_sizes(), LifecycleError::AbortSize)?;
    }
    Ok(())
}

fn filter(filter: &Filter) -> Result<(), LifecycleError> {
    let elements = filter.elements();
    match filter.form {
        FilterForm::Absent => return Err(LifecycleError::NoFilter),
        FilterForm::Legacy => demand(filter.prefix.is_some() && elements == 1, LifecycleError::FilterElements)?,
        FilterForm::Single => demand(elements <= 1, LifecycleError::FilterElements)?,
        FilterForm::And => demand(elements >= 2, LifecycleError::AndElements)?,
    }
    if let Some(prefix) = &filter.prefix {
        demand(prefix.len() <= PREFIX_LEN_MAX, LifecycleError::PrefixLength)?;
    }
    let mut keys = BTreeSet::new();
    for (key, value) in &filter.tags {
        demand((1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count()), LifecycleError::TagKey)?;
        demand(value.chars().count() <= TAG_VALUE_CHARS_MAX, LifecycleError::TagValue)?;
        demand(keys.insert(key.as_str()), LifecycleError::TagTwice)?;
    }
    if let Some(size) = filter.size_greater {
        demand(size <= FILTER_SIZE_MAX, LifecycleError::SizeGreater)?;
    }
    if let Some(size) = filter.size_less {
        demand((1..=FILTER_SIZE_MAX).contains(&size), LifecycleError::SizeLess)?;
    }
    if let (Some(greater), Some(less)) = (filter.size_greater, filter.size_less) {
        demand(less > greater, LifecycleError::SizeOrder)?;
    }
    Ok(())
}

fn expiration(expiration: &Expiration, filter: &Filter) -> Result<(), LifecycleError> {
    let Expiration { days, date_ms, delete_marker } = expiration;
    let elements = usize::from(days.is_some()) + usize::from(date_ms.is_some()) + usize::from(delete_marker.is_some());
    demand(elements == 1, LifecycleError::ExpirationElements)?;
    demand(*days != Some(0), LifecycleError::ExpirationDays)?;
    demand(date_ms.is_none_or(day::is_midnight), LifecycleError::ExpirationDate)?;
    if delete_marker.is_some() {
        // S3 refuses the element here even where it is false.
        demand(filter.tags.is_empty(), LifecycleError::DeleteMarkerTags)?;
        demand(!filter.has_sizes(), LifecycleError::DeleteMarkerSize)?;
    }
    Ok(())
}

fn noncurrent(noncurrent: &Noncurrent, filter: &Filter) -> Result<(), LifecycleError> {
    let days = noncurrent.days.ok_or(LifecycleError::NoNoncurrentDays)?;
    demand(days > 0, LifecycleError::NoncurrentDays)?;
    if let Some(newer) = noncurrent.newer_versions {
        demand(newer > 0, LifecycleError::NewerVersions)?;
        demand(newer <= NEWER_VERSIONS_MAX, LifecycleError::NewerVersionsTooMany)?;
        demand(filter.form != FilterForm::Legacy, LifecycleError::NewerVersionsLegacy)?;
    }
    Ok(())
}
