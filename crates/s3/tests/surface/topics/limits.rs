//! How much is too much.

use crate::common::Form;
use crate::row::{Row, Scene, get, head, post, put, scene};

fn cors_rules(count: usize) -> Row {
    let rule = "<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>";
    put("/{b}?cors").sends(format!("<CORSConfiguration>{}</CORSConfiguration>", rule.repeat(count)))
}

fn lifecycle_rules(count: usize) -> Row {
    let rule = |number| {
        format!(
            "<Rule><ID>{number}</ID><Status>Enabled</Status><Filter><Prefix>{number}/</Prefix></Filter><Expiration><Days>7</Days></Expiration></Rule>"
        )
    };
    let rules: String = (0..count).map(rule).collect();
    put("/{b}?lifecycle").sends(format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>"))
}

fn policy(padding: usize) -> Row {
    let sid = "s".repeat(padding);
    put("/{b}?policy").sends(format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Sid":"{sid}","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{{b}}/none"}}]}}"#
    ))
}

/// So many bytes of user metadata, names and values together.
fn metadata(bytes: usize) -> Row {
    put("/{b}/k").sends("x").with("x-amz-meta-a", "v".repeat(bytes - "a".len()))
}

fn parts(count: u32) -> Row {
    let parts: String =
        (1..=count).map(|number| format!("<Part><PartNumber>{number}</PartNumber><ETag>\"0\"</ETag></Part>")).collect();
    post("/{b}/k?uploadId={id}").sends(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>"))
}

const MATCHED: &str = "what policies match is bounded";

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    let (longest, longer) = ("k".repeat(1024), "k".repeat(1025));
    // 512 characters of two bytes.
    let wide = "\u{e4}".repeat(512);
    vec![
        scene("keys", [
            put("/{b}/{key}").sends("x"),
            get("/{b}/{key}").gives("x"),
            get("/{b}").tag("Key", "{key}"),
            put("/{b}/{long}").sends("x").fails(400, "KeyTooLongError"),
            get("/{b}/{long}").fails(400, "KeyTooLongError"),
            head("/{b}/{long}").is(400),
            post("/{b}/{long}?uploads").fails(400, "KeyTooLongError"),
            put("/{b}/{wide}").sends("x"),
            get("/{b}/{wide}").gives("x"),
            put("/{b}/{wide}a").sends("x").fails(400, "KeyTooLongError"),
        ]).var("key", longest).var("long", longer).var("wide", wide),
        scene("metadata", [
            metadata(2048),
            head("/{b}/k").says("x-amz-meta-a", "*"),
            metadata(2049).fails(400, "MetadataTooLarge"),
            put("/{b}/k").sends("x").with("x-amz-meta-a", "v".repeat(1500)).with("x-amz-meta-b", "v".repeat(1500)).fails(400, "MetadataTooLarge"),
            post("/{b}/k?uploads").with("x-amz-meta-a", "v".repeat(2100)).fails(400, "MetadataTooLarge"),
        ]),
        scene("heads", [
            get("/{b}").with("x-filler", "f".repeat(7000)),
            get("/{b}").with("x-filler", "f".repeat(33_000)).fails(400, "RequestHeaderSectionTooLarge"),
            get("/{b}").with("user-agent", "a".repeat(2048)).with("referer", "r".repeat(2048)),
            get("/{b}").with("user-agent", "a".repeat(2049)).differs(400, "RequestHeaderSectionTooLarge", MATCHED),
            get("/{b}").with("referer", "r".repeat(2049)).differs(400, "RequestHeaderSectionTooLarge", MATCHED),
            get("/{b}").query("x-amz-storage-class", "S".repeat(2049)).form(Form::Presigned(60)).fails(400, "RequestHeaderSectionTooLarge"),
            get("/{b}").query("prefix", "p".repeat(1024)).query("delimiter", "d".repeat(1024)),
            get("/{b}").query("prefix", "p".repeat(4097)).differs(400, "InvalidArgument", MATCHED),
        ]),
        scene("configurations", [
            cors_rules(100),
            cors_rules(101).fails(400, "MalformedXML"),
            lifecycle_rules(1000),
            lifecycle_rules(1001).fails(400, "MalformedXML"),
            policy(100).is(204),
            policy(20_481).fails(400, "PolicyTooLarge").differs(400, "MalformedPolicy", "one code for all policies that are refused"),
        ]),
        scene("parts", [
            post("/{b}/k?uploads").keep("id", "<UploadId>"),
            parts(10_000).fails(400, "InvalidPart"),
            parts(10_001).fails(400, "MalformedXML"),
        ]),
    ]
}
