//! What every [`Engine`] does, as one suite of small checks.

use std::future::Future;

use base::limits::{BATCH_BYTES_MAX, ENGINE_OPS_MAX, META_KEY_MAX, META_VALUE_MAX};
use bytes::Bytes;
use futures::future::join_all;

use crate::{Batch, Check, CommitError, Engine, Key, Page, Range, Row, Version, Write, prefix_end};

/// Runs every check against `engine`.
///
/// The checks keep to keys that start with `conformance/`, each to its own, and expect to find
/// none of them: run the suite once on an engine. It needs no particular async runtime.
///
/// # Panics
/// At the first thing the engine does differently; the message names the check.
pub async fn suite(engine: &dyn Engine) {
    named("absent rows", absent_rows(engine)).await;
    named("put, overwrite, delete", put_overwrite_delete(engine)).await;
    named("values come back whole", values_come_back_whole(engine)).await;
    named("get answers in the order asked", get_order(engine)).await;
    named("keys are ordered bytewise", bytewise_order(engine)).await;
    named("range limits and more", range_limits(engine)).await;
    named("range bounds", range_bounds(engine)).await;
    named("checks", checks(engine)).await;
    named("the first failed check is named", failed_check_index(engine)).await;
    named("a batch is all or nothing", atomicity(engine)).await;
    named("a group is in order", group_order(engine)).await;
    named("batches with checks in common", shared_checks(engine)).await;
    named("versions", versions(engine)).await;
    named("limits", limits(engine)).await;
    named("concurrent increments", concurrent_increments(engine)).await;
    prefix_ends();
}

/// Runs a check so that a failure names it.
async fn named(name: &'static str, check: impl Future<Output = ()>) {
    /// Speaks only while unwinding.
    struct Name(&'static str);
    impl Drop for Name {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("conformance check failed: {}", self.0);
            }
        }
    }
    let _name = Name(name);
    check.await;
}

/// Rows of one check, apart from all others'.
struct Space<'a> {
    engine: &'a dyn Engine,
    prefix: String,
}

impl<'a> Space<'a> {
    fn new(engine: &'a dyn Engine, name: &str) -> Self {
        Self { engine, prefix: format!("conformance/{name}/") }
    }

    fn key(&self, tail: impl AsRef<[u8]>) -> Key {
        [self.prefix.as_bytes(), tail.as_ref()].concat().into()
    }

    fn put(&self, tail: impl AsRef<[u8]>, value: &'static str) -> Write {
        Write::Put(self.key(tail), value.into())
    }

    fn delete(&self, tail: impl AsRef<[u8]>) -> Write {
        Write::Delete(self.key(tail))
    }

    async fn commit(&self, checks: Vec<Check>, writes: Vec<Write>) -> Result<(), CommitError> {
        self.engine.commit(Batch { checks, writes }).await
    }

    async fn write(&self, writes: Vec<Write>) {
        self.commit(vec![], writes).await.expect("a batch without checks commits");
    }

    async fn row(&self, tail: impl AsRef<[u8]>) -> Option<Row> {
        let mut rows = self.engine.get(&[self.key(tail)]).await.expect("get");
        assert_eq!(rows.len(), 1, "one answer per key");
        rows.remove(0)
    }

    async fn value(&self, tail: impl AsRef<[u8]>) -> Option<Bytes> {
        self.row(tail).await.map(|row| row.value)
    }

    async fn page(&self, from: impl AsRef<[u8]>, to: Key, limit: usize) -> Page {
        self.engine.range(Range { from: self.key(from), to, limit }).await.expect("range")
    }

    /// The tails of all keys, in the engine's order.
    async fn tails(&self) -> Vec<Vec<u8>> {
        let page = self.page("", prefix_end(self.prefix.as_bytes()), usize::MAX).await;
        assert!(!page.more, "an unlimited range leaves nothing");
        self.tails_of(&page)
    }

    fn tails_of(&self, page: &Page) -> Vec<Vec<u8>> {
        page.rows.iter().map(|(key, _)| key[self.prefix.len()..].to_vec()).collect()
    }
}

async fn absent_rows(engine: &dyn Engine) {
    let space = Space::new(engine, "absent");
    assert_eq!(space.row("a").await, None);
    assert_eq!(engine.get(&[]).await.expect("get of nothing"), vec![]);
    assert!(space.tails().await.is_empty());
    space.write(vec![space.delete("a")]).await;
    space.commit(vec![], vec![]).await.expect("an empty batch commits");
    assert!(engine.commit_group(vec![]).await.is_empty(), "no batches, no answers");
}

async fn put_overwrite_delete(engine: &dyn Engine) {
    let space = Space::new(engine, "put");
    space.write(vec![space.put("a", "one"), space.put("b", "two")]).await;
    assert_eq!(space.value("a").await.as_deref(), Some(&b"one"[..]));
    space.write(vec![space.put("a", "a longer value than before")]).await;
    assert_eq!(space.value("a").await.as_deref(), Some(&b"a longer value than before"[..]));
    space.write(vec![space.delete("a")]).await;
    assert_eq!(space.value("a").await, None);
    assert_eq!(space.tails().await, [b"b"]);
}

async fn values_come_back_whole(engine: &dyn Engine) {
    let space = Space::new(engine, "values");
    for len in [0, 1, 7, 8, 4095, 4096, 65_537, META_VALUE_MAX] {
        let value = Bytes::from((0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        space.write(vec![Write::Put(space.key("v"), value.clone())]).await;
        assert_eq!(space.value("v").await, Some(value), "a value of {len} bytes");
    }
    let longest = vec![b'k'; META_KEY_MAX - space.prefix.len()];
    space.write(vec![space.put(&longest, "long key")]).await;
    assert_eq!(space.value(&longest).await.as_deref(), Some(&b"long key"[..]));
    let page = space.page(&longest, prefix_end(space.prefix.as_bytes()), 1).await;
    assert_eq!(space.tails_of(&page), [longest]);
}

async fn get_order(engine: &dyn Engine) {
    let space = Space::new(engine, "get");
    space.write(vec![space.put("a", "1"), space.put("c", "3")]).await;
    let rows = engine.get(&["c", "b", "a", "c"].map(|tail| space.key(tail))).await.expect("get");
    let values: Vec<_> = rows.into_iter().map(|row| row.map(|row| row.value)).collect();
    let (one, three) = (Some(Bytes::from("1")), Some(Bytes::from("3")));
    assert_eq!(values, [three.clone(), None, one, three]);
}

async fn bytewise_order(engine: &dyn Engine) {
    let space = Space::new(engine, "order");
    let sorted: [&[u8]; 12] = [
        b"",
        b"\x00",
        b"\x00\x00",
        b"\x00\x01",
        b"\x00\xff",
        b"\x01",
        b"A",
        b"a",
        b"a\x00",
        b"a\xff",
        b"\x80",
        b"\xff\xff",
    ];
    // Written in an order that is neither theirs nor its reverse.
    for step in 0..sorted.len() {
        space.write(vec![space.put(sorted[step * 5 % sorted.len()], "")]).await;
    }
    assert_eq!(space.tails().await, sorted);
    for (index, key) in sorted.iter().enumerate() {
        let page = space.page(key, prefix_end(space.prefix.as_bytes()), 1).await;
        assert_eq!(space.tails_of(&page), [*key], "a range starts at its first key");
        assert_eq!(page.more, index + 1 < sorted.len());
    }
}

async fn range_limits(engine: &dyn Engine) {
    let space = Space::new(engine, "limits-of-range");
    let end = prefix_end(space.prefix.as_bytes());
    assert!(!space.page("", end.clone(), 0).await.more, "an empty interval has no more");
    space.write(["a", "b", "c"].map(|tail| space.put(tail, tail)).into()).await;
    let table: [(usize, &[&[u8]], bool); 6] = [
        (0, &[], true),
        (1, &[b"a"], true),
        (2, &[b"a", b"b"], true),
        (3, &[b"a", b"b", b"c"], false),
        (4, &[b"a", b"b", b"c"], false),
        (usize::MAX, &[b"a", b"b", b"c"], false),
    ];
    for (limit, tails, more) in table {
        let page = space.page("", end.clone(), limit).await;
        assert_eq!(space.tails_of(&page), tails, "limit {limit}");
        assert_eq!(page.more, more, "limit {limit}");
        for (key, row) in &page.rows {
            assert_eq!(Some(row), engine.get(std::slice::from_ref(key)).await.expect("get")[0].as_ref());
        }
    }
}

async fn range_bounds(engine: &dyn Engine) {
    let space = Space::new(engine, "bounds");
    space.write(["a", "b", "c"].map(|tail| space.put(tail, tail)).into()).await;
    let table: [(&str, &str, &[&[u8]]); 7] = [
        ("a", "c", &[b"a", b"b"]),
        ("a\0", "c\0", &[b"b", b"c"]),
        ("b", "b\0", &[b"b"]),
        ("b", "b", &[]),
        ("c", "a", &[]),
        ("d", "z", &[]),
        ("", "a", &[]),
    ];
    for (from, to, tails) in table {
        let page = space.page(from, space.key(to), 9).await;
        assert_eq!(space.tails_of(&page), tails, "from {from:?} to {to:?}");
        assert!(!page.more, "from {from:?} to {to:?}");
        let empty = space.commit(vec![Check::Empty(space.key(from), space.key(to))], vec![]).await;
        assert_eq!(empty.is_ok(), tails.is_empty(), "the interval from {from:?} to {to:?} is empty");
    }
}

async fn checks(engine: &dyn Engine) {
    let space = Space::new(engine, "checks");
    space.write(vec![space.put("old", "1"), space.put("here", "1")]).await;
    let old = space.row("old").await.expect("a row").version;
    space.write(vec![space.put("old", "2")]).await;
    let now = space.row("old").await.expect("a row").version;
    let (here, gone) = (space.key("here"), space.key("gone"));
    let table = [
        (Check::Absent(gone.clone()), true),
        (Check::Absent(here.clone()), false),
        (Check::Present(here.clone()), true),
        (Check::Present(gone.clone()), false),
        (Check::Is(space.key("old"), now), true),
        (Check::Is(space.key("old"), old), false),
        (Check::Is(gone.clone(), now), false),
        (Check::Empty(gone.clone(), here.clone()), true),
        (Check::Empty(here.clone(), prefix_end(&here)), false),
        (Check::Empty(gone, prefix_end(space.prefix.as_bytes())), false),
    ];
    for (check, holds) in table {
        let said = format!("{check:?}");
        let written = space.commit(vec![check], vec![space.put("written", "")]).await;
        match written {
            Ok(()) => assert!(holds, "{said} does not hold, yet the batch committed"),
            Err(CommitError::Failed { check: 0 }) => {
                assert!(!holds, "{said} holds, yet the batch failed")
            }
            Err(other) => panic!("{said}: {other}"),
        }
        assert_eq!(space.value("written").await.is_some(), holds, "{said}");
        space.write(vec![space.delete("written")]).await;
    }
}

async fn failed_check_index(engine: &dyn Engine) {
    let space = Space::new(engine, "index");
    let (absent, present) = (|| Check::Absent(space.key("a")), || Check::Present(space.key("a")));
    for (checks, first) in
        [(vec![present()], 0), (vec![absent(), present()], 1), (vec![absent(), absent(), present(), present()], 2)]
    {
        let answer = space.commit(checks, vec![]).await;
        assert!(matches!(answer, Err(CommitError::Failed { check }) if check == first), "{answer:?}");
    }
}

async fn atomicity(engine: &dyn Engine) {
    let space = Space::new(engine, "atomic");
    space.write(vec![space.put("kept", "1"), space.put("changed", "1")]).await;
    let before = space.page("", prefix_end(space.prefix.as_bytes()), 9).await.rows;
    let writes = || vec![space.put("new", "2"), space.put("changed", "2"), space.delete("kept")];
    let checks = vec![Check::Present(space.key("kept")), Check::Absent(space.key("changed"))];
    let answer = space.commit(checks, writes()).await;
    assert!(matches!(answer, Err(CommitError::Failed { check: 1 })), "{answer:?}");
    assert_eq!(
        space.page("", prefix_end(space.prefix.as_bytes()), 9).await.rows,
        before,
        "a failed batch changes nothing"
    );
    space.write(writes()).await;
    assert_eq!(space.tails().await, [&b"changed"[..], b"new"]);
}

async fn group_order(engine: &dyn Engine) {
    let space = Space::new(engine, "group");
    let batch = |checks, writes| Batch { checks, writes };
    let (a, b) = (space.key("a"), space.key("b"));
    let answers = engine
        .commit_group(vec![
            batch(vec![Check::Absent(a.clone())], vec![space.put("a", "1")]),
            batch(vec![Check::Present(a.clone())], vec![space.put("b", "1")]),
            batch(vec![Check::Absent(a.clone())], vec![space.put("a", "lost"), space.put("lost", "")]),
            batch(vec![Check::Present(b.clone())], vec![space.delete("a"), space.put("c", "1")]),
            batch(vec![Check::Absent(a), Check::Empty(b.clone(), prefix_end(&b))], vec![space.put("lost", "")]),
            batch(vec![], vec![space.put("d", "1")]),
        ])
        .await;
    assert_eq!(answers.len(), 6, "one answer per batch: {answers:?}");
    for (index, answer) in answers.iter().enumerate() {
        match index {
            2 => assert!(matches!(answer, Err(CommitError::Failed { check: 0 })), "batch 2: {answer:?}"),
            4 => assert!(matches!(answer, Err(CommitError::Failed { check: 1 })), "batch 4: {answer:?}"),
            _ => assert!(answer.is_ok(), "batch {index}: {answer:?}"),
        }
    }
    assert_eq!(space.tails().await, [b"b", b"c", b"d"]);
}

/// Batches that go by the same rows: each is still judged by its own checks, and told which of them does not hold.
async fn shared_checks(engine: &dyn Engine) {
    let space = Space::new(engine, "shared");
    space.write(["bucket", "user", "taken"].map(|tail| space.put(tail, "1")).into()).await;
    let (bucket, user) = (space.row("bucket").await, space.row("user").await);
    let (bucket, user) = (bucket.expect("a row").version, user.expect("a row").version);
    let group = |bucket: Version| {
        let object = |tail: &str| Batch {
            checks: vec![
                Check::Absent(space.key(tail)),
                Check::Is(space.key("bucket"), bucket),
                Check::Is(space.key("user"), user),
                Check::Present(space.key("bucket")),
            ],
            writes: vec![space.put(tail, "1")],
        };
        let blob = Batch { checks: vec![], writes: vec![space.put("blob", "1")] };
        engine.commit_group(vec![blob, object("a"), object("taken"), object("b")])
    };
    let answers = group(bucket).await;
    let is_done: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(is_done, [true, true, false, true], "{answers:?}");
    assert!(matches!(answers[2], Err(CommitError::Failed { check: 0 })), "{answers:?}");
    space.write(["a", "b", "blob"].map(|tail| space.delete(tail)).into()).await;
    space.write(vec![space.put("bucket", "2")]).await;
    let answers = group(bucket).await;
    assert!(answers[0].is_ok(), "{answers:?}");
    for (index, answer) in answers.iter().enumerate().skip(1) {
        let failed = matches!(answer, Err(CommitError::Failed { check: 1 }));
        // One has two that do not hold.
        assert!(failed || index == 2 && matches!(answer, Err(CommitError::Failed { check: 0 })), "{index}: {answer:?}");
    }
    assert_eq!(space.tails().await, [&b"blob"[..], b"bucket", b"taken", b"user"]);
}

async fn versions(engine: &dyn Engine) {
    let space = Space::new(engine, "versions");
    let mut seen = Vec::new();
    for round in 0..20 {
        // Every way to write a row: alone, twice in a group, with the same value, after a delete.
        space.write(vec![space.put("a", "same"), space.put("bystander", "")]).await;
        seen.push(space.row("a").await.expect("a row").version);
        let twice = || Batch { checks: vec![], writes: vec![space.put("a", "same")] };
        let answers = engine.commit_group(vec![twice(), twice()]).await;
        let told: Vec<_> = answers.into_iter().map(|answer| answer.expect("a batch without checks commits")).collect();
        let stands = space.row("a").await.expect("a row").version;
        assert!(
            seen.last() < Some(&told[0]) && told[0] < told[1],
            "versions grow with every write: {seen:?}, {told:?}"
        );
        assert_eq!(told[1], stands, "a commit answers the version that its rows have");
        seen.push(stands);
        if round % 2 == 0 {
            space.write(vec![space.delete("a")]).await;
        }
    }
    for (index, version) in seen.iter().enumerate() {
        assert!(!seen[..index].contains(version), "version {version:?} came twice");
    }
    let before = space.row("a").await;
    space.write(vec![space.put("bystander", "2")]).await;
    assert_eq!(space.row("a").await, before, "another row's write leaves this one's version alone");
    let failed = space.commit(vec![Check::Absent(space.key("a"))], vec![space.put("a", "never")]).await;
    assert!(failed.is_err());
    assert_eq!(space.row("a").await, before, "a failed batch leaves the version alone");
}

async fn limits(engine: &dyn Engine) {
    let space = Space::new(engine, "limits");
    let many = |count| (0..count).map(|i: usize| space.put(i.to_string(), "")).collect::<Vec<_>>();
    let big = |count: usize| {
        let value = Bytes::from(vec![7; META_VALUE_MAX]);
        (0..count).map(|i| Write::Put(space.key(i.to_string()), value.clone())).collect::<Vec<_>>()
    };
    let check = || Check::Absent(space.key("absent"));
    let key_of = |len: usize| space.key(vec![b'k'; len - space.prefix.len()]);
    type Case = (&'static str, Vec<Check>, Vec<Write>, Option<&'static str>);
    let table: [Case; 9] = [
        ("most writes", vec![], many(ENGINE_OPS_MAX), None),
        ("one write too many", vec![], many(ENGINE_OPS_MAX + 1), Some("operations")),
        ("a check counts", vec![check()], many(ENGINE_OPS_MAX), Some("operations")),
        ("longest key", vec![], vec![Write::Put(key_of(META_KEY_MAX), Bytes::new())], None),
        ("key too long", vec![], vec![Write::Put(key_of(META_KEY_MAX + 1), Bytes::new())], Some("key")),
        ("deleted key too long", vec![], vec![Write::Delete(key_of(META_KEY_MAX + 1))], Some("key")),
        ("value too long", vec![], vec![Write::Put(space.key("v"), vec![0; META_VALUE_MAX + 1].into())], Some("value")),
        ("most bytes", vec![], big(BATCH_BYTES_MAX / META_VALUE_MAX - 1), None),
        ("bytes too many", vec![], big(BATCH_BYTES_MAX / META_VALUE_MAX), Some("bytes")),
    ];
    for (name, checks, writes, refusal) in table {
        let before = space.tails().await.len();
        match (space.commit(checks, writes).await, refusal) {
            (Ok(()), None) => {}
            (Err(CommitError::TooLarge(what)), Some(expected)) => {
                assert_eq!(what, expected, "{name}");
                assert_eq!(space.tails().await.len(), before, "{name}: nothing is written");
            }
            (answer, _) => panic!("{name}: {answer:?}"),
        }
    }
    let oversized = Batch { checks: vec![], writes: many(ENGINE_OPS_MAX + 1) };
    let fine = || Batch { checks: vec![], writes: vec![space.put("fine", "")] };
    let answers = engine.commit_group(vec![fine(), oversized, fine()]).await;
    assert!(
        matches!(&answers[..], [Ok(_), Err(CommitError::TooLarge(_)), Ok(_)]),
        "an oversized batch does not harm its neighbours: {answers:?}"
    );
}

async fn concurrent_increments(engine: &dyn Engine) {
    const TASKS: u64 = 16;
    const EACH: u64 = 25;
    let space = Space::new(engine, "increments");
    let increment = async || {
        let key = space.key("count");
        loop {
            let row = space.row("count").await;
            let (count, check) = match row {
                None => (0, Check::Absent(key.clone())),
                Some(Row { value, version }) => {
                    let digits = std::str::from_utf8(&value).expect("digits");
                    (digits.parse::<u64>().expect("a number"), Check::Is(key.clone(), version))
                }
            };
            let write = Write::Put(key.clone(), (count + 1).to_string().into());
            match space.commit(vec![check], vec![write]).await {
                Ok(()) => return,
                Err(CommitError::Failed { check: 0 }) => {}
                Err(other) => panic!("increment: {other}"),
            }
        }
    };
    let task = async || {
        for _ in 0..EACH {
            increment().await;
        }
    };
    join_all((0..TASKS).map(|_| task())).await;
    assert_eq!(space.value("count").await, Some((TASKS * EACH).to_string().into()), "no increment is lost");
}

fn prefix_ends() {
    let table: [(&[u8], &[u8]); 6] = [
        (b"a", b"b"),
        (b"a/", b"a0"),
        (b"a\x00", b"a\x01"),
        (b"a\xfe", b"a\xff"),
        (b"a\xff", b"b"),
        (b"a\xff\xff", b"b"),
    ];
    for (prefix, end) in table {
        assert_eq!(&prefix_end(prefix)[..], end, "the end of {prefix:?}");
    }
    for all in [&b""[..], b"\xff", b"\xff\xff"] {
        assert!(&prefix_end(all)[..] > all, "the end of {all:?} comes after it");
    }
}

#[cfg(test)]
mod tests {
    use crate::Memory;

    #[tokio::test]
    async fn memory_conforms() {
        super::suite(&Memory::new()).await;
    }
}
