//! What is not implemented says so: each operation that the reference calls so, as botocore would
//! send it.

use crate::row::{Row, Scene, call, put, scene};

/// Name, method and target of each operation of S3.
const OPERATIONS: &str = include_str!("../../../src/operations.txt");
/// Which of them there are.
const REFERENCE: &str = include_str!("../../../../../docs/reference/s3.md");

/// In operations whose host is not the endpoint's, or that are others' under an older name.
const ELSEWHERE: &[&str] = &[
    "WriteGetObjectResponse",
    "GetBucketLifecycle",
    "PutBucketLifecycle",
    "GetBucketNotification",
    "PutBucketNotification",
    "ListDirectoryBuckets",
];

fn request(line: &str) -> Option<Row> {
    let (name, rest) = line.split_once(' ')?;
    let (method, target) = rest.split_once(' ')?;
    let missing = REFERENCE.contains(&format!("| {name} | not implemented |"));
    if !missing || ELSEWHERE.contains(&name) {
        return None;
    }
    let method = ["DELETE", "GET", "HEAD", "POST", "PUT"].into_iter().find(|known| *known == method)?;
    let target = target.replace("{Bucket}", "{b}").replace("{Key+}", "k");
    // S3 has them, and answers in many ways: Holdfast is held to one.
    Some(call(method, target).is(200).differs(501, "NotImplemented", "not in the reference of operations"))
}

pub fn scenes() -> Vec<Scene> {
    let rows = OPERATIONS.lines().filter(|line| !line.starts_with('#')).filter_map(request);
    let mut missing = scene("what is not implemented", [put("/{b}/k").sends("x")].into_iter().chain(rows));
    missing.holdfast_only = true;
    vec![missing]
}
