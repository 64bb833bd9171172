//! Uploads by HTML forms: their fields, their policy and its signature. Pure.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-post-example.html> and
//! "Creating a POST policy" there.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use aws_lc_rs::hmac;
use base::limits::KEY_LEN_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use s3s::{S3Result, s3_error};
use serde_json::Value;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::error::custom;
use crate::limits::{CLOCK_SKEW_SECONDS, PRESIGN_SECONDS_MAX};

/// A form's fields before the file: names in lower case, to their values.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub BTreeMap<String, String>);

/// Where a key takes the file's name.
const FILE_NAME: &str = "${filename}";
/// Fields that need no condition in the policy.
const FREE: [&str; 5] = ["policy", "x-amz-signature", "file", "awsaccesskeyid", "signature"];
/// Fields that become headers of the object under their own name.
const HEADERS: [&str; 6] =
    ["cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"];
/// How headers of other operations begin.
const FOREIGN: [&str; 6] = [
    "x-amz-bucket-object-lock",
    "x-amz-bypass-",
    "x-amz-copy-",
    "x-amz-metadata-directive",
    "x-amz-object-ownership",
    "x-amz-tagging-directive",
];
/// Fields of signing: not headers of the object.
const SIGNING: [&str; 5] =
    ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token"];

impl Fields {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Puts the file's name, without its folders, where the key asks for it.
    ///
    /// # Errors
    /// `KeyTooLongError`, before anything that long is made.
    pub(crate) fn name_file(&mut self, file_name: &str) -> S3Result<()> {
        let base = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
        let Some(key) = self.0.get_mut("key") else { return Ok(()) };
        let places = key.matches(FILE_NAME).count();
        if key.len() - places * FILE_NAME.len() + places * base.len() > KEY_LEN_MAX {
            return Err(s3_error!(KeyTooLongError, "Your key is too long"));
        }
        *key = key.replace(FILE_NAME, base);
        Ok(())
    }

    /// The headers that a PutObject of the same would have.
    ///
    /// # Errors
    /// `InvalidArgument` for a value that no header can have.
    pub(crate) fn headers(&self) -> S3Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.0 {
            let name = match name.as_str() {
                "acl" => "x-amz-acl",
                name if HEADERS.contains(&name) => name,
                name if name.starts_with("x-amz-") && !SIGNING.contains(&name) => name,
                _ => continue,
            };
            let refusal = || s3_error!(InvalidArgument, "the form's field {name} cannot be kept as a header");
            let header = HeaderName::try_from(name).map_err(|_| refusal())?;
            headers.insert(header, HeaderValue::try_from(value).map_err(|_| refusal())?);
        }
        Ok(headers)
    }

    /// The `x-amz-*` field, if any, that an upload by PutObject would not have as a header.
    pub(crate) fn foreign(&self) -> Option<&str> {
        let of_others = |name: &&String| FOREIGN.iter().any(|start| name.starts_with(start));
        self.0.keys().find(of_others).map(String::as_str)
    }

    /// `x-amz-meta-*` fields, without that.
    pub(crate) fn metadata(&self) -> BTreeMap<String, String> {
        let fields = self.0.iter();
        fields.filter_map(|(name, value)| Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.clone()))).collect()
    }
}

/// Who signed a form, and when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signed<'a> {
    pub access_key: &'a str,
    day: &'a str,
    region: &'a str,
    policy: &'a str,
    signature: Vec<u8>,
}

impl<'a> Signed<'a> {
    /// `None` for a form that is not signed at all.
    ///
    /// # Errors
    /// `InvalidArgument`, `InvalidRequest`, `AccessDenied`.
    pub(crate) fn of(fields: &'a Fields, now: OffsetDateTime) -> S3Result<Option<Self>> {
        if fields.get("awsaccesskeyid").is_some() || fields.get("signature").is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "the authorization mechanism you have provided is not supported; use AWS4-HMAC-SHA256"
            ));
        }
        let names = ["policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
        if names.iter().all(|name| fields.get(name).is_none()) {
            return Ok(None);
        }
        if let Some(missing) = names.iter().find(|name| fields.get(name).is_none()) {
            return Err(s3_error!(
                InvalidArgument,
                "Bucket POST must contain a field named '{missing}'. If it is specified, please check the order of the fields."
            ));
        }
        let [policy, algorithm, credential, date, signature] = names.map(|name| fields.get(name).unwrap_or_default());
        if algorithm != "AWS4-HMAC-SHA256" {
            return Err(s3_error!(InvalidArgument, "X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
        }
        let scope: Vec<&str> = credential.rsplitn(5, '/').collect();
        let ["aws4_request", "s3", region, day, access_key] = scope[..] else {
            return Err(s3_error!(InvalidArgument, "the form's X-Amz-Credential is malformed"));
        };
        check_date(date, day, now)?;
        let signature = hex::decode(signature).unwrap_or_default();
        Ok(Some(Self { access_key, day, region, policy, signature }))
    }

    /// Whether the policy was signed with `secret` (AWS Signature Version 4: the string to sign is
    /// the policy in base64). Takes the same time for all wrong ones.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
        let day = sign(format!("AWS4{secret}").as_bytes(), self.day);
        let region = sign(day.as_ref(), self.region);
        let service = sign(region.as_ref(), "s3");
        let key = sign(service.as_ref(), "aws4_request");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        hmac::verify(&key, self.policy.as_bytes(), &self.signature).is_ok()
    }
}

/// A signing key lives for seven days.
fn check_date(date: &str, day: &str, now: OffsetDateTime) -> S3Result<()> {
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let at = PrimitiveDateTime::parse(date, format).map(PrimitiveDateTime::assume_utc);
    let at = at.map_err(|_| s3_error!(InvalidArgument, "X-Amz-Date must be in the format 20200102T030405Z"))?;
    if !date.starts_with(day) {
        return Err(s3_error!(InvalidArgument, "X-Amz-Date is of another day than X-Amz-Credential"));
    }
    let age = now - at;
    let oldest = Duration::seconds(i64::try_from(PRESIGN_SECONDS_MAX).unwrap_or(i64::MAX));
    if age > oldest || age < -Duration::seconds(i64::from(CLOCK_SKEW_SECONDS)) {
        return Err(s3_error!(AccessDenied, "Invalid according to Policy: the signature is too old, or of the future"));
    }
    Ok(())
}

/// What a form may upload.
#[derive(Debug)]
pub(crate) struct Policy {
    expiration: OffsetDateTime,
    conditions: Vec<Condition>,
}

#[derive(Debug)]
enum Condition {
    /// A field, in lower case, has the value.
    Is(String, String),
    /// A field starts with the value.
    Starts(String, String),
    /// Bytes of the file.
    Length(u64, u64),
}

impl Policy {
    /// The policy of a signed form.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub(crate) fn of(signed: &Signed<'_>) -> S3Result<Self> {
        let document = STANDARD.decode(signed.policy).map_err(|_| invalid("it is not base64"))?;
        Self::parse(&document)
    }

    fn parse(document: &[u8]) -> S3Result<Self> {
        let document: Value = serde_json::from_slice(document).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = document.get("expiration").and_then(Value::as_str);
        let expiration = expiration.ok_or_else(|| invalid("Policy missing expiration."))?;
        let expiration =
            OffsetDateTime::parse(expiration, &Rfc3339).map_err(|_| invalid("Invalid 'expiration' value"))?;
        let conditions = document.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut read = Vec::with_capacity(conditions.len());
        for condition in conditions {
            Condition::parse(condition, &mut read).ok_or_else(|| invalid("Invalid Condition"))?;
        }
        Ok(Self { expiration, conditions: read })
    }

    /// Judges a form, whose file is still to come; says how many bytes that may have.
    ///
    /// # Errors
    /// `AccessDenied`, in S3's words.
    pub(crate) fn judge(&self, fields: &Fields, bucket: &str, now: OffsetDateTime) -> S3Result<RangeInclusive<u64>> {
        if now >= self.expiration {
            return Err(refused("Policy expired."));
        }
        let mut length = 0..=u64::MAX;
        let mut covered = vec!["bucket"];
        for condition in &self.conditions {
            let (name, holds) = match condition {
                Condition::Length(min, max) => {
                    length = *length.start().max(min)..=*length.end().min(max);
                    continue;
                }
                Condition::Is(name, value) => (name, field(fields, bucket, name) == Some(value)),
                Condition::Starts(name, start) => (name, starts(name, field(fields, bucket, name), start)),
            };
            if !holds {
                return Err(refused(format!("Policy Condition failed: {condition}")));
            }
            covered.push(name);
        }
        let extra = |name: &&String| {
            !covered.contains(&name.as_str()) && !FREE.contains(&name.as_str()) && !name.starts_with("x-ignore-")
        };
        match fields.0.keys().find(extra) {
            None => Ok(length),
            Some(name) => Err(refused(format!("Extra input fields: {name}"))),
        }
    }
}

/// What a condition looks at. The bucket is the one in the address, whatever the form says.
fn field<'a>(fields: &'a Fields, bucket: &'a str, name: &str) -> Option<&'a str> {
    if name == "bucket" { Some(bucket) } else { fields.get(name) }
}

/// Of a list of content types each has to.
fn starts(name: &str, value: Option<&str>, start: &str) -> bool {
    match value {
        Some(value) if name == "content-type" => value.split(',').all(|one| one.trim().starts_with(start)),
        Some(value) => value.starts_with(start),
        // A field that is not there is like an empty one, which only this allows.
        None => start.is_empty(),
    }
}

impl Condition {
    /// One condition, or an object of several.
    fn parse(value: &Value, into: &mut Vec<Self>) -> Option<()> {
        if let Some(object) = value.as_object() {
            for (name, value) in object {
                into.push(Self::Is(name.to_ascii_lowercase(), value.as_str()?.to_owned()));
            }
            return Some(());
        }
        let [kind, first, second] = value.as_array()?.as_slice() else { return None };
        let field = || Some(first.as_str()?.strip_prefix('$')?.to_ascii_lowercase());
        into.push(match kind.as_str()?.to_ascii_lowercase().as_str() {
            "eq" => Self::Is(field()?, second.as_str()?.to_owned()),
            "starts-with" => Self::Starts(field()?, second.as_str()?.to_owned()),
            "content-length-range" => Self::Length(number(first)?, number(second)?),
            _ => return None,
        });
        Some(())
    }
}

/// Numbers may come as texts.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Is(name, value) => write!(f, "[\"eq\", \"${name}\", \"{value}\"]"),
            Self::Starts(name, value) => write!(f, "[\"starts-with\", \"${name}\", \"{value}\"]"),
            Self::Length(min, max) => write!(f, "[\"content-length-range\", {min}, {max}]"),
        }
    }
}

fn invalid(what: &str) -> s3s::S3Error {
    custom("InvalidPolicyDocument", format!("Invalid Policy: {what}"))
}

fn refused(why: impl std::fmt::Display) -> s3s::S3Error {
    s3_error!(AccessDenied, "Invalid according to Policy: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-01-02 03:04:05 UTC);

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        Fields(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn policies() {
        let form = fields(&[("key", "a/b"), ("content-type", "image/png,image/gif"), ("x-ignore-me", "1")]);
        let policy =
            |conditions: &str| format!("{{\"expiration\": \"2026-01-02T03:04:06Z\", \"conditions\": [{conditions}]}}");
        let type_ = "[\"starts-with\", \"$Content-Type\", \"image/\"]";
        let table: &[(&str, Result<RangeInclusive<u64>, &str>)] = &[
            (&policy(&format!("{{\"key\": \"a/b\"}}, {type_}")), Ok(0..=u64::MAX)),
            (&policy(&format!("[\"eq\", \"$key\", \"a/b\"], {{\"bucket\": \"bbb\"}}, {type_}")), Ok(0..=u64::MAX)),
            (
                &policy(&format!(
                    "[\"starts-with\", \"$key\", \"\"], {type_}, [\"content-length-range\", \"2\", 10], [\"content-length-range\", 0, 5]"
                )),
                Ok(2..=5),
            ),
            (&policy(&format!("[\"starts-with\", \"$key\", \"b\"], {type_}")), Err("AccessDenied")),
            (&policy(&format!("{{\"key\": \"a\"}}, {type_}")), Err("AccessDenied")),
            (&policy(&format!("{{\"key\": \"a/b\"}}, {{\"bucket\": \"ccc\"}}, {type_}")), Err("AccessDenied")),
            (&policy(&format!("{{\"key\": \"a/b\"}}, {{\"acl\": \"private\"}}, {type_}")), Err("AccessDenied")),
            (&policy("{\"key\": \"a/b\"}, [\"starts-with\", \"$Content-Type\", \"image/png\"]"), Err("AccessDenied")),
            (&policy("{\"key\": \"a/b\"}"), Err("AccessDenied")),
            (&policy("[\"like\", \"$key\", \"a\"]"), Err("InvalidPolicyDocument")),
            (&policy("[\"eq\", \"key\", \"a\"]"), Err("InvalidPolicyDocument")),
            (&policy("[\"content-length-range\", -1, 2]"), Err("InvalidPolicyDocument")),
            (&policy("3"), Err("InvalidPolicyDocument")),
            (&policy("[\"eq\", \"$key\"]"), Err("InvalidPolicyDocument")),
            ("{\"expiration\": \"2026-01-02T03:04:05Z\", \"conditions\": []}", Err("AccessDenied")),
            ("{\"expiration\": \"soon\", \"conditions\": []}", Err("InvalidPolicyDocument")),
            ("{\"conditions\": []}", Err("InvalidPolicyDocument")),
            ("{\"expiration\": \"2026-01-02T03:04:06Z\"}", Err("InvalidPolicyDocument")),
            ("[]", Err("InvalidPolicyDocument")),
            ("{", Err("InvalidPolicyDocument")),
        ];
        for (document, expected) in table {
            let judged = Policy::parse(document.as_bytes()).and_then(|policy| policy.judge(&form, "bbb", NOW));
            let judged = judged.map_err(|error| error.code().as_str().to_owned());
            assert_eq!(judged, expected.clone().map_err(str::to_owned), "{document}");
        }
    }

    /// The example of AWS's documentation ("Example: browser-based upload using HTTP POST").
    #[test]
    fn the_signature_of_the_example() {
        let policy = "eyAiZXhwaXJhdGlvbiI6ICIyMDE1LTEyLTMwVDEyOjAwOjAwLjAwMFoiLA0KICAiY29uZGl0aW9ucyI6IFsNCiAgICB7ImJ1Y2tldCI6ICJzaWd2NGV4YW1wbGVidWNrZXQifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRrZXkiLCAidXNlci91c2VyMS8iXSwNCiAgICB7ImFjbCI6ICJwdWJsaWMtcmVhZCJ9LA0KICAgIHsic3VjY2Vzc19hY3Rpb25fcmVkaXJlY3QiOiAiaHR0cDovL3NpZ3Y0ZXhhbXBsZWJ1Y2tldC5zMy5hbWF6b25hd3MuY29tL3N1Y2Nlc3NmdWxfdXBsb2FkLmh0bWwifSwNCiAgICBbInN0YXJ0cy13aXRoIiwgIiRDb250ZW50LVR5cGUiLCAiaW1hZ2UvIl0sDQogICAgeyJ4LWFtei1tZXRhLXV1aWQiOiAiMTQzNjUxMjM2NTEyNzQifSwNCiAgICB7IngtYW16LXNlcnZlci1zaWRlLWVuY3J5cHRpb24iOiAiQUVTMjU2In0sDQogICAgWyJzdGFydHMtd2l0aCIsICIkeC1hbXotbWV0YS10YWciLCAiIl0sDQoNCiAgICB7IngtYW16LWNyZWRlbnRpYWwiOiAiQUtJQUlPU0ZPRE5ON0VYQU1QTEUvMjAxNTEyMjkvdXMtZWFzdC0xL3MzL2F3czRfcmVxdWVzdCJ9LA0KICAgIHsieC1hbXotYWxnb3JpdGhtIjogIkFXUzQtSE1BQy1TSEEyNTYifSwNCiAgICB7IngtYW16LWRhdGUiOiAiMjAxNTEyMjlUMDAwMDAwWiIgfQ0KICBdDQp9";
        let form = fields(&[
            ("policy", policy),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"),
            ("x-amz-date", "20151229T000000Z"),
            ("x-amz-signature", "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e"),
        ]);
        let now = datetime!(2015-12-29 01:00:00 UTC);
        let signed = Signed::of(&form, now).unwrap().unwrap();
        assert_eq!(signed.access_key, "AKIAIOSFODNN7EXAMPLE");
        assert!(signed.is_signed_with("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
        assert!(!signed.is_signed_with("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEz"));
        Policy::of(&signed).unwrap();
        let old = datetime!(2016-01-06 00:00:00 UTC);
        assert_eq!(Signed::of(&form, old).unwrap_err().code().as_str(), "AccessDenied");
    }

    #[test]
    fn halves_of_a_signature_are_refused() {
        let whole = [
            ("policy", "e30="),
            ("x-amz-algorithm", "AWS4-HMAC-SHA256"),
            ("x-amz-credential", "AK/20260102/r/s3/aws4_request"),
            ("x-amz-date", "20260102T030405Z"),
            ("x-amz-signature", "00"),
        ];
        assert!(Signed::of(&fields(&whole), NOW).unwrap().is_some());
        assert!(Signed::of(&fields(&[("key", "k")]), NOW).unwrap().is_none());
        for missing in 0..whole.len() {
            let mut half = whole.to_vec();
            half.remove(missing);
            assert!(Signed::of(&fields(&half), NOW).is_err(), "{}", whole[missing].0);
        }
        for (name, bad) in [
            ("x-amz-algorithm", "AWS4-HMAC-SHA1"),
            ("x-amz-credential", "AK/20260102/r/sts/aws4_request"),
            ("x-amz-credential", "AK/20260102/r/s3"),
            ("x-amz-credential", "AK/20260101/r/s3/aws4_request"),
            ("x-amz-date", "today"),
            ("x-amz-date", "20260102T040405Z"),
            ("signature", "x"),
        ] {
            let mut form = fields(&whole);
            form.0.insert(name.to_owned(), bad.to_owned());
            assert!(Signed::of(&form, NOW).is_err(), "{name} {bad}");
        }
    }

    #[test]
    fn the_files_name_goes_into_the_key() {
        for (file, expected) in [("a.txt", "up/a.txt"), ("C:\\x\\a.txt", "up/a.txt"), ("../a", "up/a"), ("", "up/")] {
            let mut form = fields(&[("key", "up/${filename}")]);
            form.name_file(file).unwrap();
            assert_eq!(form.get("key"), Some(expected), "{file}");
        }
    }
}
