//! What S3 reads more freely than the framework: dates, ranges, conditions.
//!
//! A request that has such a thing must be verified as it was signed. The framework does that and then
//! looks for a route: it finds this one, which sets the request right and gives it to a framework once
//! more, with word of who signed it.

use async_trait::async_trait;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use s3s::dto::{ETagCondition, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::service::S3Service;
use s3s::{Body, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use crate::wire;

const RESPONSE_EXPIRES: &str = "response-expires";

/// What is known of a request that comes a second time. Nothing else makes one.
#[derive(Clone)]
pub(crate) struct Verified {
    /// Whose signature it had.
    pub access_key: Option<String>,
    /// Whether that was in its query.
    pub in_query: bool,
    trailers: Option<TrailingHeaders>,
    /// `Expires`, where it is no date: kept as it is.
    expires: Option<HeaderValue>,
}

/// Gives an operation back what the framework could not bring it.
pub(crate) fn restore<T>(req: &mut S3Request<T>) {
    let Some(verified) = req.extensions.get::<Verified>() else { return };
    req.trailing_headers.clone_from(&verified.trailers);
    if let Some(expires) = &verified.expires {
        req.headers.insert(header::EXPIRES, expires.clone());
    }
}

/// The way around, and where it leads.
pub(crate) struct Relaxed(pub S3Service);

#[async_trait]
impl S3Route for Relaxed {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        odd_headers(method, headers).next().is_some() || odd_expires(uri).is_some()
    }

    /// Judged where it goes.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, req: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let access_key = req.credentials.map(|credentials| credentials.access_key);
        let mut headers = req.headers;
        let in_query = headers.remove(header::AUTHORIZATION).is_none();
        let odd: Vec<HeaderName> = odd_headers(&req.method, &headers).collect();
        let mut expires = None;
        for name in odd {
            let Some(value) = headers.remove(&name) else { continue };
            if name == header::EXPIRES {
                expires = Some(value);
            } else if let Some(date) = value.to_str().ok().and_then(date)
                && let Some(date) = wire::http_date(&Timestamp::from(date)).and_then(|date| date.try_into().ok())
            {
                headers.insert(name, date);
            }
        }
        // Who did not sign does not choose the answer's headers, and is refused.
        let answered = odd_expires(&req.uri).filter(|_| access_key.is_some());
        let uri = stripped(&req.uri, in_query && access_key.is_some(), answered.is_some())?;
        let mut again = Request::new(req.input);
        (*again.method_mut(), *again.uri_mut(), *again.headers_mut()) = (req.method, uri, headers);
        *again.extensions_mut() = req.extensions;
        again.extensions_mut().insert(Verified { access_key, in_query, trailers: req.trailing_headers, expires });
        let response = self.0.call(again).await.map_err(|_| s3_error!(InternalError))?;
        let (mut parts, body) = response.into_parts();
        if parts.status.is_success()
            && let Some(expires) = answered.and_then(|text| HeaderValue::try_from(text).ok())
        {
            parts.headers.insert(header::EXPIRES, expires);
        }
        let mut answer = S3Response::new(body);
        (answer.status, answer.headers, answer.extensions) = (Some(parts.status), parts.headers, parts.extensions);
        Ok(answer)
    }
}

/// Headers that the framework would refuse, and S3 takes or passes over.
fn odd_headers(method: &Method, headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    type Known = (HeaderName, fn(&str) -> bool);
    let reads: &[Known] = &[
        (header::RANGE, is_range),
        (header::IF_MODIFIED_SINCE, is_date),
        (header::IF_UNMODIFIED_SINCE, is_date),
        (header::IF_NONE_MATCH, |text| ETagCondition::parse_http_header(text.as_bytes()).is_ok()),
    ];
    let writes: &[Known] = &[(header::EXPIRES, is_date)];
    let known = if matches!(*method, Method::GET | Method::HEAD) { reads } else { writes };
    let odd = known.iter().filter(|(name, is_readable)| {
        headers.get(name).is_some_and(|value| !value.is_empty() && !value.to_str().is_ok_and(is_readable))
    });
    odd.map(|(name, _)| name.clone()).collect::<Vec<_>>().into_iter()
}

/// The `response-expires` that is no date.
fn odd_expires(uri: &Uri) -> Option<String> {
    let query = uri.query().filter(|query| query.contains(RESPONSE_EXPIRES))?;
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    let (_, text) = pairs.find(|(name, _)| name == RESPONSE_EXPIRES)?;
    (!is_date(&text)).then(|| text.into_owned())
}

/// The target without what `signed` it, which headers say too by now, and without `response-expires`.
fn stripped(uri: &Uri, signed: bool, expires: bool) -> S3Result<Uri> {
    let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    let stays = |name: &str| {
        let signs = signed && name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-"));
        let answers = expires && name == RESPONSE_EXPIRES;
        !signs && !answers
    };
    let pairs = pairs.filter(|(name, _)| stays(name));
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let target = if query.is_empty() { uri.path().to_owned() } else { format!("{}?{query}", uri.path()) };
    target.parse().map_err(|_| s3_error!(InvalidURI))
}

/// One range of bytes (RFC 9110 section 14.1.2).
fn is_range(text: &str) -> bool {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else { return false };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
    match (first, number(first), last, number(last)) {
        (_, Some(first), _, Some(last)) => first <= last,
        (_, Some(_), "", _) | ("", _, _, Some(_)) => true,
        _ => false,
    }
}

/// Whether the framework reads it.
fn is_date(text: &str) -> bool {
    Timestamp::parse(TimestampFormat::HttpDate, text).is_ok()
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date in any of HTTP's three forms (RFC 9110 section 5.6.7); the day may have one digit.
fn date(text: &str) -> Option<OffsetDateTime> {
    let words: Vec<&str> = text.split([' ', '-', ',']).filter(|word| !word.is_empty()).collect();
    let (day, month, year, clock) = match words[..] {
        [_, day, month, year, clock, "GMT"] => (day, month, year, clock),
        [_, month, day, clock, year] => (day, month, year, clock),
        _ => return None,
    };
    let month = MONTHS.iter().position(|known| *known == month)?;
    let month = Month::try_from(u8::try_from(month + 1).ok()?).ok()?;
    let year = match (year.len(), year.parse().ok()?) {
        (2, year @ 70..) => 1900 + year,
        (2, year) => 2000 + year,
        (_, year) => year,
    };
    let date = Date::from_calendar_date(year, month, day.parse().ok()?).ok()?;
    let clock: Vec<u8> = clock.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hour, minute, second] = clock[..] else { return None };
    Some(PrimitiveDateTime::new(date, Time::from_hms(hour, minute, second).ok()?).assume_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let good = [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ];
        for text in good {
            assert_eq!(date(text).map(OffsetDateTime::unix_timestamp), Some(784_111_777), "{text}");
        }
        for text in ["", "0", "yesterday", "Sun, 36 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT", "a b c d e"] {
            assert_eq!(date(text), None, "{text}");
        }
    }

    #[test]
    fn ranges() {
        let table = [
            ("bytes=0-0", true),
            ("bytes=5-", true),
            ("bytes=-5", true),
            ("bytes=5-2", false),
            ("bytes=-", false),
            ("bytes=0-1,3-4", false),
            ("bytes=+1-2", false),
            ("lines=0-1", false),
        ];
        for (range, expected) in table {
            assert_eq!(is_range(range), expected, "{range}");
        }
    }

    #[test]
    fn what_signed_a_target_is_taken_off() {
        let uri: Uri =
            "/b/k%20?X-Amz-Signature=0&versionId=a%2Fb&response-expires=0&x-amz-acl=y&tagging".parse().unwrap();
        assert_eq!(stripped(&uri, true, true).unwrap(), "/b/k%20?versionId=a%2Fb&tagging=");
        assert_eq!(stripped(&uri, true, false).unwrap(), "/b/k%20?versionId=a%2Fb&response-expires=0&tagging=");
        assert_eq!(
            stripped(&uri, false, true).unwrap(),
            "/b/k%20?X-Amz-Signature=0&versionId=a%2Fb&x-amz-acl=y&tagging="
        );
    }
}
