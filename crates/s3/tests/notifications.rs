//! Event notifications, from the request to the target.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::World;
use parking_lot::Mutex;
use serde_json::Value;
use store::{EventOptions, Message, Target, TargetError, TargetOptions};

/// Bounds every wait; it only matters when something is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// A target in memory.
#[derive(Default)]
struct Sink {
    taken: Mutex<Vec<Value>>,
    /// Whether it takes anything.
    dead: Mutex<bool>,
}

#[async_trait::async_trait]
impl Target for Sink {
    async fn send(&self, message: &Message) -> Result<(), TargetError> {
        if *self.dead.lock() {
            return Err(TargetError::Unreachable("dead".to_owned()));
        }
        self.taken.lock().push(serde_json::from_slice(&message.body).unwrap());
        Ok(())
    }

    fn kind(&self) -> &'static str {
        "sink"
    }

    fn address(&self) -> String {
        "memory".to_owned()
    }
}

impl Sink {
    /// Waits for so many records, and gives all that came. Test events are no records.
    async fn records(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let taken = self.taken.lock().clone();
            let records: Vec<Value> = taken.iter().filter_map(|message| message["Records"].get(0)).cloned().collect();
            if records.len() >= count {
                return records;
            }
            assert!(begun.elapsed() < PATIENCE, "{} of {count} came", records.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn test_events(&self) -> usize {
        self.taken.lock().iter().filter(|message| message["Event"] == "s3:TestEvent").count()
    }
}

/// A world with the bucket `bbb` and the targets `hook` and `bus`.
async fn world(queue_max: u64) -> (World, Arc<Sink>, Arc<Sink>) {
    let (hook, bus) = (Arc::new(Sink::default()), Arc::new(Sink::default()));
    let target = |name: &str, target: Arc<Sink>| TargetOptions {
        name: name.to_owned(),
        target,
        queue_max,
        tenants: vec!["default".to_owned()],
    };
    let targets = vec![target("hook", hook.clone()), target("bus", bus.clone())];
    let world = World::start_with(|options| {
        options.events = EventOptions { region: "us-east-1".to_owned(), targets };
        options.background = true;
    })
    .await;
    world.put("/bbb").send(&world).await.expect(200);
    (world, hook, bus)
}

const HOOK: &str = "arn:aws:sqs:us-east-1:000000000000:hook";
const BUS: &str = "arn:aws:sns:us-east-1:000000000000:bus";

fn queue(arn: &str, events: &[&str], more: &str) -> String {
    let events: String = events.iter().map(|event| format!("<Event>{event}</Event>")).collect();
    format!("<QueueConfiguration><Queue>{arn}</Queue>{events}{more}</QueueConfiguration>")
}

fn filter(rules: &[(&str, &str)]) -> String {
    let rule =
        |(name, value): &(&str, &str)| format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>");
    format!("<Filter><S3Key>{}</S3Key></Filter>", rules.iter().map(rule).collect::<String>())
}

fn document(inner: &str) -> String {
    format!("<NotificationConfiguration>{inner}</NotificationConfiguration>")
}

const ALL: [&str; 4] = ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*", "s3:LifecycleExpiration:*"];

async fn configure(w: &World, inner: &str) {
    w.put("/bbb?notification").body(document(inner)).send(w).await.expect(200);
}

fn told(record: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    format!("{} {}", text(&record["eventName"]), text(&record["s3"]["object"]["key"]))
}

#[tokio::test]
async fn each_change_is_told_once() {
    let (w, hook, bus) = world(1000).await;
    w.stored("/bbb/before", b"x").await;
    configure(&w, &queue(HOOK, &ALL, "<Id>all</Id>")).await;
    let put = w.put("/bbb/a b").body("12345").send(&w).await.expect(200);
    w.put("/bbb/copy").header("x-amz-copy-source", "/bbb/a%20b").send(&w).await.expect(200);
    let again = [("x-amz-copy-source", "/bbb/copy"), ("x-amz-metadata-directive", "REPLACE")];
    let again = again.iter().fold(w.put("/bbb/copy"), |call, (name, value)| call.header(name, value));
    again.send(&w).await.expect(200);
    let upload = w.upload("/bbb/big", &[]).await;
    let part = w.put(&format!("/bbb/big?partNumber=1&uploadId={upload}")).body("part").send(&w).await.expect(200);
    let etag = part.header("etag");
    let done = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    w.post(&format!("/bbb/big?uploadId={upload}")).body(done).send(&w).await.expect(200);
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    w.put("/bbb/big?tagging").body(tags).send(&w).await.expect(200);
    w.delete("/bbb/big?tagging").send(&w).await.expect(204);
    // What changes nothing, and what is refused, is not told.
    w.put("/bbb/big").header("if-none-match", "*").body("x").send(&w).await.refused(412, "PreconditionFailed");
    w.delete("/bbb/nothing").send(&w).await.expect(204);
    w.delete("/bbb/big").send(&w).await.expect(204);
    let records = hook.records(7).await;
    let expected = [
        "ObjectCreated:Put a+b",
        "ObjectCreated:Copy copy",
        "ObjectCreated:Copy copy",
        "ObjectCreated:CompleteMultipartUpload big",
        "ObjectTagging:Put big",
        "ObjectTagging:Delete big",
        "ObjectRemoved:Delete big",
    ];
    let mut sorted = records.clone();
    sorted.sort_by_key(|record| record["s3"]["object"]["sequencer"].as_str().unwrap().to_owned());
    assert_eq!(sorted.iter().map(told).collect::<Vec<_>>(), expected);
    let first = &sorted[0];
    assert_eq!(first["responseElements"]["x-amz-request-id"], put.header("x-amz-request-id"));
    assert_eq!(first["s3"]["object"]["eTag"], put.header("etag").trim_matches('"'));
    assert_eq!((&first["s3"]["object"]["size"], &first["userIdentity"]["principalId"]), (&5.into(), &"root".into()));
    assert_eq!(first["requestParameters"]["sourceIPAddress"], "127.0.0.1");
    assert_eq!((&first["s3"]["configurationId"], &first["s3"]["bucket"]["name"]), (&"all".into(), &"bbb".into()));
    assert!(first["s3"]["object"].get("versionId").is_none() && sorted[6]["s3"]["object"].get("size").is_none());
    assert_eq!((hook.test_events(), bus.test_events()), (1, 0));
}

#[tokio::test]
async fn versions_and_rules_are_told() {
    let (w, hook, _) = world(1000).await;
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    w.put("/bbb?versioning").body(on).send(&w).await.expect(200);
    configure(&w, &queue(HOOK, &ALL, "")).await;
    let first = w.put("/bbb/k").body("1").send(&w).await.expect(200).header("x-amz-version-id").to_owned();
    let marker = w.delete("/bbb/k").send(&w).await.expect(204).header("x-amz-version-id").to_owned();
    w.delete(&format!("/bbb/k?versionId={marker}")).send(&w).await.expect(204);
    w.delete(&format!("/bbb/k?versionId={first}")).send(&w).await.expect(204);
    let version = |record: &Value| record["s3"]["object"]["versionId"].as_str().unwrap_or_default().to_owned();
    let records = hook.records(4).await;
    let got: Vec<_> = records.iter().map(|record| (told(record), version(record))).collect();
    let expected = [
        ("ObjectCreated:Put k", &first),
        ("ObjectRemoved:DeleteMarkerCreated k", &marker),
        ("ObjectRemoved:Delete k", &marker),
        ("ObjectRemoved:Delete k", &first),
    ];
    assert_eq!(got, expected.map(|(name, version)| (name.to_owned(), version.clone())));

    // A rule that is long due: the newest version is hidden.
    w.stored("/bbb/old", b"1").await;
    let rule = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter><Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration></Rule></LifecycleConfiguration>";
    w.put("/bbb?lifecycle").body(rule).send(&w).await.expect(200);
    w.store.expire().await.unwrap();
    let records = hook.records(6).await;
    let last = &records[5];
    assert_eq!(told(last), "LifecycleExpiration:DeleteMarkerCreated old");
    assert_eq!(
        (&last["userIdentity"]["principalId"], &last["eventVersion"]),
        (&"s3.amazonaws.com".into(), &"2.3".into())
    );
}

#[tokio::test]
async fn a_configuration_goes_round() {
    let (w, hook, bus) = world(1000).await;
    assert!(!w.get("/bbb?notification").send(&w).await.expect(200).text().contains("QueueConfiguration"));
    let jpg = filter(&[("prefix", "img/"), ("Suffix", ".jpg")]);
    let topic = format!(
        "<TopicConfiguration><Topic>{BUS}</Topic><Event>s3:ObjectCreated:Put</Event><Filter><S3Key><FilterRule><Name>suffix</Name><Value>.png</Value></FilterRule></S3Key></Filter></TopicConfiguration>"
    );
    configure(&w, &(queue(HOOK, &["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete"], &jpg) + &topic)).await;
    let read = w.get("/bbb?notification").send(&w).await.expect(200);
    assert_eq!((read.all("Queue"), read.all("Topic")), (vec![HOOK.to_owned()], vec![BUS.to_owned()]));
    assert_eq!(read.all("Event"), ["s3:ObjectCreated:*", "s3:ObjectRemoved:Delete", "s3:ObjectCreated:Put"]);
    assert_eq!(read.all("Name"), ["Prefix", "Suffix", "Suffix"]);
    assert_eq!(read.all("Value"), ["img/", ".jpg", ".png"]);
    assert_eq!(read.all("Id").len(), 2);
    for key in ["img/1.jpg", "1.jpg", "img/1.png", "img/1.gif"] {
        w.stored(&format!("/bbb/{key}"), b"x").await;
    }
    assert_eq!(hook.records(1).await.iter().map(told).collect::<Vec<_>>(), ["ObjectCreated:Put img/1.jpg"]);
    assert_eq!(bus.records(1).await.iter().map(told).collect::<Vec<_>>(), ["ObjectCreated:Put img/1.png"]);
    configure(&w, "").await;
    w.stored("/bbb/img/2.jpg", b"x").await;
    assert!(!w.get("/bbb?notification").send(&w).await.expect(200).text().contains("Queue"));
    let report = w.store.targets();
    let told: Vec<_> = report.iter().map(|report| (report.name.as_str(), report.queued, report.delivered)).collect();
    assert_eq!(told, [("bus", 0, 2), ("hook", 0, 2)]);
}

#[tokio::test]
async fn what_is_refused() {
    let (w, _, _) = world(1000).await;
    let created = ["s3:ObjectCreated:*"];
    let two = |a: &str, b: &str| queue(HOOK, &created, a) + &queue(HOOK, &created, b);
    let table = [
        (queue(HOOK, &["s3:ObjectMade:*"], ""), "InvalidArgument", "The event 's3:ObjectMade:*' is not supported"),
        (
            queue("arn:aws:sqs:::other", &created, ""),
            "InvalidArgument",
            "Unable to validate the following destination configurations",
        ),
        (queue("other", &created, ""), "InvalidArgument", "The ARN is not well formed"),
        (two("", ""), "InvalidArgument", "Configurations overlap."),
        (
            two(&filter(&[("prefix", "a")]), &filter(&[("prefix", "ab")])),
            "InvalidArgument",
            "Configuration is ambiguously defined",
        ),
        (
            queue(HOOK, &created, &filter(&[("infix", "a")])),
            "InvalidArgument",
            "filter rule name must be either prefix or suffix",
        ),
        (
            queue(HOOK, &created, &filter(&[("prefix", "a"), ("prefix", "b")])),
            "InvalidArgument",
            "Cannot specify more than one prefix",
        ),
        (queue(HOOK, &[], ""), "MalformedXML", ""),
    ];
    for (inner, code, message) in table {
        let answer = w.put("/bbb?notification").body(document(&inner)).send(&w).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, code.to_owned()), "{inner}");
        assert!(
            answer.text().contains(&message.replace('\'', "&apos;")) || answer.text().contains(message),
            "{}",
            answer.text()
        );
    }
    let bridge = document("<EventBridgeConfiguration></EventBridgeConfiguration>");
    w.put("/bbb?notification").body(bridge).send(&w).await.refused(501, "NotImplemented");
    w.put("/none?notification").body(document("")).send(&w).await.refused(404, "NoSuchBucket");
    assert!(!w.get("/bbb?notification").send(&w).await.expect(200).text().contains("Queue"));
}

#[tokio::test]
async fn a_target_that_was_dead_is_told_all_in_order() {
    let (w, hook, bus) = world(1000).await;
    let topic =
        format!("<TopicConfiguration><Topic>{BUS}</Topic><Event>s3:ObjectRemoved:*</Event></TopicConfiguration>");
    configure(&w, &(queue(HOOK, &["s3:ObjectCreated:*"], "") + &topic)).await;
    *hook.dead.lock() = true;
    for round in 0..10 {
        for key in 0..12 {
            w.stored(&format!("/bbb/k{key}"), format!("{round}").repeat(round + 1).as_bytes()).await;
        }
    }
    // The other target is not held up.
    w.delete("/bbb/k0").send(&w).await.expect(204);
    assert_eq!(bus.records(1).await.iter().map(told).collect::<Vec<_>>(), ["ObjectRemoved:Delete k0"]);
    let report = w.store.targets().into_iter().find(|report| report.name == "hook").unwrap();
    assert!(report.queued >= 120 && report.last_error.is_some(), "{report:?}");
    *hook.dead.lock() = false;
    let records = hook.records(120).await;
    for key in 0..12 {
        let key = format!("k{key}");
        let of_key: Vec<&Value> =
            records.iter().filter(|record| record["s3"]["object"]["key"] == key.as_str()).collect();
        let sizes: Vec<u64> = of_key.iter().map(|record| record["s3"]["object"]["size"].as_u64().unwrap()).collect();
        assert_eq!(sizes, (1..=10).collect::<Vec<u64>>(), "{key}");
        let sequence = |record: &&Value| record["s3"]["object"]["sequencer"].as_str().unwrap().to_owned();
        assert!(of_key.iter().map(sequence).is_sorted());
    }
}

#[tokio::test]
async fn a_full_queue_loses_its_oldest_and_says_so() {
    let (w, hook, _) = world(20).await;
    configure(&w, &queue(HOOK, &["s3:ObjectCreated:*"], "")).await;
    *hook.dead.lock() = true;
    for i in 0..60 {
        w.stored(&format!("/bbb/{i:02}"), b"x").await;
    }
    let report = || w.store.targets().into_iter().find(|report| report.name == "hook").unwrap();
    let begun = Instant::now();
    while report().queued > 20 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", report());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(report().dropped >= 40, "{:?}", report());
    assert_eq!(w.store.status().await.unwrap().targets.iter().map(|t| t.dropped).max(), Some(report().dropped));
    *hook.dead.lock() = false;
    let records = hook.records(usize::try_from(report().queued).unwrap()).await;
    assert_eq!(told(records.last().unwrap()), "ObjectCreated:Put 59");
    let test = w.store.test_target("hook").await.unwrap();
    assert!(test.delivered && w.store.test_target("none").await.is_err());
}

/// Writers of one key at once: each acknowledged write is told, no other is, and the last one told stands.
#[tokio::test]
async fn writers_at_once_are_all_told() {
    let (w, hook, _) = world(1000).await;
    configure(&w, &queue(HOOK, &["s3:ObjectCreated:*"], "")).await;
    let puts = (0..24).map(|i| w.put("/bbb/k").body("x".repeat(i + 1)).send(&w));
    let acknowledged = futures::future::join_all(puts).await.into_iter().filter(|answer| answer.status == 200).count();
    let records = hook.records(acknowledged).await;
    assert_eq!(records.len(), acknowledged);
    let stands = w.head("/bbb/k").send(&w).await.expect(200).header("content-length").to_owned();
    assert_eq!(records.last().unwrap()["s3"]["object"]["size"].to_string(), stands);
}
