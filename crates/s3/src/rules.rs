//! Lifecycle rules between the wire and the model that judges.

use http::{HeaderMap, HeaderName, HeaderValue};
use lifecycle::{Expiration, Filter, FilterForm, Noncurrent, Rule, Rules};
use s3s::dto::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag, Timestamp,
};
use s3s::{S3Result, s3_error};
use store::api::UploadInfo;
use store::{Error, Store};

use crate::error::{answer, custom, not_implemented};
use crate::service::Service;
use crate::unsupported::{TRANSITION_SIZE, TRANSITION_SIZES};
use crate::{config, wire};

/// Rules as they were put, found valid.
///
/// # Errors
/// S3's code and words for what is wrong; `NotImplemented` for transitions to other classes.
pub(crate) fn of_document(document: BucketLifecycleConfiguration) -> S3Result<Rules> {
    let mut rules = Vec::with_capacity(document.rules.len());
    for (index, rule) in document.rules.into_iter().enumerate() {
        rules.push(rule_of(rule, index)?);
    }
    let rules = Rules(rules);
    lifecycle::validate(&rules).map_err(|error| match error.code() {
        lifecycle::Code::InvalidArgument => s3_error!(InvalidArgument, "{}", error),
        lifecycle::Code::InvalidRequest => s3_error!(InvalidRequest, "{}", error),
        lifecycle::Code::MalformedXml => custom("MalformedXML", error.to_string()),
        lifecycle::Code::NotImplemented => not_implemented(error),
    })?;
    Ok(rules)
}

/// `x-amz-abort-date` and `x-amz-abort-rule-id` of an open upload.
///
/// # Errors
/// The store's.
pub(crate) async fn abort(
    at: &Service,
    bucket: &str,
    upload: &UploadInfo,
) -> S3Result<(Option<Timestamp>, Option<String>)> {
    let due = at.store.abort_date(bucket, upload).await.map_err(answer)?;
    Ok(due.map(|(when_ms, rule)| (wire::timestamp(when_ms), rule)).unzip())
}

/// The header that says from which size on objects would be moved: kept for clients that compare it.
///
/// # Errors
/// The store's.
pub(crate) async fn transition_size(store: &Store, bucket: &str) -> S3Result<HeaderMap> {
    let kept = match store.bucket_config(bucket, config::TRANSITION_SIZE).await {
        Ok(kept) => kept.document,
        Err(Error::NoSuchConfig(_)) => Vec::new(),
        Err(error) => return Err(answer(error)),
    };
    let size = TRANSITION_SIZES.into_iter().find(|size| size.as_bytes() == kept).unwrap_or(TRANSITION_SIZES[0]);
    Ok(HeaderMap::from_iter([(HeaderName::from_static(TRANSITION_SIZE), HeaderValue::from_static(size))]))
}

fn rule_of(rule: LifecycleRule, index: usize) -> S3Result<Rule> {
    let malformed = || s3_error!(MalformedXML, "a rule has either a Filter or a Prefix");
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(s3_error!(MalformedXML, "the Status of a rule is Enabled or Disabled")),
    };
    let filter = match (rule.filter, rule.prefix) {
        (Some(_), Some(_)) => return Err(malformed()),
        (Some(filter), None) => filter_of(filter)?,
        (None, Some(prefix)) => Filter::legacy(&prefix),
        (None, None) => Filter { form: FilterForm::Absent, ..Filter::everything() },
    };
    let expiration = rule.expiration.map(|given| Expiration {
        days: given.days.map(days),
        date_ms: given.date.map(|date| {
            let date = time::OffsetDateTime::from(date);
            i64::try_from(date.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MIN)
        }),
        delete_marker: given.expired_object_delete_marker,
    });
    let noncurrent = rule.noncurrent_version_expiration.map(|given| Noncurrent {
        days: given.noncurrent_days.map(days),
        newer_versions: given.newer_noncurrent_versions.map(days),
    });
    let transitions = rule.transitions.is_some_and(|list| !list.is_empty())
        || rule.noncurrent_version_transitions.is_some_and(|list| !list.is_empty());
    Ok(Rule {
        // S3 makes one up, too.
        id: rule.id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("rule-{}", index + 1)),
        enabled,
        filter,
        expiration,
        noncurrent,
        abort_uploads_days: rule
            .abort_incomplete_multipart_upload
            .map(|abort| abort.days_after_initiation.map_or(0, days)),
        transitions,
    })
}

/// What is not a positive number becomes 0, which is refused with S3's words.
fn days(days: i32) -> u32 {
    u32::try_from(days).unwrap_or(0)
}

/// What is no size becomes one that is refused.
fn size(size: i64) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn tag(tag: Tag) -> S3Result<(String, String)> {
    match (tag.key, tag.value) {
        (Some(key), Some(value)) => Ok((key, value)),
        _ => Err(s3_error!(MalformedXML, "a tag needs a Key and a Value")),
    }
}

fn filter_of(given: LifecycleRuleFilter) -> S3Result<Filter> {
    if let Some(and) = given.and {
        return Ok(Filter {
            form: FilterForm::And,
            prefix: and.prefix,
            tags: and.tags.unwrap_or_default().into_iter().map(tag).collect::<S3Result<_>>()?,
            size_greater: and.object_size_greater_than.map(size),
            size_less: and.object_size_less_than.map(size),
        });
    }
    Ok(Filter {
        form: FilterForm::Single,
        prefix: given.prefix,
        tags: given.tag.into_iter().map(tag).collect::<S3Result<_>>()?,
        size_greater: given.object_size_greater_than.map(size),
        size_less: given.object_size_less_than.map(size),
    })
}

/// Rules as the wire has them.
pub(crate) fn to_wire(rules: Rules) -> Vec<LifecycleRule> {
    rules.0.into_iter().map(rule_to_wire).collect()
}

fn count(count: u32) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn rule_to_wire(rule: Rule) -> LifecycleRule {
    let (filter, prefix) = match rule.filter.form {
        FilterForm::Absent => (None, None),
        FilterForm::Legacy => (None, Some(rule.filter.prefix.unwrap_or_default())),
        FilterForm::Single | FilterForm::And => (Some(filter_to_wire(rule.filter)), None),
    };
    LifecycleRule {
        abort_incomplete_multipart_upload: rule
            .abort_uploads_days
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: Some(count(days)) }),
        expiration: rule.expiration.map(|expiration| LifecycleExpiration {
            date: expiration.date_ms.map(|ms| wire::timestamp(u64::try_from(ms).unwrap_or(0))),
            days: expiration.days.map(count),
            expired_object_delete_marker: expiration.delete_marker,
        }),
        filter,
        id: Some(rule.id),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            newer_noncurrent_versions: noncurrent.newer_versions.map(count),
            noncurrent_days: noncurrent.days.map(count),
        }),
        noncurrent_version_transitions: None,
        prefix,
        status: ExpirationStatus::from_static(if rule.enabled {
            ExpirationStatus::ENABLED
        } else {
            ExpirationStatus::DISABLED
        }),
        transitions: None,
    }
}

fn filter_to_wire(filter: Filter) -> LifecycleRuleFilter {
    let tags: Vec<Tag> =
        filter.tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    let (greater, less) = (filter.size_greater.map(wire::signed), filter.size_less.map(wire::signed));
    if filter.form == FilterForm::And {
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: greater,
            object_size_less_than: less,
            prefix: filter.prefix,
            tags: (!tags.is_empty()).then_some(tags),
        };
        return LifecycleRuleFilter { and: Some(and), ..Default::default() };
    }
    LifecycleRuleFilter {
        object_size_greater_than: greater,
        object_size_less_than: less,
        prefix: filter.prefix,
        tag: tags.into_iter().next(),
        ..Default::default()
    }
}
