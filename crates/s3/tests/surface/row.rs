//! The language of the table: a row is one request and the answer that S3 gives to it; a scene is
//! rows that follow one another on a fresh bucket.
//!
//! Every text of a row may name a variable in braces. `{b}` is the scene's bucket, which exists;
//! `{c}` a second name for a bucket, which does not; `{reader}` and `{stranger}` the users of a
//! scene that needs users. [`Row::keep`] makes more of them out of an answer. `{%name}` is a
//! variable's value with everything but unreserved characters and `/` escaped.

use crate::common::{Edit, Form};

/// Rows on one fresh bucket.
pub struct Scene {
    pub title: String,
    pub rows: Vec<Row>,
    /// Variables that it starts with.
    pub vars: Vec<(String, String)>,
    /// Whether the users `reader` (with the right to read the bucket) and `stranger` (without
    /// any) must be there. Only the in-process server can be given users.
    pub users: bool,
    /// Whether it says nothing of other servers.
    pub holdfast_only: bool,
}

/// Who sends a row's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Root,
    Nobody,
    Reader,
    Stranger,
    /// An access key and a secret; `None` for the right one.
    Key(Option<String>, Option<String>),
}

/// One thing that an answer must have.
#[derive(Debug, Clone)]
pub enum Check {
    Has(String),
    Lacks(String),
    Header(String, String),
    NoHeader(String),
    Body(String),
    Length(usize),
    /// The texts of all elements of this name.
    Tags(String, Vec<String>),
    /// The same, of texts in URL encoding, in which a server may write a space as `+` or `%20`.
    Names(String, Vec<String>),
}

/// Where Holdfast is known to answer otherwise than S3.
#[derive(Debug, Clone)]
pub struct Difference {
    pub reason: &'static str,
    pub status: u16,
    pub code: &'static str,
}

/// One request and its answer.
#[derive(Debug, Clone)]
pub struct Row {
    pub method: &'static str,
    pub target: String,
    pub query: Vec<(String, String)>,
    pub headers: Vec<(String, String)>,
    pub loose_headers: Vec<(String, String)>,
    pub body: String,
    /// Bytes of filling after the body's text.
    pub filling: usize,
    pub who: Who,
    pub form: Form,
    pub clock_seconds: i64,
    pub region: Option<&'static str>,
    pub service: Option<&'static str>,
    pub hash: Option<String>,
    pub trailer: Option<(String, String)>,
    pub tamper: Option<fn(&mut Vec<u8>)>,
    pub wire_path: Option<String>,
    pub edits: Vec<Edit>,
    pub streamed: bool,
    pub status: u16,
    pub code: Option<&'static str>,
    pub checks: Vec<Check>,
    /// Variables, and the header or `<Element>` of the answer that they are read from.
    pub keeps: Vec<(&'static str, &'static str)>,
    pub differs: Option<Difference>,
}

pub fn scene(title: impl Into<String>, rows: impl IntoIterator<Item = Row>) -> Scene {
    Scene {
        title: title.into(),
        rows: rows.into_iter().collect(),
        vars: Vec::new(),
        users: false,
        holdfast_only: false,
    }
}

impl Scene {
    pub fn var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.push((name.to_owned(), value.into()));
        self
    }

    pub fn with_users(mut self) -> Self {
        self.users = true;
        self
    }
}

pub fn get(target: impl Into<String>) -> Row {
    call("GET", target)
}

pub fn put(target: impl Into<String>) -> Row {
    call("PUT", target)
}

pub fn post(target: impl Into<String>) -> Row {
    call("POST", target)
}

pub fn head(target: impl Into<String>) -> Row {
    call("HEAD", target)
}

pub fn delete(target: impl Into<String>) -> Row {
    call("DELETE", target)
}

/// A request that must be answered with 200 as long as the row does not say otherwise.
pub fn call(method: &'static str, target: impl Into<String>) -> Row {
    Row {
        method,
        target: target.into(),
        query: Vec::new(),
        headers: Vec::new(),
        loose_headers: Vec::new(),
        body: String::new(),
        filling: 0,
        who: Who::Root,
        form: Form::Hashed,
        clock_seconds: 0,
        region: None,
        service: None,
        hash: None,
        trailer: None,
        tamper: None,
        wire_path: None,
        edits: Vec::new(),
        streamed: false,
        status: 200,
        code: None,
        checks: Vec::new(),
        keeps: Vec::new(),
        differs: None,
    }
}

/// The request.
impl Row {
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// A header that is sent and not signed.
    pub fn loose(mut self, name: &str, value: &str) -> Self {
        self.loose_headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A query parameter whose value may have any character.
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    pub fn sends(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends so many bytes of the letter a.
    pub fn filled(mut self, bytes: usize) -> Self {
        self.filling = bytes;
        self.form(Form::Loose)
    }

    pub fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    pub fn anonymous(mut self) -> Self {
        self.who = Who::Nobody;
        self.form(Form::Anonymous)
    }

    pub fn form(mut self, form: Form) -> Self {
        self.form = form;
        self
    }

    /// Signs with a clock that is so many seconds ahead.
    pub fn clock(mut self, seconds: i64) -> Self {
        self.clock_seconds = seconds;
        self
    }

    pub fn region(mut self, region: &'static str) -> Self {
        self.region = Some(region);
        self
    }

    pub fn service(mut self, service: &'static str) -> Self {
        self.service = Some(service);
        self
    }

    /// Claims another `x-amz-content-sha256`.
    pub fn hash(mut self, hash: impl Into<String>) -> Self {
        self.hash = Some(hash.into());
        self
    }

    pub fn trailer(mut self, name: &str, value: impl Into<String>) -> Self {
        self.trailer = Some((name.to_owned(), value.into()));
        self
    }

    /// Changes the bytes on the wire after they were signed.
    pub fn tamper(mut self, how: fn(&mut Vec<u8>)) -> Self {
        self.tamper = Some(how);
        self
    }

    /// Sends this path, escaped already, in place of the canonical one.
    pub fn wire_path(mut self, path: &str) -> Self {
        self.wire_path = Some(path.to_owned());
        self
    }

    pub fn set_header(self, name: &str, value: &str) -> Self {
        self.edit(Edit::SetHeader(name.to_owned(), value.to_owned()))
    }

    pub fn drop_header(self, name: &str) -> Self {
        self.edit(Edit::DropHeader(name.to_owned()))
    }

    pub fn set_query(self, name: &str, value: &str) -> Self {
        self.edit(Edit::SetQuery(name.to_owned(), value.to_owned()))
    }

    pub fn drop_query(self, name: &str) -> Self {
        self.edit(Edit::DropQuery(name.to_owned()))
    }

    fn edit(mut self, edit: Edit) -> Self {
        self.edits.push(edit);
        self
    }

    /// Sends the body without a length.
    pub fn streamed(mut self) -> Self {
        self.streamed = true;
        self
    }
}

/// The answer.
impl Row {
    pub fn is(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub fn fails(mut self, status: u16, code: &'static str) -> Self {
        self.status = status;
        self.code = Some(code);
        self
    }

    /// The body contains a text.
    pub fn has(self, text: impl Into<String>) -> Self {
        self.check(Check::Has(text.into()))
    }

    /// The body does not contain a text.
    pub fn lacks(self, text: impl Into<String>) -> Self {
        self.check(Check::Lacks(text.into()))
    }

    /// A header is there with this value; `*` stands for any.
    pub fn says(self, name: &str, value: impl Into<String>) -> Self {
        self.check(Check::Header(name.to_owned(), value.into()))
    }

    /// A header is not there.
    pub fn hides(self, name: &str) -> Self {
        self.check(Check::NoHeader(name.to_owned()))
    }

    /// The body is this text.
    pub fn gives(self, body: impl Into<String>) -> Self {
        self.check(Check::Body(body.into()))
    }

    /// The body has so many bytes.
    pub fn gives_bytes(self, bytes: usize) -> Self {
        self.check(Check::Length(bytes))
    }

    /// The elements of this name, in order, have these texts.
    pub fn tags(self, name: &str, texts: &[&str]) -> Self {
        self.check(Check::Tags(name.to_owned(), texts.iter().map(|&text| text.to_owned()).collect()))
    }

    /// The one element of this name has this text.
    pub fn tag(self, name: &str, text: &str) -> Self {
        self.tags(name, &[text])
    }

    /// The elements of this name, in order, mean these texts in URL encoding.
    pub fn names(self, name: &str, texts: &[&str]) -> Self {
        self.check(Check::Names(name.to_owned(), texts.iter().map(|&text| text.to_owned()).collect()))
    }

    /// Makes a variable of a header, or of the first `<Element>`, of the answer.
    pub fn keep(mut self, variable: &'static str, from: &'static str) -> Self {
        self.keeps.push((variable, from));
        self
    }

    /// Holdfast answers with this status and error code instead, for a reason. It is held to that.
    pub fn differs(mut self, status: u16, code: &'static str, reason: &'static str) -> Self {
        self.differs = Some(Difference { reason, status, code });
        self
    }

    fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }
}
