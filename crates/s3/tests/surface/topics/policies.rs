//! Bucket policies: what is one, and what it lets whom do.

use crate::common::Form;
use crate::row::{Row, Scene, Who, delete, get, post, put, scene};

fn policy(statements: &str) -> Row {
    put("/{b}?policy").sends(format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#))
}

const PUBLIC: &str = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*"}"#;
const OPEN: &str =
    r#"{"Sid":"1","Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/open/*"}"#;
const SHUT_TO_READER: &str = r#"{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/{reader}"},"Action":"s3:*","Resource":"arn:aws:s3:::{b}/shut/*"}"#;
const DROP_FOR_STRANGER: &str = r#"{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/{stranger}"},"Action":["s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::{b}","arn:aws:s3:::{b}/drop/*"]}"#;
const CONDITIONS: &str = r#"{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{b}/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/team":"red"},"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:ListBucket","Resource":"arn:aws:s3:::{b}","Condition":{"StringLike":{"s3:prefix":"pub/*"}}},
    {"Effect":"Allow","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::{b}/*","Condition":{"Bool":{"aws:SecureTransport":"true"}}}"#;

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
    ]
}
