//! AWS Signature Version 4 (AWS General Reference, "Signing AWS API requests"): sign a request's
//! headers, presign a URL, verify signed headers.

use aws_lc_rs::{constant_time, digest, hmac};

/// The payload hash of requests whose body is not signed.
pub const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Why a signature is not accepted. The words tell the client's operator, not an attacker, what
/// to mend: which secret is right is never told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// No or malformed `Authorization`.
    #[error("the request carries no AWS Signature Version 4")]
    Missing,
    /// A header that must be signed is not.
    #[error("host and x-amz-date must be among the signed headers")]
    Unsigned,
    /// The date is unreadable or too far off.
    #[error("the request's time differs too much from the server's; set the clock")]
    Skewed,
    /// Unknown access key or wrong signature.
    #[error("the access key is unknown or the signature does not match")]
    Wrong,
}

/// A presigned URL to make.
pub struct Presign<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// The `Host` header's value.
    pub host: &'a str,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The region to sign for.
    pub region: &'a str,
    /// The service to sign for.
    pub service: &'a str,
    /// How long the URL is valid; S3 allows up to seven days.
    pub expires: std::time::Duration,
}

impl Presign<'_> {
    /// Path and query of the presigned URL, signed now.
    pub fn sign(&self, access_key: &str, secret_key: &str) -> String {
        self.sign_at(access_key, secret_key, now_s())
    }

    /// The same, signed at a time in seconds since the Unix epoch.
    pub fn sign_at(&self, access_key: &str, secret_key: &str, at_s: u64) -> String {
        let date = amz_date(at_s);
        let scope = scope(&date, self.region, self.service);
        let query = format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={date}&X-Amz-Expires={}&X-Amz-SignedHeaders=host",
            encode(&format!("{access_key}/{scope}")),
            self.expires.as_secs()
        );
        let canonical =
            format!("{}\n{}\n{query}\nhost:{}\n\nhost\n{UNSIGNED_PAYLOAD}", self.method, self.path, self.host);
        let key = signing_key(secret_key, &date, self.region, self.service);
        let signature = signature(&key, &date, &scope, &canonical);
        format!("{}?{query}&X-Amz-Signature={signature}", self.path)
    }
}

/// A request whose headers are to be signed.
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// The path, percent-encoded.
    pub path: &'a str,
    /// The query, percent-encoded, without `?`.
    pub query: &'a str,
    /// The `Host` header's value.
    pub host: &'a str,
    /// The body; it is covered by the signature.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The headers to add: `x-amz-date`, `x-amz-content-sha256`, `authorization`.
    pub fn sign(
        &self,
        access_key: &str,
        secret_key: &str,
        region: &str,
        service: &str,
        at_s: u64,
    ) -> [(&'static str, String); 3] {
        self.sign_with(&[], access_key, secret_key, region, service, at_s)
    }

    /// The same, with more headers covered: names in lower case, values without spaces at their ends. AWS wants all
    /// that begin with `x-amz-`.
    pub fn sign_with(
        &self,
        more: &[(&str, &str)],
        access_key: &str,
        secret_key: &str,
        region: &str,
        service: &str,
        at_s: u64,
    ) -> [(&'static str, String); 3] {
        let date = amz_date(at_s);
        let payload = sha256_hex(self.body);
        let mut signed = vec![("host", self.host), ("x-amz-content-sha256", &payload), ("x-amz-date", &date)];
        signed.extend(more);
        signed.sort_unstable();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let canonical = self.canonical(&headers, &names, &payload);
        let scope = scope(&date, region, service);
        let signature = signature(&signing_key(secret_key, &date, region, service), &date, &scope, &canonical);
        let authorization =
            format!("{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}");
        [("x-amz-date", date), ("x-amz-content-sha256", payload), ("authorization", authorization)]
    }

    fn canonical(&self, headers: &str, names: &str, payload: &str) -> String {
        let mut query: Vec<String> =
            self.query.split('&').filter(|pair| !pair.is_empty()).map(canonical_pair).collect();
        query.sort();
        format!("{}\n{}\n{}\n{headers}\n{names}\n{payload}", self.method, self.path, query.join("&"))
    }

    /// Verifies a signed request: `header(name)` gives a header's value; its time may differ from
    /// `now_s`, seconds since the Unix epoch, by `skew_s` seconds.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify<'h>(
        &self,
        header: impl Fn(&str) -> Option<&'h str>,
        access_key: &str,
        secret_key: &str,
        service: &str,
        now_s: u64,
        skew_s: u64,
    ) -> Result<(), SignatureError> {
        let payload = sha256_hex(self.body);
        self.verify_payload(&payload, header, access_key, secret_key, service, now_s, skew_s)
    }

    /// The same for a body that is not here yet: the signature covers `payload`, its SHA-256 in hexadecimal or
    /// [`UNSIGNED_PAYLOAD`]. Who takes the body compares the two.
    ///
    /// # Errors
    /// [`SignatureError`].
    #[expect(clippy::too_many_arguments, reason = "those of `verify` and one")]
    pub fn verify_payload<'h>(
        &self,
        payload: &str,
        header: impl Fn(&str) -> Option<&'h str>,
        access_key: &str,
        secret_key: &str,
        service: &str,
        now_s: u64,
        skew_s: u64,
    ) -> Result<(), SignatureError> {
        let authorization = header("authorization").ok_or(SignatureError::Missing)?;
        let given = Authorization::parse(authorization).ok_or(SignatureError::Missing)?;
        let date = header("x-amz-date").ok_or(SignatureError::Missing)?;
        if !["host", "x-amz-date"].iter().all(|must| given.signed.contains(must)) {
            return Err(SignatureError::Unsigned);
        }
        let at_s = parse_amz_date(date).ok_or(SignatureError::Skewed)?;
        if at_s.abs_diff(now_s) > skew_s {
            return Err(SignatureError::Skewed);
        }
        let mut headers = String::new();
        for name in &given.signed {
            let value = if *name == "host" { self.host } else { header(name).ok_or(SignatureError::Unsigned)? };
            headers.push_str(&format!("{name}:{}\n", value.trim()));
        }
        let canonical = self.canonical(&headers, &given.signed.join(";"), payload);
        let scope = scope(date, given.region, service);
        let key = signing_key(secret_key, date, given.region, service);
        let expected = signature(&key, date, &scope, &canonical);
        let same = constant_time::verify_slices_are_equal(expected.as_bytes(), given.signature.as_bytes());
        let known = given.access_key == access_key && given.service == service && date.starts_with(given.day);
        if known && same.is_ok() { Ok(()) } else { Err(SignatureError::Wrong) }
    }
}

/// What an `Authorization` header says. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// Whose secret it was signed with.
    pub access_key: &'a str,
    day: &'a str,
    /// The region that it was signed for.
    pub region: &'a str,
    /// The service that it was signed for.
    pub service: &'a str,
    /// The names of the headers that are signed.
    pub signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads a header's value; `None` for what is no signature version 4.
    pub fn parse(value: &'a str) -> Option<Self> {
        let fields = value.strip_prefix(ALGORITHM)?;
        let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name));
        let mut credential = field("Credential=")?.split('/');
        let (access_key, day, region) = (credential.next()?, credential.next()?, credential.next()?);
        let (service, end) = (credential.next()?, credential.next()?);
        let signed = field("SignedHeaders=")?.split(';').collect();
        let whole = end == "aws4_request" && credential.next().is_none();
        whole.then_some(Self { access_key, day, region, service, signed, signature: field("Signature=")? })
    }
}

/// Seconds since the Unix epoch.
pub fn now_s() -> u64 {
    use base::Clock;
    base::SystemClock.now_ms() / 1000
}

fn scope(date: &str, region: &str, service: &str) -> String {
    format!("{}/{region}/{service}/aws4_request", date.get(..8).unwrap_or_default())
}

fn canonical_pair(pair: &str) -> String {
    if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

fn hmac(key: &[u8], message: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes())
}

fn signing_key(secret_key: &str, date: &str, region: &str, service: &str) -> hmac::Tag {
    let day = hmac(format!("AWS4{secret_key}").as_bytes(), date.get(..8).unwrap_or_default());
    let region = hmac(day.as_ref(), region);
    let service = hmac(region.as_ref(), service);
    hmac(service.as_ref(), "aws4_request")
}

fn signature(key: &hmac::Tag, date: &str, scope: &str, canonical: &str) -> String {
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    hex::encode(hmac(key.as_ref(), &to_sign))
}

/// Percent-encodes all but unreserved characters (RFC 3986).
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// `YYYYMMDDTHHMMSSZ` of a time in seconds since the Unix epoch.
pub fn amz_date(at_s: u64) -> String {
    let time = i64::try_from(at_s).ok().and_then(|at| time::OffsetDateTime::from_unix_timestamp(at).ok());
    let time = time.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

fn parse_amz_date(text: &str) -> Option<u64> {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = time::PrimitiveDateTime::parse(text, format).ok()?;
    u64::try_from(time.assume_utc().unix_timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of AWS's documentation for presigned S3 URLs.
    #[test]
    fn the_published_presigned_url() {
        let request = Presign {
            method: "GET",
            host: "examplebucket.s3.amazonaws.com",
            path: "/test.txt",
            region: "us-east-1",
            service: "s3",
            expires: std::time::Duration::from_secs(86_400),
        };
        let url = request.sign_at("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", 1_369_353_600);
        assert!(
            url.ends_with("X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"),
            "{url}"
        );
    }

    const SKEW_S: u64 = 300;
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn check(
        change: impl Fn(&mut Vec<(&'static str, String)>),
        path: &str,
        body: &[u8],
        now_s: u64,
    ) -> Result<(), SignatureError> {
        let signed = Request { method: "POST", path: "/v1/users", query: "a=1&b", host: "h:9001", body: b"{}" };
        let mut headers = signed.sign("AK", SECRET, "us-east-1", "holdfast", 1_700_000_000).to_vec();
        change(&mut headers);
        let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
        Request { path, body, ..signed }.verify(header, "AK", SECRET, "holdfast", now_s, SKEW_S)
    }

    #[test]
    fn signed_requests_verify_and_changed_ones_do_not() {
        let same = |_: &mut Vec<(&'static str, String)>| {};
        let at = 1_700_000_000;
        assert_eq!(check(same, "/v1/users", b"{}", at), Ok(()));
        assert_eq!(check(same, "/v1/users", b"{}", at + SKEW_S), Ok(()));
        assert_eq!(check(same, "/v1/users", b"{}", at + SKEW_S + 1), Err(SignatureError::Skewed));
        assert_eq!(check(same, "/v1/sites", b"{}", at), Err(SignatureError::Wrong));
        assert_eq!(check(same, "/v1/users", b"{x}", at), Err(SignatureError::Wrong));
        assert_eq!(
            check(|h| h.retain(|(n, _)| *n != "authorization"), "/v1/users", b"{}", at),
            Err(SignatureError::Missing)
        );
        assert_eq!(
            check(|h| h[2].1 = h[2].1.replace("AK/", "AL/"), "/v1/users", b"{}", at),
            Err(SignatureError::Wrong)
        );
        assert_eq!(
            check(|h| h[2].1 = h[2].1.replace(";x-amz-date", ""), "/v1/users", b"{}", at),
            Err(SignatureError::Unsigned)
        );
        assert_eq!(
            check(|h| h[2].1 = h[2].1.replace("/holdfast/", "/s3/"), "/v1/users", b"{}", at),
            Err(SignatureError::Wrong)
        );
    }

    #[test]
    fn more_headers_are_covered() {
        let request = Request { method: "POST", path: "/", query: "", host: "h", body: b"{}" };
        let more = [("x-amz-target", "TrentService.Decrypt"), ("content-type", "application/x-amz-json-1.1")];
        let signed = request.sign_with(&more, "AK", SECRET, "us-east-1", "kms", 1_700_000_000);
        let covered = "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-target,";
        assert!(signed[2].1.contains(covered), "{}", signed[2].1);
        let verified = |target: &str| {
            let more = [("x-amz-target", target), more[1]];
            let header = |name: &str| {
                let own = signed.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str());
                own.or_else(|| more.iter().find(|(n, _)| *n == name).map(|(_, value)| *value))
            };
            // What it gives lives as long as what is signed.
            request.verify(
                |name| header(name).map(str::to_owned).map(|v| &*v.leak()),
                "AK",
                SECRET,
                "kms",
                1_700_000_000,
                1,
            )
        };
        assert_eq!(verified("TrentService.Decrypt"), Ok(()));
        assert_eq!(verified("TrentService.Encrypt"), Err(SignatureError::Wrong));
    }

    #[test]
    fn dates_round_trip() {
        for at in [0, 1_369_353_600, 1_700_000_000, 4_102_444_799] {
            assert_eq!(parse_amz_date(&amz_date(at)), Some(at));
        }
        assert_eq!(parse_amz_date("20230230T000000Z"), None);
    }
}
