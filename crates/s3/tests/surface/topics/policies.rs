//! Bucket policies: what is one, and what it lets whom do.

use crate::common::{Form, md5_base64};
use crate::row::{Row, Scene, Who, delete, get, head, post, put, scene};

fn policy(statements: &str) -> Row {
    put("/{b}?policy").sends(format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#))
}

const PUBLIC: &str = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}"#;
const OPEN: &str =
    r#"{"Sid":"1","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/open/*"}"#;
const SHUT_TO_READER: &str = r#"{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/{reader}"},"Action":"s3:*","Resource":"arn:aws:s3:::{b}/shut/*"}"#;
const DROP_FOR_STRANGER: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/{stranger}"},"Action":["s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::{b}","arn:aws:s3:::{b}/drop/*"]}"#;
const DELETE: &str = "<Delete><Object><Key>k</Key></Object></Delete>";
const CONDITIONS: &str = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"red"},"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::{b}","Condition":{"StringLike":{"s3:prefix":"pub/*"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::{b}/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#;

const ANYTHING: &str = "arn:aws:s3:::{b}/*";
const LOCKED: &str = "arn:aws:s3:::{c}/*";

/// Lets the stranger do something under a condition.
fn lets(action: &str, resource: &str, condition: &str) -> String {
    statement("Allow", r#"{"AWS":"arn:aws:iam::000000000000:user/{stranger}"}"#, action, resource, condition)
}

/// Keeps everybody from something under a condition.
fn bars(action: &str, resource: &str, condition: &str) -> String {
    statement("Deny", r#""*""#, action, resource, condition)
}

fn statement(effect: &str, whom: &str, action: &str, resource: &str, condition: &str) -> String {
    format!(
        r#"{{"Effect":"{effect}","Principal":{whom},"Action":"{action}","Resource":"{resource}","Condition":{{{condition}}}}}"#
    )
}

fn tagged(row: Row, pairs: &[(&str, &str)]) -> Row {
    let tags: String =
        pairs.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>")).collect();
    row.sends(format!("<Tagging><TagSet>{tags}</TagSet></Tagging>"))
}

fn tags(pairs: &[(&str, &str)]) -> Row {
    tagged(put("/{b}/k?tagging"), pairs)
}

fn retained(mode: &str, year: u16) -> Row {
    put("/{c}/k?retention").sends(format!(
        "<Retention><Mode>{mode}</Mode><RetainUntilDate>{year}-01-01T00:00:00Z</RetainUntilDate></Retention>"
    ))
}

fn held(status: &str) -> Row {
    put("/{c}/k?legal-hold").sends(format!("<LegalHold><Status>{status}</Status></LegalHold>"))
}

fn kept(body: &str, tags: &str) -> Row {
    let row = put("/{c}/k").sends(body).with("content-md5", md5_base64(body.as_bytes()));
    let row = row.with("x-amz-object-lock-mode", "GOVERNANCE");
    row.with("x-amz-object-lock-retain-until-date", "2090-01-01T00:00:00Z").with("x-amz-tagging", tags)
}

fn bypass(row: Row) -> Row {
    row.with("x-amz-bypass-governance-retention", "true")
}

fn copied(from: &str) -> Row {
    put("/{b}/to").by(Who::Stranger).with("x-amz-copy-source", from)
}

fn denied(row: Row) -> Row {
    row.fails(403, "AccessDenied")
}

fn nobody(row: Row) -> Row {
    row.anonymous()
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("documents", [
            get("/{b}?policy").fails(404, "NoSuchBucketPolicy"),
            get("/{b}?policyStatus").fails(404, "NoSuchBucketPolicy"),
            delete("/{b}?policy").is(204),
            put("/{b}?policy").sends("{").fails(400, "MalformedPolicy"),
            put("/{b}?policy").sends("[]").fails(400, "MalformedPolicy"),
            put("/{b}?policy").sends("{}").fails(400, "MalformedPolicy"),
            put("/{b}?policy").sends("<Policy/>").fails(400, "MalformedPolicy"),
            put("/{b}?policy").sends(r#"{"Version":"2012-10-17","Statement":[]}"#).fails(400, "MalformedPolicy"),
            put("/{b}?policy").sends(r#"{"Version":"1999-01-01","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}]}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::other/*"}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject"}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Principal":"*","Resource":"arn:aws:s3:::{b}/*"}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Perhaps","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Principal":"*","Action":"s3:Juggle","Resource":"arn:aws:s3:::{b}/*"}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*","Condition":{"Sounds":{"s3:prefix":"a"}}}"#).fails(400, "MalformedPolicy"),
            policy(r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*","Colour":"red"}"#).fails(400, "MalformedPolicy"),
            get("/{b}?policy").fails(404, "NoSuchBucketPolicy"),
            policy(PUBLIC).is(204),
            get("/{b}?policy").says("content-type", "application/json").gives(format!(r#"{{"Version":"2012-10-17","Statement":[{PUBLIC}]}}"#)),
            get("/{b}?policyStatus").tag("IsPublic", "true"),
            delete("/{b}?policy").is(204),
            get("/{b}?policy").fails(404, "NoSuchBucketPolicy"),
        ]),
        scene("everybody", [
            put("/{b}/open/a").sends("open"),
            put("/{b}/shut/a").sends("shut"),
            policy(OPEN).is(204),
            nobody(get("/{b}/open/a")).gives("open"),
            nobody(get("/{b}/open/a")).with("range", "bytes=1-2").is(206).gives("pe"),
            nobody(get("/{b}/open/none")).fails(403, "AccessDenied").differs(404, "NoSuchKey", "what may be read may be known not to be there"),
            nobody(get("/{b}/shut/a")).fails(403, "AccessDenied"),
            nobody(put("/{b}/open/b")).sends("x").fails(403, "AccessDenied"),
            nobody(delete("/{b}/open/a")).fails(403, "AccessDenied"),
            nobody(get("/{b}")).fails(403, "AccessDenied"),
            nobody(get("/{b}?policy")).fails(403, "AccessDenied"),
            nobody(get("/{b}?acl")).fails(403, "AccessDenied"),
            nobody(get("/{c}/a")).fails(404, "NoSuchBucket").differs(403, "AccessDenied", "nobody learns which buckets there are"),
            nobody(get("/{b}/open/a?tagging")).fails(403, "AccessDenied"),
            nobody(post("/{b}/open/a?uploads")).fails(403, "AccessDenied"),
            get("/{b}/open/a").form(Form::Presigned(60)).gives("open"),
        ]),
        scene("users", [
            put("/{b}/open/a").sends("open"),
            put("/{b}/shut/a").sends("shut"),
            policy(&format!("{OPEN},{SHUT_TO_READER},{DROP_FOR_STRANGER}")).is(204),
            get("/{b}?policyStatus").tag("IsPublic", "true"),
            get("/{b}/open/a").by(Who::Reader),
            get("/{b}/shut/a").by(Who::Reader).fails(403, "AccessDenied"),
            get("/{b}/other").by(Who::Reader).fails(404, "NoSuchKey"),
            put("/{b}/drop/a").by(Who::Reader).sends("x").fails(403, "AccessDenied"),
            put("/{b}/open/x").by(Who::Reader).with("x-amz-copy-source", "/{b}/open/a").fails(403, "AccessDenied"),
            put("/{b}?policy").by(Who::Reader).sends("{}").fails(403, "AccessDenied"),
            put("/{b}/drop/a").by(Who::Stranger).sends("x"),
            put("/{b}/else/a").by(Who::Stranger).sends("x").fails(403, "AccessDenied"),
            get("/{b}/drop/a").by(Who::Stranger).fails(403, "AccessDenied"),
            get("/{b}").by(Who::Stranger).has("drop/a"),
            put("/{b}/drop/b").by(Who::Stranger).with("x-amz-copy-source", "/{b}/open/a"),
            put("/{b}/drop/c").by(Who::Stranger).with("x-amz-copy-source", "/{b}/shut/a").fails(403, "AccessDenied"),
            post("/{b}?delete").by(Who::Stranger).sends("<Delete><Object><Key>drop/a</Key></Object></Delete>").tag("Code", "AccessDenied"),
            get("/{b}/drop/a").gives("x"),
            get("/{b}/drop/c").fails(404, "NoSuchKey"),
        ]).with_users(),
        scene("what is public can be blocked", [
            put("/{b}/open/a").sends("open"),
            policy(PUBLIC).is(204),
            nobody(get("/{b}/open/a")).gives("open"),
            put("/{b}?publicAccessBlock").sends("<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets><BlockPublicPolicy>true</BlockPublicPolicy></PublicAccessBlockConfiguration>"),
            nobody(get("/{b}/open/a")).fails(403, "AccessDenied"),
            policy(OPEN).fails(403, "AccessDenied"),
            delete("/{b}?publicAccessBlock").is(204),
            nobody(get("/{b}/open/a")).gives("open"),
        ]),
        scene("the owner cannot be shut out for good", [
            put("/{b}/k").sends("x"),
            policy(r#"{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::{b}","arn:aws:s3:::{b}/*"]}"#).is(204),
            get("/{b}/k").fails(403, "AccessDenied"),
            put("/{b}/k").sends("y").fails(403, "AccessDenied"),
            get("/{b}?policy").has("Deny"),
            delete("/{b}?policy").is(204),
            get("/{b}/k").gives("x"),
        ]),
        scene("conditions", [
            put("/{b}/red").sends("x").with("x-amz-tagging", "team=red"),
            put("/{b}/blue").sends("x").with("x-amz-tagging", "team=blue"),
            policy(CONDITIONS).is(204),
            nobody(get("/{b}/red")).gives("x"),
            nobody(get("/{b}/blue")).fails(403, "AccessDenied"),
            nobody(get("/{b}/none")).fails(403, "AccessDenied"),
            nobody(get("/{b}?prefix=pub/")).is(200),
            nobody(get("/{b}?list-type=2&prefix=pub/x")).is(200),
            nobody(get("/{b}")).fails(403, "AccessDenied"),
            nobody(get("/{b}?prefix=priv/")).fails(403, "AccessDenied"),
            nobody(put("/{b}/new")).sends("x").fails(403, "AccessDenied"),
        ]),
        scene("tags that a document puts", [
            put("/{b}/k").sends("x"),
            policy(&format!(
                "{},{}",
                lets("s3:PutObjectTagging", ANYTHING, r#""StringEquals":{"s3:RequestObjectTag/team":"red"},"ForAllValues:StringEquals":{"s3:RequestObjectTagKeys":["team"]}"#),
                bars("s3:PutObjectTagging", ANYTHING, r#""Null":{"s3:RequestObjectTag/secret":"false"}"#),
            )).is(204),
            tags(&[("team", "red")]).by(Who::Stranger),
            denied(tags(&[("team", "blue")]).by(Who::Stranger)),
            denied(tags(&[("team", "blue")]).by(Who::Stranger).with("x-amz-tagging", "team=red")),
            denied(tags(&[("team", "red"), ("more", "1")]).by(Who::Stranger)),
            denied(tags(&[]).by(Who::Stranger)),
            denied(tags(&[("secret", "1")])),
            tags(&[("open", "1")]),
            get("/{b}/k?tagging").tags("Key", &["open"]),
        ]).with_users(),
        scene("tags that a copy takes along", [
            put("/{b}/red").sends("x").with("x-amz-tagging", "team=red"),
            put("/{b}/blue").sends("x").with("x-amz-tagging", "team=blue"),
            put("/{b}/plain").sends("x"),
            policy(&format!(
                "{},{}",
                lets("s3:PutObjectTagging", ANYTHING, r#""StringEquals":{"s3:RequestObjectTag/team":"blue"}"#),
                r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/{stranger}"},"Action":["s3:PutObject","s3:GetObject","s3:GetObjectTagging"],"Resource":"arn:aws:s3:::{b}/*"}"#,
            )).is(204),
            copied("/{b}/plain"),
            denied(copied("/{b}/red")),
            copied("/{b}/blue"),
            get("/{b}/to?tagging").tag("Value", "blue"),
            // What a copy passes over satisfies nothing.
            denied(copied("/{b}/red").with("x-amz-tagging", "team=blue")),
            denied(copied("/{b}/plain").with("x-amz-tagging", "team=blue")),
            copied("/{b}/red").with("x-amz-tagging", "team=blue").with("x-amz-tagging-directive", "REPLACE"),
            denied(copied("/{b}/red").with("x-amz-tagging", "team=red").with("x-amz-tagging-directive", "REPLACE")),
        ]).with_users(),
        scene("locks that a document puts", [
            put("/{c}").with("x-amz-bucket-object-lock-enabled", "true"),
            put("/{c}/k").sends("x").keep("id", "x-amz-version-id"),
            put("/{c}?policy").sends(format!(
                r#"{{"Version":"2012-10-17","Statement":[{},{},{},{}]}}"#,
                bars("s3:PutObjectRetention", LOCKED, r#""StringEquals":{"s3:object-lock-mode":"COMPLIANCE"}"#),
                bars("s3:PutObjectRetention", LOCKED, r#""NumericGreaterThan":{"s3:object-lock-remaining-retention-days":"100000"}"#),
                bars("s3:PutObjectRetention", LOCKED, r#""DateLessThan":{"s3:object-lock-retain-until-date":"2085-01-01T00:00:00Z"}"#),
                bars("s3:PutObjectLegalHold", LOCKED, r#""StringEquals":{"s3:object-lock-legal-hold":"ON"}"#),
            )).is(204),
            denied(retained("COMPLIANCE", 2090)),
            denied(retained("COMPLIANCE", 2090).with("x-amz-object-lock-mode", "GOVERNANCE")),
            denied(retained("GOVERNANCE", 2490)),
            denied(retained("GOVERNANCE", 2080)),
            retained("GOVERNANCE", 2090),
            denied(held("ON")),
            held("OFF"),
            denied(kept("y", "").with("x-amz-object-lock-legal-hold", "ON")),
            bypass(delete("/{c}/k?versionId={id}")).is(204),
        ]),
        scene("the age of a signature", [
            put("/{b}/k").sends("x"),
            policy(&bars("s3:GetObject", ANYTHING, r#""NumericGreaterThan":{"s3:signatureAge":"60000"}"#)).is(204),
            get("/{b}/k"),
            denied(get("/{b}/k").clock(-120)),
            get("/{b}/k").form(Form::Presigned(600)),
            denied(get("/{b}/k").form(Form::Presigned(600)).clock(-120)),
        ]),
        scene("keys that S3 does not have", [
            policy(&bars("s3:GetObject", ANYTHING, r#""StringEquals":{"s3:object-lock-colour":"red"}"#)).fails(400, "MalformedPolicy").has("Policy has an invalid condition key"),
        ]),
        scene("the version that is asked about", [
            put("/{b}?versioning").sends(super::ENABLED),
            put("/{b}/k").sends("one").keep("one", "x-amz-version-id"),
            put("/{b}/k").sends("two").keep("two", "x-amz-version-id"),
            policy(&format!(
                "{},{},{}",
                lets("s3:GetObjectVersion", ANYTHING, r#""StringEquals":{"s3:VersionId":"{one}"}"#),
                lets("s3:DeleteObjectVersion", ANYTHING, r#""StringEquals":{"s3:VersionId":"{two}"}"#),
                lets("s3:PutObject", ANYTHING, r#""Null":{"s3:VersionId":"true"}"#),
            )).is(204),
            get("/{b}/k?versionId={one}").by(Who::Stranger).gives("one"),
            denied(get("/{b}/k?versionId={two}").by(Who::Stranger)),
            copied("/{b}/k?versionId={one}"),
            denied(copied("/{b}/k?versionId={two}")),
            post("/{b}?delete").by(Who::Stranger).sends("<Delete><Object><Key>k</Key><VersionId>{one}</VersionId></Object></Delete>").tag("Code", "AccessDenied"),
            post("/{b}?delete").by(Who::Stranger).sends("<Delete><Object><Key>k</Key><VersionId>{two}</VersionId></Object></Delete>").lacks("<Error>"),
        ]).with_users(),
        scene("a bypass is judged by the version's tags", [
            put("/{c}").with("x-amz-bucket-object-lock-enabled", "true"),
            kept("one", "state=kept").keep("one", "x-amz-version-id"),
            kept("two", "state=free").keep("two", "x-amz-version-id"),
            put("/{c}?policy").sends(format!(
                r#"{{"Version":"2012-10-17","Statement":[{},{}]}}"#,
                lets("s3:DeleteObjectVersion", LOCKED, ""),
                lets("s3:BypassGovernanceRetention", LOCKED, r#""StringEquals":{"s3:ExistingObjectTag/state":"free"}"#),
            )).is(204),
            denied(bypass(delete("/{c}/k?versionId={one}")).by(Who::Stranger)),
            bypass(delete("/{c}/k?versionId={two}")).by(Who::Stranger).is(204),
            bypass(delete("/{c}/k?versionId={one}")).is(204),
        ]).with_users(),
        scene("what a read tells", [
            put("/{c}").with("x-amz-bucket-object-lock-enabled", "true"),
            kept("x", "a=1").with("x-amz-object-lock-legal-hold", "ON").keep("id", "x-amz-version-id"),
            put("/{c}?policy").sends(format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, lets("s3:GetObject", LOCKED, ""))).is(204),
            get("/{c}/k").says("x-amz-tagging-count", "1").says("x-amz-object-lock-mode", "GOVERNANCE").says("x-amz-object-lock-legal-hold", "ON"),
            get("/{c}/k").by(Who::Stranger).hides("x-amz-tagging-count").hides("x-amz-object-lock-mode").hides("x-amz-object-lock-retain-until-date").hides("x-amz-object-lock-legal-hold"),
            head("/{c}/k").by(Who::Stranger).hides("x-amz-tagging-count").hides("x-amz-object-lock-mode").hides("x-amz-object-lock-legal-hold"),
            put("/{c}?policy").sends(format!(r#"{{"Version":"2012-10-17","Statement":[{},{}]}}"#, lets("s3:GetObject*", LOCKED, ""), bars("s3:GetObjectRetention", LOCKED, ""))).is(204),
            head("/{c}/k").by(Who::Stranger).says("x-amz-tagging-count", "1").hides("x-amz-object-lock-mode").says("x-amz-object-lock-legal-hold", "ON"),
            delete("/{c}?policy").is(204),
            put("/{c}/k?legal-hold").sends("<LegalHold><Status>OFF</Status></LegalHold>"),
            bypass(delete("/{c}/k?versionId={id}")).is(204),
        ]).with_users(),
        scene("users by canonical id", [
            put("/{b}/k").sends("x"),
            policy(r#"{"Effect":"Allow","Principal":{"CanonicalUser":"{stranger}"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"},{"Effect":"Deny","Principal":{"CanonicalUser":"{reader}"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}"#).is(204),
            get("/{b}/k").by(Who::Stranger).gives("x"),
            denied(get("/{b}/k").by(Who::Reader)),
            get("/{b}/k").gives("x"),
        ]).with_users(),
        scene("nobody learns which buckets there are", [
            nobody(post("/{b}?delete")).sends(DELETE).tag("Code", "AccessDenied").differs(403, "AccessDenied", "a stranger's document is not read where nothing can let him in"),
            nobody(post("/{c}?delete")).sends(DELETE).fails(404, "NoSuchBucket").differs(403, "AccessDenied", "nobody learns which buckets there are"),
        ]),
    ]
}
