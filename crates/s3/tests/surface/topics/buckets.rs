//! Buckets: names, lives, what is asked of them.

use crate::row::{Row, Scene, delete, get, head, put, scene};

/// Names that S3 does not take ("Bucket naming rules").
const BAD_NAMES: &[&str] = &[
    "ab",
    "A-name",
    "nAme",
    "a_b",
    "-ab",
    "ab-",
    ".ab",
    "ab.",
    "a..b",
    "192.168.5.4",
    "a b",
    "a!b",
    "xn--ab",
    "sthree-ab",
    "amzn-s3-demo-ab",
    "ab-s3alias",
    "ab--ol-s3",
    "ab--x-s3",
    "ab.mrap",
];

fn bad_names() -> Vec<Row> {
    let long = format!("/{}", "a".repeat(64));
    let rows = BAD_NAMES.iter().map(|name| put(format!("/{name}")).fails(400, "InvalidBucketName"));
    rows.chain([put(long).fails(400, "InvalidBucketName")]).collect()
}

const TAGS: &str = "<Tags><Tag><Key>team</Key><Value>red/blue</Value></Tag></Tags>";

/// What a bucket can be asked for, and what is said of one that does not exist.
const ASKED: &[&str] = &[
    "acl",
    "cors",
    "encryption",
    "lifecycle",
    "location",
    "logging",
    "object-lock",
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "requestPayment",
    "tagging",
    "uploads",
    "versioning",
    "versions",
    "website",
    "accelerate",
    "list-type=2",
];

fn none_there() -> Vec<Row> {
    let asked = ASKED.iter().map(|sub| get(format!("/{{c}}?{sub}")).fails(404, "NoSuchBucket"));
    let deleted =
        ["cors", "encryption", "lifecycle", "ownershipControls", "policy", "publicAccessBlock", "tagging", "website"];
    let deleted = deleted.iter().map(|sub| delete(format!("/{{c}}?{sub}")).fails(404, "NoSuchBucket"));
    let others =
        [get("/{c}").fails(404, "NoSuchBucket"), head("/{c}").is(404), delete("/{c}").fails(404, "NoSuchBucket")];
    asked.chain(deleted).chain(others).collect()
}

#[rustfmt::skip]
pub fn scenes() -> Vec<Scene> {
    vec![
        scene("life", [
            head("/{c}").is(404).gives(""),
            put("/{c}").says("location", "/{c}").gives(""),
            head("/{c}").gives("").says("x-amz-bucket-region", "*"),
            put("/{c}").is(200).differs(409, "BucketAlreadyOwnedByYou", "S3 says so everywhere but in us-east-1"),
            get("/").has("<Name>{c}</Name>").has("<CreationDate>").has("<Owner>"),
            put("/{c}/k").sends("x"),
            delete("/{c}").fails(409, "BucketNotEmpty"),
            delete("/{c}/k").is(204),
            delete("/{c}").is(204).gives(""),
            delete("/{c}").fails(404, "NoSuchBucket"),
            get("/").lacks("<Name>{c}</Name>"),
        ]),
        scene("bad names", bad_names()),
        scene("none there", none_there()),
        scene("where it is", [
            get("/{b}?location").has("<LocationConstraint").lacks("<LocationConstraint>us"),
            put("/{c}").sends("<CreateBucketConfiguration><LocationConstraint>nowhere-9</LocationConstraint></CreateBucketConfiguration>").fails(400, "InvalidLocationConstraint").differs(200, "", "a bucket is where the five sites are, whatever is asked"),
            put("/{d}").sends("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"/>"),
        ]),
        scene("with tags", [
            put("/{c}").sends(format!("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>us-west-2</LocationConstraint>{TAGS}</CreateBucketConfiguration>")),
            get("/{c}?tagging").tag("Key", "team").tag("Value", "red/blue"),
            put("/{d}").sends("<CreateBucketConfiguration><Tags><Tag><Key></Key><Value>v</Value></Tag></Tags></CreateBucketConfiguration>").fails(400, "InvalidTag"),
            put("/{d}").sends("<CreateBucketConfiguration><Tags></Tags></CreateBucketConfiguration>"),
            get("/{d}?tagging").fails(404, "NoSuchTagSet"),
        ]),
        scene("uploads keep it", [
            crate::row::post("/{b}/k?uploads").keep("id", "<UploadId>"),
            delete("/{b}").is(204).differs(409, "BucketNotEmpty", "unfinished uploads are not thrown away with their bucket"),
        ]),
        scene("list of buckets", [
            put("/{c}"),
            get("/").query("prefix", "{b}").tags("Name", &["{b}"]).tag("Prefix", "{b}"),
            get("/").query("prefix", "no-such-prefix").lacks("<Name>"),
            get("/?max-buckets=0").fails(400, "InvalidArgument"),
            get("/?max-buckets=10001").fails(400, "InvalidArgument"),
            get("/?max-buckets=many").fails(400, "InvalidArgument"),
            get("/?max-buckets=1").has("<ContinuationToken>"),
            get("/?continuation-token=no token").fails(400, "InvalidArgument"),
            get("/").anonymous().is(307).differs(403, "AccessDenied", "S3 sends browsers to its web site"),
        ]),
    ]
}
