//! Notification configurations between the wire and the model that matches.

use notify::{Code, Filter, Kind, Rule, Rules};
use s3s::dto::{
    Event, FilterRule, FilterRuleName, GetBucketNotificationConfigurationOutput, LambdaFunctionConfiguration,
    NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration, S3KeyFilter, TopicConfiguration,
};
use s3s::{S3Result, s3_error};

use crate::error::{malformed, not_implemented};

/// Rules as they were put, found valid on a server that has these targets.
///
/// # Errors
/// S3's code and words for what is wrong; `NotImplemented` for EventBridge.
pub(crate) fn of_document(bucket: &str, document: NotificationConfiguration, targets: &[String]) -> S3Result<Rules> {
    if document.event_bridge_configuration.is_some() {
        return Err(not_implemented("delivery to EventBridge"));
    }
    let queues = document.queue_configurations.unwrap_or_default().into_iter();
    let queues = queues.map(|given| (Kind::Queue, given.id, given.queue_arn, given.events, given.filter));
    let topics = document.topic_configurations.unwrap_or_default().into_iter();
    let topics = topics.map(|given| (Kind::Topic, given.id, given.topic_arn, given.events, given.filter));
    let functions = document.lambda_function_configurations.unwrap_or_default().into_iter();
    let functions =
        functions.map(|given| (Kind::Function, given.id, given.lambda_function_arn, given.events, given.filter));
    let mut rules = Rules { bucket: bucket.to_owned(), rules: Vec::new() };
    for (kind, id, arn, events, filter) in topics.chain(queues).chain(functions) {
        // S3 makes an id up, too.
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| format!("notification-{}", rules.rules.len() + 1));
        let events = events.into_iter().map(|event| event.into()).collect();
        rules.rules.push(Rule { id, kind, arn, events, filter: filter.map(filter_of).transpose()? });
    }
    notify::validate(&rules, targets).map_err(|error| match error.code() {
        Code::InvalidArgument => s3_error!(InvalidArgument, "{}", error),
        Code::MalformedXml => malformed(),
    })?;
    Ok(rules)
}

fn filter_of(given: NotificationConfigurationFilter) -> S3Result<Filter> {
    let mut filter = Filter::default();
    for rule in given.key.and_then(|key| key.filter_rules).unwrap_or_default() {
        let name = rule.name.ok_or_else(malformed)?;
        let (place, word) = if name.as_str().eq_ignore_ascii_case(FilterRuleName::PREFIX) {
            (&mut filter.prefix, "prefix")
        } else if name.as_str().eq_ignore_ascii_case(FilterRuleName::SUFFIX) {
            (&mut filter.suffix, "suffix")
        } else {
            return Err(s3_error!(InvalidArgument, "filter rule name must be either prefix or suffix"));
        };
        if place.replace(rule.value.unwrap_or_default()).is_some() {
            return Err(s3_error!(InvalidArgument, "Cannot specify more than one {word} rule in a filter."));
        }
    }
    Ok(filter)
}

/// Rules as the wire has them.
pub(crate) fn to_wire(rules: Rules) -> GetBucketNotificationConfigurationOutput {
    let mut output = GetBucketNotificationConfigurationOutput::default();
    for rule in rules.rules {
        let Rule { id, kind, arn, events, filter } = rule;
        let (id, events) = (Some(id), events.into_iter().map(Event::from).collect());
        let filter = filter.map(filter_to_wire);
        match kind {
            Kind::Queue => {
                let told = QueueConfiguration { events, filter, id, queue_arn: arn };
                output.queue_configurations.get_or_insert_default().push(told);
            }
            Kind::Topic => {
                let told = TopicConfiguration { events, filter, id, topic_arn: arn };
                output.topic_configurations.get_or_insert_default().push(told);
            }
            Kind::Function => {
                let told = LambdaFunctionConfiguration { events, filter, id, lambda_function_arn: arn };
                output.lambda_function_configurations.get_or_insert_default().push(told);
            }
        }
    }
    output
}

/// S3 answers with the names capitalised.
fn filter_to_wire(filter: Filter) -> NotificationConfigurationFilter {
    let rule = |name: &str, value: Option<String>| {
        value.map(|value| FilterRule { name: Some(FilterRuleName::from(name.to_owned())), value: Some(value) })
    };
    let rules: Vec<FilterRule> =
        [rule("Prefix", filter.prefix), rule("Suffix", filter.suffix)].into_iter().flatten().collect();
    NotificationConfigurationFilter { key: Some(S3KeyFilter { filter_rules: Some(rules) }) }
}
