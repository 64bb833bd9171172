//! Messages are JSON that reads back, whatever is in a name.

use notify::{Event, EventName, Object, encode_key, render, sequencer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn event(name: EventName, object: Option<Object>) -> Event {
    Event {
        name,
        time_ms: 1_700_000_000_007,
        bucket: "bbb".to_owned(),
        owner: "root".to_owned(),
        configuration: "cfg".to_owned(),
        object,
        principal: "alice".to_owned(),
        source: "192.0.2.7".to_owned(),
        request: Some("00A1".to_owned()),
    }
}

#[test]
fn a_put_is_told_as_s3_tells_it() {
    let object = Object {
        key: "a b/c".to_owned(),
        size: Some(5),
        etag: Some("e-1".to_owned()),
        version: Some("null".to_owned()),
    };
    let read: Value = serde_json::from_str(&render(&event(EventName::Put, Some(object)), 31, "eu-west-1")).unwrap();
    let expected = json!({"Records": [{
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2023-11-14T22:13:20.007Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "alice"},
        "requestParameters": {"sourceIPAddress": "192.0.2.7"},
        "responseElements": {"x-amz-request-id": "00A1"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "cfg",
            "bucket": {"name": "bbb", "ownerIdentity": {"principalId": "root"}, "arn": "arn:aws:s3:::bbb"},
            "object": {"key": "a+b/c", "size": 5, "eTag": "e-1", "versionId": "null", "sequencer": "000000000000001F"},
        },
    }]});
    assert_eq!(read, expected);
}

#[test]
fn what_is_not_there_is_not_told() {
    let gone = |name| {
        let object = Object { key: "k".to_owned(), size: None, etag: None, version: None };
        let read: Value = serde_json::from_str(&render(&event(name, Some(object)), 1, "r")).unwrap();
        read["Records"][0]["s3"]["object"].clone()
    };
    assert_eq!(gone(EventName::Delete), json!({"key": "k", "sequencer": sequencer(1)}));
    let marker = json!({"key": "k", "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": sequencer(1)});
    assert_eq!(gone(EventName::DeleteMarkerCreated), marker);
    assert_eq!(gone(EventName::ExpiredMarker), marker);
}

#[test]
fn a_test_event() {
    let read: Value = serde_json::from_str(&render(&event(EventName::Test, None), 1, "r")).unwrap();
    assert_eq!((&read["Event"], &read["Bucket"]), (&json!("s3:TestEvent"), &json!("bbb")));
    assert_eq!(read["Time"], "2023-11-14T22:13:20.007Z");
}

/// Undoes [`encode_key`], as consumers do.
fn decode(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn any_event_reads_back(
        which in 0..EventName::ALL.len(),
        key in any::<String>(),
        principal in any::<String>(),
        configuration in any::<String>(),
        size in any::<Option<u64>>(),
        time_ms in any::<u64>(),
        sequence in any::<u64>(),
    ) {
        let object = Object { key: key.clone(), size, etag: None, version: None };
        let told = Event { principal: principal.clone(), configuration: configuration.clone(), time_ms, ..event(EventName::ALL[which], Some(object)) };
        let bytes = postcard::to_allocvec(&told).unwrap();
        prop_assert_eq!(&postcard::from_bytes::<Event>(&bytes).unwrap(), &told);
        let read: Value = serde_json::from_str(&render(&told, sequence, "r")).unwrap();
        let record = &read["Records"][0];
        prop_assert_eq!(decode(record["s3"]["object"]["key"].as_str().unwrap()), key.clone());
        prop_assert!(encode_key(&key).is_ascii());
        prop_assert_eq!(record["userIdentity"]["principalId"].as_str().unwrap(), principal);
        prop_assert_eq!(record["s3"]["configurationId"].as_str().unwrap(), configuration);
        prop_assert_eq!(record["s3"]["object"]["size"].as_u64(), size);
        prop_assert_eq!(record["s3"]["object"]["sequencer"].as_str().unwrap(), sequencer(sequence));
    }
}
