//! The log of `docs/spec/audit.md`, which an independent program computed.

use std::collections::BTreeMap;

use super::*;
use crate::folder::segment_name;
use crate::{VerifierKey, checkpoint, entry, prove, verify};

const SPEC: &str = include_str!("../../../../docs/spec/audit.md");

/// The blocks under the heading, in their order.
fn blocks() -> Vec<&'static str> {
    let vectors = SPEC.split_once("## Vectors").unwrap().1;
    vectors.split("```\n").skip(1).step_by(2).collect()
}

fn events() -> Vec<Event> {
    let first = Event {
        time_ms: 1_767_225_600_000,
        principal: "arn:aws:iam::000000000000:user/alice".to_owned(),
        account: AccountId::DEFAULT,
        action: "kms:Decrypt".to_owned(),
        resource: "portion/reports".to_owned(),
        outcome: Outcome::Allowed,
        request_id: "r-1".to_owned(),
        details: BTreeMap::new(),
    };
    let second = Event {
        time_ms: 1_767_225_600_001,
        principal: "holdfast".to_owned(),
        account: AccountId::from_bytes(7u64.to_be_bytes()).unwrap(),
        action: "portion:rotate".to_owned(),
        resource: "portion/r\u{e9}sum\u{e9}s".to_owned(),
        outcome: Outcome::Failed,
        request_id: String::new(),
        details: [("why", "\"full\""), ("a", "line\nbreak")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    };
    vec![first, second]
}

#[test]
fn the_log_of_the_specification() {
    let [segment, leaves, note, vkey, proof] = blocks()[..] else { panic!("there are five blocks") };
    let seed: Vec<u8> = (0..32).collect();
    let signer = Signer::from_seed("log.example/site-1", seed.as_slice().try_into().unwrap()).unwrap();
    let key: VerifierKey = vkey.trim_end().parse().unwrap();
    assert_eq!(signer.verifier(), &key);
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path(), signer, quiet()).unwrap();
    assert_eq!(block_on(log.append(events())).unwrap(), 0..2);
    log.close().unwrap();

    let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
    assert_eq!(String::from_utf8(read(&segment_name(0))).unwrap(), segment);
    let expected: Vec<u8> = leaves.lines().flat_map(|line| hex::decode(line).unwrap()).collect();
    assert_eq!(read("tile/0/000.p/2"), expected);
    let told = format!("has {} bytes", read("tile/entries/000.p/2").len());
    assert!(SPEC.contains(&told), "{told}");
    assert_eq!(checkpoint(dir.path()).unwrap().unwrap(), note);
    assert_eq!(prove(dir.path(), 0).unwrap().to_string(), proof);
    let proof: crate::InclusionProof = proof.parse().unwrap();
    assert_eq!(proof.verify(&entry(dir.path(), 0).unwrap(), &key).unwrap().size, 2);
    assert!(verify(dir.path(), &key).unwrap().is_whole());
}
