//! The Security Token Service: temporary credentials, on the S3 endpoint.
//!
//! `POST /` with a form, signed for the service `sts`; answers and errors in its XML. There are no
//! roles: AssumeRole gives the caller's own rights, narrowed by a policy and ended by a time. The
//! framework verifies signatures for `sts` too, but would answer in S3's words, so the signature is
//! verified here, over the body as it came. Source: STS API reference, version 2011-06-15.

use std::collections::BTreeMap;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use policy::Values;
use s3s::{Body, S3Error};
use sigv4::SignatureError;
use store::api::Principal;
use store::{Error, Question, SESSION_POLICY_MAX, Store, TemporaryCredentials, judge};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::access::Peer;
use crate::guard::{self, Named};
use crate::host::Place;
use crate::limits::{BODY_TIMEOUT, CLOCK_SKEW_SECONDS, FORM_MAX};
use crate::notes::{Notes, Watched};
use crate::{context, endpoint};

const SERVICE: &str = "sts";
const VERSION: &str = "2011-06-15";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// How long temporary credentials live, seconds.
struct Lives {
    /// When nothing is said.
    default: u32,
    longest: u32,
}

/// Shortest life, seconds.
const LIFE_MIN: u32 = 900;
const OF_ROLE: Lives = Lives { default: 3_600, longest: 43_200 };
const OF_SESSION: Lives = Lives { default: 43_200, longest: 129_600 };

/// Whether a request is for this service: S3 has no form at the root.
pub(crate) fn is_meant<B>(request: &Request<B>, place: &Place) -> bool {
    let form = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    });
    form && matches!(place, Place::Endpoint) && request.method() == Method::POST && request.uri().path() == "/"
}

/// An error as this service tells it.
struct Fault {
    status: StatusCode,
    code: String,
    message: String,
}

impl Fault {
    fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into() }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationError", message)
    }

    fn denied(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDenied", message)
    }

    fn to_xml(&self, request_id: &str) -> String {
        let kind = if self.status.is_server_error() { "Receiver" } else { "Sender" };
        let (code, message) = (escape(&self.code), escape(&self.message));
        format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    }
}

/// The codes that differ from S3's.
impl From<S3Error> for Fault {
    fn from(error: S3Error) -> Self {
        let status = error.status_code().unwrap_or(StatusCode::BAD_REQUEST);
        let code = match error.code().as_str() {
            "InvalidAccessKeyId" | "InvalidToken" => "InvalidClientTokenId",
            "AuthorizationHeaderMalformed" => "IncompleteSignature",
            "InternalError" => "InternalFailure",
            other => other,
        };
        Self::new(status, code, error.message().unwrap_or_default())
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Policy(error) => Self::new(StatusCode::BAD_REQUEST, "MalformedPolicyDocument", error.to_string()),
            error => Self::from(crate::error::answer(error)),
        }
    }
}

impl From<SignatureError> for Fault {
    fn from(error: SignatureError) -> Self {
        let code = match error {
            SignatureError::Missing => "MissingAuthenticationToken",
            SignatureError::Unsigned => "IncompleteSignature",
            SignatureError::Skewed | SignatureError::Wrong => "SignatureDoesNotMatch",
        };
        Self::new(StatusCode::FORBIDDEN, code, error.to_string())
    }
}

/// Answers one request.
pub(crate) async fn answer(
    store: &Store,
    peer: Option<Peer>,
    request: Request<Watched>,
    notes: &Notes,
) -> Response<Body> {
    let (status, text) = match run(store, peer, request, notes).await {
        Ok((action, result)) => (
            StatusCode::OK,
            format!(
                "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></{action}Response>",
                notes.id
            ),
        ),
        Err(fault) => (fault.status, fault.to_xml(&notes.id)),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// The action's name, and what goes into its result.
async fn run(
    store: &Store,
    peer: Option<Peer>,
    request: Request<Watched>,
    notes: &Notes,
) -> Result<(&'static str, String), Fault> {
    guard::check(&request, &Place::Endpoint, SERVICE)?;
    let named = Named::of(&request);
    let access_key = named.access_key.clone().ok_or(SignatureError::Missing)?;
    let temporary = endpoint::temporary(store, named).await?;
    let (head, body) = request.into_parts();
    let body = read(body).await?;
    let (secret, principal) = match temporary {
        Some(temporary) => (store.temporary_secret(&access_key)?, temporary.principal),
        None => store.authenticate(&access_key).await?.ok_or_else(unknown_key)?,
    };
    verify(&head, &body, &access_key, &secret)?;
    let form = Form::parse(&body)?;
    let action = form.action()?;
    let _ = notes.operation.set(action);
    let values = context::values(&head.uri, &head.headers, Some("REST-HEADER"), peer, None);
    let caller = Caller { store, access_key: &access_key, principal: &principal, values: &values };
    let result = match action {
        "AssumeRole" => caller.assume_role(&form).await?,
        "GetSessionToken" => caller.get_session_token(&form).await?,
        _ => caller.get_caller_identity(&form)?,
    };
    Ok((action, result))
}

fn unknown_key() -> Fault {
    Fault::new(StatusCode::FORBIDDEN, "InvalidClientTokenId", "The security token included in the request is invalid.")
}

async fn read(body: Watched) -> Result<bytes::Bytes, Fault> {
    let late = |_| Fault::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "the body did not come in time");
    let read = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, FORM_MAX).collect()).await.map_err(late)?;
    let too_much = |_| Fault::invalid(format!("the form is cut short, or longer than {FORM_MAX} bytes"));
    Ok(read.map_err(too_much)?.to_bytes())
}

fn verify(head: &http::request::Parts, body: &[u8], access_key: &str, secret: &str) -> Result<(), SignatureError> {
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let request = sigv4::Request {
        method: head.method.as_str(),
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        host: header("host").unwrap_or_default(),
        body,
    };
    request.verify(header, access_key, secret, SERVICE, sigv4::now_s(), CLOCK_SKEW_SECONDS.into())
}

/// The parameters of a request.
struct Form(BTreeMap<String, String>);

impl Form {
    fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut fields = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if fields.insert(name.clone().into_owned(), value.into_owned()).is_some() {
                return Err(Fault::invalid(format!("the parameter {name} is given twice")));
            }
        }
        Ok(Self(fields))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn action(&self) -> Result<&'static str, Fault> {
        let asked = self.get("Action").unwrap_or_default();
        let known = ["AssumeRole", "GetSessionToken", "GetCallerIdentity"].into_iter().find(|known| *known == asked);
        let known = known.filter(|_| self.get("Version") == Some(VERSION));
        known.ok_or_else(|| {
            Fault::new(
                StatusCode::BAD_REQUEST,
                "InvalidAction",
                format!("Could not find operation {asked} for version {}", self.get("Version").unwrap_or_default()),
            )
        })
    }

    /// Refuses parameters that would be passed over: credentials must not be wider than asked for.
    fn only(&self, known: &[&str]) -> Result<(), Fault> {
        let known = |name: &str| known.contains(&name) || ["Action", "Version"].contains(&name);
        match self.0.keys().find(|name| !known(name)) {
            Some(name) => Err(Fault::invalid(format!("the parameter {name} is not supported"))),
            None => Ok(()),
        }
    }

    fn duration(&self, lives: &Lives) -> Result<u32, Fault> {
        let Some(text) = self.get("DurationSeconds") else { return Ok(lives.default) };
        let fits = |seconds: &u32| (LIFE_MIN..=lives.longest).contains(seconds);
        text.parse()
            .ok()
            .filter(fits)
            .ok_or_else(|| Fault::invalid(format!("DurationSeconds must be between {LIFE_MIN} and {}", lives.longest)))
    }
}

/// Whose request it is.
struct Caller<'a> {
    store: &'a Store,
    access_key: &'a str,
    principal: &'a Principal,
    values: &'a Values,
}

impl Caller<'_> {
    /// No right is needed to narrow one's own rights, but a policy may forbid it.
    fn may(&self, action: &str, resource: &str) -> Result<(), Fault> {
        if self.principal.session().is_some() {
            return Err(Fault::denied("temporary credentials cannot make others"));
        }
        let question = Question { action, right: None, listed: false, resource, context: self.values };
        if judge(Some(self.principal), None, &question).explicit_denial() {
            return Err(Fault::denied(format!(
                "User: {} is not authorized to perform: {action} on resource: {resource} with an explicit deny in an identity-based policy",
                self.principal.arn()
            )));
        }
        Ok(())
    }

    async fn assume_role(&self, form: &Form) -> Result<String, Fault> {
        // A role's owner could ask for an external id; here no role has one.
        form.only(&["RoleArn", "RoleSessionName", "DurationSeconds", "Policy", "ExternalId"])?;
        let arn = form.get("RoleArn").unwrap_or_default();
        let role = role_name(arn).ok_or_else(|| Fault::invalid(format!("{arn} is invalid")))?;
        let name = form.get("RoleSessionName").filter(|name| is_session_name(name));
        let name =
            name.ok_or_else(|| Fault::invalid("RoleSessionName has 2 to 64 characters of A-Z a-z 0-9 _ = , . @ + -"))?;
        let policy = form.get("Policy");
        if policy.is_some_and(|policy| policy.is_empty() || policy.len() > SESSION_POLICY_MAX) {
            return Err(Fault::invalid(format!("Policy has 1 to {SESSION_POLICY_MAX} characters")));
        }
        let seconds = form.duration(&OF_ROLE)?;
        self.may("sts:AssumeRole", arn)?;
        let made = self.store.create_session(self.access_key, self.principal, policy, seconds).await?;
        let account = self.principal.account();
        let id = escape(self.principal.id());
        let mut result = credentials(&made);
        result.push_str(&format!(
            "<AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/{}/{}</Arn><AssumedRoleId>{id}:{}</AssumedRoleId></AssumedRoleUser>",
            escape(role),
            escape(name),
            escape(name)
        ));
        if let Some(policy) = policy {
            let percent = (policy.len() * 100).div_ceil(SESSION_POLICY_MAX);
            result.push_str(&format!("<PackedPolicySize>{percent}</PackedPolicySize>"));
        }
        Ok(result)
    }

    async fn get_session_token(&self, form: &Form) -> Result<String, Fault> {
        form.only(&["DurationSeconds"])?;
        let seconds = form.duration(&OF_SESSION)?;
        self.may("sts:GetSessionToken", "*")?;
        Ok(credentials(&self.store.create_session(self.access_key, self.principal, None, seconds).await?))
    }

    /// Needs no right, and no policy takes it away. Temporary credentials are told whom policies
    /// take them for.
    fn get_caller_identity(&self, form: &Form) -> Result<String, Fault> {
        form.only(&[])?;
        Ok(format!(
            "<Arn>{}</Arn><UserId>{}</UserId><Account>{}</Account>",
            escape(&self.principal.arn()),
            escape(self.principal.id()),
            self.principal.account()
        ))
    }
}

fn credentials(made: &TemporaryCredentials) -> String {
    let seconds = i64::try_from(made.expires_ms / 1000).unwrap_or(i64::MAX);
    let expires = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
    format!(
        "<Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
        made.access_key,
        made.secret,
        made.token,
        expires.unwrap_or_default()
    )
}

/// The name of the role in `arn:aws:iam::<account>:role/<path><name>`.
fn role_name(arn: &str) -> Option<&str> {
    let (account, role) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    let name = role.rsplit('/').next().filter(|name| !name.is_empty() && name.len() <= 64)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
    let account_is_one = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (account_is_one && arn.len() <= 2048 && role.chars().all(plain)).then_some(name)
}

fn is_session_name(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_=,.@+-".contains(c))
}

/// Text for an XML element.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_roles() {
        let long = format!("arn:aws:iam::000000000000:role/{}", "x".repeat(65));
        for (arn, expected) in [
            ("arn:aws:iam::000000000000:role/reader", Some("reader")),
            ("arn:aws:iam::123456789012:role/a/path/reader", Some("reader")),
            ("arn:aws:iam::000000000000:role/", None),
            ("arn:aws:iam::000000000000:user/reader", None),
            ("arn:aws:iam::0:role/reader", None),
            ("arn:aws:iam::00000000000x:role/reader", None),
            ("arn:aws:iam::000000000000:role/a<b", None),
            (&long, None),
            ("reader", None),
            ("", None),
        ] {
            assert_eq!(role_name(arn), expected, "{arn}");
        }
    }

    #[test]
    fn what_is_for_this_service() {
        let form = "application/x-www-form-urlencoded; charset=utf-8";
        for (method, target, kind, expected) in [
            ("POST", "/", form, true),
            ("POST", "/?x=y", "Application/X-WWW-Form-Urlencoded", true),
            ("POST", "/bucket", form, false),
            ("PUT", "/", form, false),
            ("POST", "/", "application/xml", false),
            ("POST", "/", "application/x-www-form-urlencodedx", false),
        ] {
            let request = Request::builder().method(method).uri(target).header("content-type", kind);
            assert_eq!(is_meant(&request.body(()).unwrap(), &Place::Endpoint), expected, "{method} {target} {kind}");
        }
    }

    #[test]
    fn text_cannot_break_out_of_its_element() {
        assert_eq!(escape("a<b>&\u{1}c"), "a&lt;b&gt;&amp;\u{fffd}c");
    }
}
