//! Answers as S3 words them.

use std::fmt::Write;

use http::{HeaderValue, Response, StatusCode, header};
use time::OffsetDateTime;

use crate::BUCKET;
use crate::ask::ListAsk;
use crate::body::Reply;
use crate::fault::Fault;
use crate::list::Page;

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

/// A document.
pub(crate) fn document(text: String) -> Response<Reply> {
    let mut response = Response::new(Reply::text(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Nothing but a status.
pub(crate) fn bare(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = status;
    response
}

/// A refusal.
pub(crate) fn fault(fault: &Fault) -> Response<Reply> {
    let message = escape(&fault.message);
    let mut response =
        document(format!("{XML}<Error><Code>{}</Code><Message>{message}</Message></Error>", fault.code.name()));
    *response.status_mut() = fault.code.status();
    response
}

/// What a name's bytes are known by: their number. A name has the same bytes for ever, the marker's excepted, and to hash them
/// would cost more than to store them.
pub(crate) fn etag(size: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{size:x}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

pub(crate) fn buckets() -> String {
    format!(
        "{XML}<ListAllMyBucketsResult {NAMESPACE}><Owner><ID>site</ID></Owner><Buckets><Bucket><Name>{BUCKET}</Name>\
         <CreationDate>1970-01-01T00:00:00.000Z</CreationDate></Bucket></Buckets></ListAllMyBucketsResult>"
    )
}

pub(crate) fn location() -> String {
    format!("{XML}<LocationConstraint {NAMESPACE}></LocationConstraint>")
}

pub(crate) fn listing(ask: &ListAsk, page: &Page) -> String {
    let told = |text: &str| if ask.encoded { sigv4::encode(text).replace("%2F", "/") } else { escape(text) };
    let mut text = format!(
        "{XML}<ListBucketResult {NAMESPACE}><Name>{BUCKET}</Name><Prefix>{}</Prefix><KeyCount>{}</KeyCount>\
         <MaxKeys>{}</MaxKeys><IsTruncated>{}</IsTruncated>",
        told(&ask.prefix),
        page.len(),
        ask.max,
        page.next.is_some(),
    );
    if ask.folders {
        text.push_str("<Delimiter>/</Delimiter>");
    }
    if ask.encoded {
        text.push_str("<EncodingType>url</EncodingType>");
    }
    if let Some(next) = &page.next {
        let _ = write!(text, "<NextContinuationToken>{}</NextContinuationToken>", escape(next));
    }
    for entry in &page.entries {
        let _ = write!(
            text,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{:x}&quot;</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            told(&entry.name),
            moment(entry.modified_ms),
            entry.size,
            entry.size,
        );
    }
    for folder in &page.folders {
        let _ = write!(text, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", told(folder));
    }
    text.push_str("</ListBucketResult>");
    text
}

/// Milliseconds since the Unix epoch, as RFC 3339 has it.
fn moment(ms: u64) -> String {
    let at = i64::try_from(ms / 1000).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = (at.hour(), at.minute(), at.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

/// As text of a document. What XML cannot have at all is left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c if c < ' ' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn what_a_client_sent_does_not_become_markup() {
        let ask = ListAsk { prefix: "<a>&\0".to_owned(), ..ListAsk::default() };
        assert!(listing(&ask, &Page::default()).contains("<Prefix>&lt;a&gt;&amp;</Prefix>"));
    }
}
