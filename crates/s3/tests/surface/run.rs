//! Plays scenes against an endpoint and judges the answers.

use std::collections::{BTreeMap, BTreeSet};

use time::Duration;

use crate::common::{Answer, Call, Form, sign};
use crate::endpoint::Endpoint;
use crate::row::{Check, Difference, Row, Scene, Who};

/// Bytes of an answer that a failure shows.
const SHOWN_MAX: usize = 600;

/// What came of a scene.
#[derive(Default)]
pub struct Outcome {
    pub passed: usize,
    /// Each with its request, what was expected and what was found.
    pub failures: Vec<String>,
}

/// What a scene knows.
struct Vars {
    values: BTreeMap<String, String>,
    /// Buckets that were made, by rows too: also those that S3 would have refused.
    buckets: BTreeSet<String>,
}

impl Vars {
    /// Replaces the names of variables in braces. Other braces stay: policies are full of them.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values {
            text = text.replace(&format!("{{{name}}}"), value);
            text = text.replace(&format!("{{%{name}}}"), &sign::encode(value, true));
        }
        text
    }
}

pub async fn play(endpoint: &Endpoint, scene: &Scene) -> Outcome {
    let mut outcome = Outcome::default();
    let names = match endpoint.prepare(scene.users).await {
        Ok(names) => names,
        Err(error) => {
            outcome.failures.push(format!("the scene's bucket could not be made: {error}"));
            return outcome;
        }
    };
    let buckets = BTreeSet::from([names["b"].clone()]);
    let mut vars = Vars { values: names, buckets };
    for (name, value) in &scene.vars {
        let value = vars.fill(value);
        vars.values.insert(name.clone(), value);
    }
    for row in &scene.rows {
        match step(endpoint, row, &mut vars).await {
            Ok(()) => outcome.passed += 1,
            Err(failure) => outcome.failures.push(failure),
        }
    }
    endpoint.clean(&vars.buckets).await;
    outcome
}

async fn step(endpoint: &Endpoint, row: &Row, vars: &mut Vars) -> Result<(), String> {
    let request = request(row, vars);
    let answer = build(endpoint, row, vars).send_to(&endpoint.host).await;
    let answer = answer.map_err(|error| format!("{request}\n  {error}"))?;
    let path = vars.fill(&row.target);
    if row.method == "PUT" && answer.status.is_success() && !path[1..].contains(['/', '?']) {
        vars.buckets.insert(path[1..].to_owned());
    }
    for (name, from) in &row.keeps {
        if let Some(value) = read(&answer, from) {
            vars.values.insert((*name).to_owned(), value);
        }
    }
    let difference = row.differs.as_ref().filter(|_| endpoint.is_holdfast());
    let wrong = match difference {
        // A difference that is none any more hides the next one.
        Some(_) if judge(row, vars, &answer).is_none() => {
            Some("the known difference, and not S3's own answer".to_owned())
        }
        Some(difference) => judge_difference(difference, &answer),
        None => judge(row, vars, &answer),
    };
    wrong.map_or(Ok(()), |wrong| Err(format!("{request}\n  expected {wrong}\n  found {}", show(&answer))))
}

fn read(answer: &Answer, from: &str) -> Option<String> {
    match from.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
        Some(element) => answer.find(element),
        None => Some(answer.headers.get(from)?.to_str().ok()?.to_owned()),
    }
}

fn request(row: &Row, vars: &Vars) -> String {
    let mut text = format!("{} {}", row.method, vars.fill(&row.target));
    for (name, value) in &row.query {
        text.push_str(&format!(" {name}={}", vars.fill(value)));
    }
    for (name, value) in row.headers.iter().chain(&row.loose_headers) {
        text.push_str(&format!(" {name}: {}", vars.fill(value)));
    }
    let body = vars.fill(&row.body);
    if !body.is_empty() {
        text.push_str(&format!("\n  sends {}", cut(&body)));
    }
    text
}

fn build(endpoint: &Endpoint, row: &Row, vars: &Vars) -> Call {
    let mut body = vars.fill(&row.body).into_bytes();
    body.resize(body.len() + row.filling, b'a');
    let (path, query) = row.target.split_once('?').unwrap_or((&row.target, ""));
    // The query is split before variables are filled in: their values may have any character.
    let mut call = Call::new(row.method, "").path(&vars.fill(path)).form(row.form).body(body);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        call = call.query(name, &vars.fill(value));
    }
    for (name, value) in &row.query {
        call = call.query(name, &vars.fill(value));
    }
    for (name, value) in &row.headers {
        call = call.header(name, &vars.fill(value));
    }
    for (name, value) in &row.loose_headers {
        call = call.loose_header(name, &vars.fill(value));
    }
    if let Some((name, value)) = &row.trailer {
        call = call.trailer(name, &vars.fill(value));
    }
    if let Some(path) = &row.wire_path {
        call = call.wire_path(&vars.fill(path));
    }
    if let Some(how) = row.tamper {
        call = call.tamper(how);
    }
    if let Some(hash) = &row.hash {
        call = call.hash(hash);
    }
    if row.streamed {
        call = call.streamed();
    }
    call = row.edits.iter().cloned().fold(call, Call::edit);
    let (access, secret) = endpoint.key(&row.who, &vars.values);
    let call = call.with_key(&access, &secret).skew(Duration::seconds(row.clock_seconds));
    call.region(row.region.unwrap_or(&endpoint.region)).service(row.service.unwrap_or("s3"))
}

fn judge_difference(difference: &Difference, answer: &Answer) -> Option<String> {
    let told = (answer.status.as_u16(), answer.code());
    let known = (difference.status, difference.code.to_owned());
    // A HEAD's error has no body to tell its code in.
    if told == known || (told.0 == known.0 && answer.body.is_empty()) {
        return None;
    }
    Some(format!("the known difference {} {} ({})", difference.status, difference.code, difference.reason))
}

/// What of the answer is not as expected.
fn judge(row: &Row, vars: &Vars, answer: &Answer) -> Option<String> {
    let status = answer.status.as_u16();
    if status != row.status {
        return Some(format!("{} {}", row.status, row.code.unwrap_or_default()));
    }
    if let Some(code) = row.code
        && answer.code() != code
    {
        return Some(format!("{} {code}", row.status));
    }
    row.checks.iter().find_map(|check| judge_one(check, vars, answer))
}

fn judge_one(check: &Check, vars: &Vars, answer: &Answer) -> Option<String> {
    let text = answer.text();
    let header = |name: &str| answer.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let (holds, words) = match check {
        Check::Has(wanted) => (text.contains(&vars.fill(wanted)), format!("a body with {}", vars.fill(wanted))),
        Check::Lacks(wanted) => (!text.contains(&vars.fill(wanted)), format!("a body without {}", vars.fill(wanted))),
        Check::Header(name, wanted) => {
            let wanted = vars.fill(wanted);
            let found = header(name);
            let holds = found.is_some_and(|found| wanted == "*" || found == wanted);
            (holds, format!("the header {name}: {wanted}"))
        }
        Check::NoHeader(name) => (header(name).is_none(), format!("no header {name}")),
        Check::Body(wanted) => (text == vars.fill(wanted), format!("the body {}", cut(&vars.fill(wanted)))),
        Check::Length(bytes) => (answer.body.len() == *bytes, format!("a body of {bytes} bytes")),
        Check::Tags(name, wanted) => {
            let wanted: Vec<String> = wanted.iter().map(|text| vars.fill(text)).collect();
            (answer.all(name) == wanted, format!("the elements <{name}> {wanted:?}"))
        }
        Check::Names(name, wanted) => {
            let wanted: Vec<String> = wanted.iter().map(|text| vars.fill(text)).collect();
            let found: Vec<String> = answer.all(name).iter().map(|text| url_decoded(text)).collect();
            (found == wanted, format!("the elements <{name}> to mean {wanted:?}"))
        }
    };
    (!holds).then_some(words)
}

/// A text of a listing with `encoding-type=url`.
pub fn url_decoded(text: &str) -> String {
    let text = format!("x={}", text.replace('&', "%26"));
    url::form_urlencoded::parse(text.as_bytes()).next().map_or_else(String::new, |(_, value)| value.into_owned())
}

fn cut(text: &str) -> String {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    shown.escape_debug().to_string()
}

fn show(answer: &Answer) -> String {
    let headers: Vec<String> = answer
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    format!("{}\n    {}\n    {}", answer.status.as_u16(), headers.join("\n    "), cut(&answer.text()))
}

/// A request of root's own, outside the table.
pub fn plain(endpoint: &Endpoint, method: &'static str, target: &str) -> Call {
    let (access, secret) = endpoint.key(&Who::Root, &BTreeMap::new());
    Call::new(method, target).form(Form::Hashed).with_key(&access, &secret).region(&endpoint.region)
}
