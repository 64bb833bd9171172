//! Buckets as websites: which object a page is, and where visitors are sent. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html>

use http::StatusCode;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use s3s::dto::{Protocol, RedirectAllRequestsTo, RoutingRule, WebsiteConfiguration};
use s3s::{S3Result, s3_error};

use crate::wire::url_encode;

/// What stands in no URL (RFC 3986).
const NOT_IN_URLS: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// S3's rules for a website configuration.
///
/// # Errors
/// `InvalidArgument`, `InvalidRequest`.
pub(crate) fn validate(config: &WebsiteConfiguration) -> S3Result<()> {
    if let Some(all) = &config.redirect_all_requests_to {
        let alone =
            config.index_document.is_none() && config.error_document.is_none() && config.routing_rules.is_none();
        if !alone || all.host_name.is_empty() {
            return Err(s3_error!(
                InvalidArgument,
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules."
            ));
        }
        return protocol(all.protocol.as_ref());
    }
    let Some(index) = &config.index_document else {
        return Err(s3_error!(
            InvalidArgument,
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty"
        ));
    };
    if index.suffix.is_empty() || index.suffix.contains('/') {
        return Err(s3_error!(InvalidArgument, "The IndexDocument Suffix is not well formed"));
    }
    if config.error_document.as_ref().is_some_and(|document| document.key.is_empty()) {
        return Err(s3_error!(InvalidArgument, "The ErrorDocument Key is not well formed"));
    }
    config.routing_rules.iter().flatten().try_for_each(validate_rule)
}

fn validate_rule(rule: &RoutingRule) -> S3Result<()> {
    let to = &rule.redirect;
    if to.replace_key_with.is_some() && to.replace_key_prefix_with.is_some() {
        return Err(s3_error!(InvalidRequest, "You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
    }
    let given = [&to.host_name, &to.http_redirect_code, &to.replace_key_with, &to.replace_key_prefix_with];
    if given.iter().all(|field| field.is_none()) && to.protocol.is_none() {
        return Err(s3_error!(InvalidRequest, "A Redirect must have at least one of its fields."));
    }
    let code = |text: &String, classes: &[u8]| {
        text.parse::<u16>().is_ok_and(|code| classes.iter().any(|c| code / 100 == u16::from(*c)))
    };
    if to.http_redirect_code.as_ref().is_some_and(|text| !code(text, &[3]) || text == "300") {
        return Err(s3_error!(
            InvalidRequest,
            "The provided HTTP redirect code is not valid. Valid codes are 3XX except 300."
        ));
    }
    let condition = rule.condition.as_ref().and_then(|condition| condition.http_error_code_returned_equals.as_ref());
    if condition.is_some_and(|text| !code(text, &[4, 5])) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided HTTP error code is not valid. Valid codes are 4XX or 5XX."
        ));
    }
    protocol(to.protocol.as_ref())
}

fn protocol(protocol: Option<&Protocol>) -> S3Result<()> {
    match protocol.map(Protocol::as_str) {
        None | Some("http" | "https") => Ok(()),
        Some(_) => Err(s3_error!(
            InvalidRequest,
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected automatically."
        )),
    }
}

/// A redirection: its status and its place.
pub(crate) type Redirect = (StatusCode, String);

/// Where all visitors are sent, if they are. `scheme`: by which they came, and go on, unless the configuration says otherwise.
pub(crate) fn all_sent(config: &WebsiteConfiguration, key: &str, scheme: &str) -> Option<Redirect> {
    let RedirectAllRequestsTo { host_name, protocol } = config.redirect_all_requests_to.as_ref()?;
    let protocol = protocol.as_ref().map_or(scheme, Protocol::as_str);
    Some((StatusCode::MOVED_PERMANENTLY, format!("{protocol}://{host_name}/{}", url_encode(key))))
}

/// Where the first routing rule that matches sends who asks for `key`: before it is looked for, or
/// after it gave `error`. `host` is what the visitor asked, by `scheme`.
pub(crate) fn routed(
    config: &WebsiteConfiguration,
    key: &str,
    error: Option<StatusCode>,
    (scheme, host): (&str, &str),
) -> Option<Redirect> {
    let rule = config.routing_rules.iter().flatten().find(|rule| {
        let condition = rule.condition.as_ref();
        let prefix = condition.and_then(|condition| condition.key_prefix_equals.as_deref()).unwrap_or_default();
        let code = condition.and_then(|condition| condition.http_error_code_returned_equals.as_deref());
        key.starts_with(prefix) && code == error.as_ref().map(StatusCode::as_str)
    })?;
    let to = &rule.redirect;
    let prefix =
        rule.condition.as_ref().and_then(|condition| condition.key_prefix_equals.as_deref()).unwrap_or_default();
    // What the configuration says is a piece of a URL; what the visitor says is a key.
    let path = match (&to.replace_key_with, &to.replace_key_prefix_with) {
        (Some(whole), _) => utf8_percent_encode(whole, NOT_IN_URLS).to_string(),
        (None, Some(start)) => {
            let rest = url_encode(key.strip_prefix(prefix).unwrap_or(key));
            format!("{}{rest}", utf8_percent_encode(start, NOT_IN_URLS))
        }
        (None, None) => url_encode(key),
    };
    let code = to.http_redirect_code.as_ref().and_then(|text| StatusCode::from_bytes(text.as_bytes()).ok());
    let protocol = to.protocol.as_ref().map_or(scheme, Protocol::as_str);
    let host = to.host_name.as_deref().unwrap_or(host);
    Some((code.unwrap_or(StatusCode::MOVED_PERMANENTLY), format!("{protocol}://{host}/{path}")))
}

/// The object that a path of the website shows.
pub(crate) fn page(config: &WebsiteConfiguration, key: &str) -> String {
    if key.is_empty() || key.ends_with('/') { format!("{key}{}", suffix(config)) } else { key.to_owned() }
}

/// The page of a path that was asked for without its last slash.
pub(crate) fn folder_page(config: &WebsiteConfiguration, key: &str) -> Option<String> {
    (!key.is_empty() && !key.ends_with('/')).then(|| format!("{key}/{}", suffix(config)))
}

fn suffix(config: &WebsiteConfiguration) -> &str {
    config.index_document.as_ref().map_or("index.html", |index| &index.suffix)
}

/// An error as visitors see it.
pub(crate) fn error_page(status: StatusCode, code: &str, message: &str) -> String {
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let text = |raw: &str| raw.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n<li>Code: {}</li>\n<li>Message: {}</li>\n</ul>\n</body>\n</html>\n",
        text(code),
        text(message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use s3s::xml::{Deserialize, Deserializer};

    fn config(inside: &str) -> WebsiteConfiguration {
        let text = format!("<WebsiteConfiguration>{inside}</WebsiteConfiguration>");
        WebsiteConfiguration::deserialize(&mut Deserializer::new(text.as_bytes())).unwrap()
    }

    fn with_rules(rules: &str) -> WebsiteConfiguration {
        config(&format!("<IndexDocument><Suffix>i.html</Suffix></IndexDocument><RoutingRules>{rules}</RoutingRules>"))
    }

    fn rule(condition: &str, redirect: &str) -> String {
        format!("<RoutingRule><Condition>{condition}</Condition><Redirect>{redirect}</Redirect></RoutingRule>")
    }

    #[test]
    fn rules_send_visitors_on() {
        let prefix = "<KeyPrefixEquals>docs/</KeyPrefixEquals>";
        let missing = "<HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>";
        let table = [
            (
                rule(prefix, "<ReplaceKeyPrefixWith>d/</ReplaceKeyPrefixWith>"),
                "docs/a b",
                None,
                Some((301, "http://h/d/a%20b")),
            ),
            (
                rule(prefix, "<ReplaceKeyWith>x</ReplaceKeyWith><HttpRedirectCode>302</HttpRedirectCode>"),
                "docs/a",
                None,
                Some((302, "http://h/x")),
            ),
            (
                rule(prefix, "<HostName>o.org</HostName><Protocol>https</Protocol>"),
                "docs/a",
                None,
                Some((301, "https://o.org/docs/a")),
            ),
            (
                rule(missing, "<ReplaceKeyPrefixWith>#!/</ReplaceKeyPrefixWith>"),
                "about us",
                Some(404),
                Some((301, "http://h/#!/about%20us")),
            ),
            (
                rule(missing, "<ReplaceKeyPrefixWith>resize?key=</ReplaceKeyPrefixWith>"),
                "a/b",
                Some(404),
                Some((301, "http://h/resize?key=a/b")),
            ),
            (rule(prefix, "<ReplaceKeyWith>a b\n</ReplaceKeyWith>"), "docs/", None, Some((301, "http://h/a%20b%0A"))),
            (rule(prefix, "<ReplaceKeyWith>x</ReplaceKeyWith>"), "other", None, None),
            (rule(missing, "<ReplaceKeyPrefixWith>lost/</ReplaceKeyPrefixWith>"), "a", None, None),
            (
                rule(missing, "<ReplaceKeyPrefixWith>lost/</ReplaceKeyPrefixWith>"),
                "a",
                Some(404),
                Some((301, "http://h/lost/a")),
            ),
            (rule(missing, "<ReplaceKeyWith>x</ReplaceKeyWith>"), "a", Some(403), None),
            (rule(prefix, "<ReplaceKeyWith>x</ReplaceKeyWith>"), "docs/a", Some(404), None),
        ];
        for (rules, key, error, expected) in table {
            let config = with_rules(&rules);
            validate(&config).unwrap();
            let error = error.map(|code| StatusCode::from_u16(code).unwrap());
            let found = routed(&config, key, error, ("http", "h"));
            let found = found.as_ref().map(|(status, place)| (status.as_u16(), place.as_str()));
            assert_eq!(found, expected, "{rules} {key} {error:?}");
        }
        let all = config("<RedirectAllRequestsTo><HostName>o.org</HostName></RedirectAllRequestsTo>");
        validate(&all).unwrap();
        for scheme in ["http", "https"] {
            let place = format!("{scheme}://o.org/a/b");
            assert_eq!(all_sent(&all, "a/b", scheme), Some((StatusCode::MOVED_PERMANENTLY, place)));
        }
        let rules = with_rules(&rule(prefix, "<ReplaceKeyWith>x</ReplaceKeyWith>"));
        assert_eq!(routed(&rules, "docs/a", None, ("https", "h")).unwrap().1, "https://h/x");
    }

    #[test]
    fn what_is_no_configuration() {
        let index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>";
        let bad = [
            config(""),
            config("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>"),
            config("<IndexDocument><Suffix></Suffix></IndexDocument>"),
            config(&format!("{index}<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>")),
            config("<RedirectAllRequestsTo><HostName></HostName></RedirectAllRequestsTo>"),
            config("<RedirectAllRequestsTo><HostName>h</HostName><Protocol>ftp</Protocol></RedirectAllRequestsTo>"),
            config(&format!("{index}<ErrorDocument><Key></Key></ErrorDocument>")),
            with_rules(&rule("", "")),
            with_rules(&rule("", "<ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith>")),
            with_rules(&rule("", "<HttpRedirectCode>200</HttpRedirectCode>")),
            with_rules(&rule("", "<HttpRedirectCode>300</HttpRedirectCode>")),
            with_rules(&rule(
                "<HttpErrorCodeReturnedEquals>200</HttpErrorCodeReturnedEquals>",
                "<HostName>h</HostName>",
            )),
        ];
        for config in bad {
            assert!(validate(&config).is_err(), "{config:?}");
        }
    }

    #[test]
    fn pages() {
        let config = with_rules("");
        for (key, expected, folder) in [
            ("", "i.html", None),
            ("a/", "a/i.html", None),
            ("a", "a", Some("a/i.html")),
            ("a/b.html", "a/b.html", Some("a/b.html/i.html")),
        ] {
            assert_eq!(page(&config, key), expected);
            assert_eq!(folder_page(&config, key).as_deref(), folder);
        }
        assert!(error_page(StatusCode::NOT_FOUND, "NoSuchKey", "<b>").contains("&lt;b&gt;"));
    }
}
