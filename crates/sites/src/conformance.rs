//! What every [`Site`] must do. A site that passes can stand anywhere.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::join_all;

use crate::{MARKER, Marker, Site, SiteError, read_marker, write_marker};

/// Runs every check on an empty site, which is left with garbage in it.
///
/// # Panics
/// With the check's story when one fails.
pub async fn suite(site: &dyn Site) {
    bodies_come_back(site).await;
    ranges_are_exact(site).await;
    absence_is_told(site).await;
    puts_repeat(site).await;
    torn_files_are_replaced(site).await;
    deletes_repeat(site).await;
    strange_names_are_refused(site).await;
    many_at_once(site).await;
    listings(site).await;
    the_marker_changes(site).await;
}

/// Bytes in which every position can be told from its neighbours.
fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

/// Small and large, in one slice and in many, empty ones among them.
async fn bodies_come_back(site: &dyn Site) {
    for len in [1, 511, 4096, 64 << 10, (64 << 10) + 1, 1 << 20, 6 << 20] {
        for pieces in [1, 7, 600] {
            let whole = pattern(len);
            let mut body = vec![Bytes::new()];
            let step = len.div_ceil(pieces);
            for at in (0..len).step_by(step) {
                body.push(whole.slice(at..len.min(at + step)));
                body.push(Bytes::new());
            }
            let name = format!("bodies/{len}/{pieces}");
            site.put(&name, &body).await.unwrap_or_else(|e| panic!("put {name}: {e}"));
            assert_eq!(site.size(&name).await.unwrap_or_else(|e| panic!("size {name}: {e}")), len as u64);
            let back = site.get(&name, 0..len as u64).await.unwrap_or_else(|e| panic!("get {name}: {e}"));
            assert!(back == whole, "{name} came back different");
        }
    }
}

/// Nothing more, nothing less; and a range past the end is `Short`, not a shorter answer.
async fn ranges_are_exact(site: &dyn Site) {
    for len in [100_u64, 300_000] {
        let (name, whole) = (format!("ranges/{len}"), pattern(len as usize));
        put(site, &name, &whole).await;
        for (start, end) in [(0, 1), (0, len), (len - 1, len), (17, 43), (len / 2, len / 2 + 20)] {
            // Twice: the second answer may come from a cache.
            for _ in 0..2 {
                let back = site.get(&name, start..end).await.unwrap_or_else(|e| panic!("{start}..{end}: {e}"));
                assert_eq!(back, whole[start as usize..end as usize], "{start}..{end} of {len}");
            }
        }
        for (start, end) in [(0, len + 1), (len - 1, len + 1), (len, len + 1), (len + 10, len + 20)] {
            let answer = site.get(&name, start..end).await;
            assert!(matches!(answer, Err(SiteError::Short { .. })), "{start}..{end} of {len}: {answer:?}");
        }
    }
}

async fn absence_is_told(site: &dyn Site) {
    put(site, "absence/folder/name", &pattern(10)).await;
    for name in ["absence/none", "no/such/folder", "absence/folder", "absence/folder/name/below"] {
        let got = site.get(name, 0..1).await;
        assert!(matches!(got, Err(SiteError::NotFound { .. })), "get {name}: {got:?}");
        let size = site.size(name).await;
        assert!(matches!(size, Err(SiteError::NotFound { .. })), "size {name}: {size:?}");
    }
}

async fn puts_repeat(site: &dyn Site) {
    for len in [10, 200_000] {
        let (name, whole) = (format!("repeat/{len}"), pattern(len));
        for _ in 0..3 {
            put(site, &name, &whole).await;
            assert_eq!(site.get(&name, 0..len as u64).await.unwrap_or_else(|e| panic!("{e}")), whole);
        }
    }
}

/// A put that was cut short leaves a shorter file, of which some may have been read since.
async fn torn_files_are_replaced(site: &dyn Site) {
    for len in [1000_usize, 400_000] {
        let (name, whole) = (format!("torn/{len}"), pattern(len));
        put(site, &name, &whole.slice(..len / 2)).await;
        let torn = site.get(&name, 0..len as u64).await;
        assert!(matches!(torn, Err(SiteError::Short { .. })), "{torn:?}");
        put(site, &name, &whole).await;
        assert_eq!(site.size(&name).await.unwrap_or_else(|e| panic!("{e}")), len as u64);
        assert!(site.get(&name, 0..len as u64).await.unwrap_or_else(|e| panic!("{e}")) == whole, "{name}");
    }
}

async fn deletes_repeat(site: &dyn Site) {
    for len in [10, 200_000] {
        let name = format!("deletes/{len}");
        for _ in 0..2 {
            put(site, &name, &pattern(len)).await;
            site.get(&name, 0..1).await.unwrap_or_else(|e| panic!("{e}"));
            for _ in 0..2 {
                site.delete(&name).await.unwrap_or_else(|e| panic!("delete {name}: {e}"));
                let gone = site.get(&name, 0..1).await;
                assert!(matches!(gone, Err(SiteError::NotFound { .. })), "{gone:?}");
            }
        }
    }
    site.delete("deletes/never/was").await.unwrap_or_else(|e| panic!("delete of nothing: {e}"));
}

/// Names come from stored records, which may be corrupt: none may lead out of the site.
async fn strange_names_are_refused(site: &dyn Site) {
    for name in ["", "../out", "a/../../out", "/etc/out", "a//b", "UPPER", "nul\0", "a/"] {
        assert!(matches!(site.put(name, &[pattern(3)]).await, Err(SiteError::Denied(_))), "put {name:?}");
        assert!(matches!(site.get(name, 0..1).await, Err(SiteError::Denied(_))), "get {name:?}");
        assert!(matches!(site.size(name).await, Err(SiteError::Denied(_))), "size {name:?}");
        assert!(matches!(site.delete(name).await, Err(SiteError::Denied(_))), "delete {name:?}");
    }
    assert!(matches!(site.list("half-a-segment", None, 1).await, Err(SiteError::Denied(_))));
}

async fn many_at_once(site: &dyn Site) {
    let name = |i: usize| format!("many/{:02x}/{i:04}.0.{}", i % 16, i % 5);
    let body = |i: usize| pattern(1000 + i * 7001);
    join_all((0..64).map(|i| async move { put(site, &name(i), &body(i)).await })).await;
    join_all((0..64).map(|i| async move {
        let back = site.get(&name(i), 0..body(i).len() as u64).await.unwrap_or_else(|e| panic!("{e}"));
        assert!(back == body(i), "{} came back different", name(i));
    }))
    .await;
    // The same name at once: whoever wins, it is whole.
    let same = pattern(50_000);
    join_all((0..8).map(|_| put(site, "many/same", &same))).await;
    assert_eq!(site.get("many/same", 0..50_000).await.unwrap_or_else(|e| panic!("{e}")), same);
}

/// Where a folder's name begins that of a sibling, the order is still that of the whole names:
/// `a-b` and `a.b` sort before `a/b`. S3 promises it and some servers that speak S3 do not keep
/// it, so it is no part of [`suite`] and Holdfast's own names never need it.
///
/// # Panics
/// When the order is another.
pub async fn whole_name_order(site: &dyn Site) {
    let names = ["order/a-b", "order/a.b", "order/a/b", "order/a/c-d", "order/a/c/d", "order/a0"];
    for name in names {
        put(site, name, &pattern(1)).await;
    }
    for (at, after) in names.iter().enumerate() {
        let rest = site.list("order/", Some(after), 100).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(rest.into_iter().map(|entry| entry.name).collect::<Vec<_>>(), names[at + 1..], "after {after}");
    }
}

async fn listings(site: &dyn Site) {
    let mut names = BTreeSet::new();
    for name in ["a/b", "a/c/d", "a/e-d", "b/x.0.1", "b/x.0.2", "b/y.0.1", "zz"] {
        names.insert(format!("listed/{name}"));
    }
    for i in 0..60 {
        names.insert(format!("listed/c/{:02x}/{i:03}", i % 7));
    }
    join_all(names.iter().map(|name| async move { put(site, name, &pattern(name.len())).await })).await;
    let names: Vec<String> = names.into_iter().collect();

    let all = site.list("listed/", None, 1000).await.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(all.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), names);
    assert!(all.iter().all(|entry| entry.size == entry.name.len() as u64));

    for limit in [1, 7, 1000] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let page =
                site.list("listed/", seen.last().map(String::as_str), limit).await.unwrap_or_else(|e| panic!("{e}"));
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            seen.extend(page.into_iter().map(|entry| entry.name));
        }
        assert_eq!(seen, names, "in pages of {limit}");
    }

    let under = |prefix: &str, after: &str| -> Vec<String> {
        names.iter().filter(|name| name.starts_with(prefix) && name.as_str() > after).cloned().collect()
    };
    for (prefix, after) in [
        ("listed/a/", ""),
        ("listed/b/", "listed/b/x.0.1"),
        ("listed/c/", "listed/c/03/not-there"),
        ("listed/c/03/", "listed/a"),
        ("listed/a/", "listed/zz"),
        ("listed/none/", ""),
    ] {
        let some =
            site.list(prefix, Some(after).filter(|a| !a.is_empty()), 1000).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(some.into_iter().map(|e| e.name).collect::<Vec<_>>(), under(prefix, after), "{prefix} {after}");
    }
    assert_eq!(site.list("listed/", None, 0).await.unwrap_or_else(|e| panic!("{e}")), []);
    let everything = site.list("", None, 100_000).await.unwrap_or_else(|e| panic!("{e}"));
    assert!(everything.iter().all(|entry| !entry.name.starts_with("segments/")));
    assert!(names.iter().all(|name| everything.iter().any(|entry| entry.name == *name)));
}

/// The one name that may be rewritten.
async fn the_marker_changes(site: &dyn Site) {
    for slot in 0..3 {
        let marker = Marker { cluster: "conformance".into(), slot, name: "x".repeat(usize::from(slot)), created_ms: 1 };
        write_marker(site, &marker).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(read_marker(site).await.unwrap_or_else(|e| panic!("{e}")), Some(marker));
        // Reads of the old one may have been cached.
        let size = site.size(MARKER).await.unwrap_or_else(|e| panic!("{e}"));
        site.get(MARKER, 0..size).await.unwrap_or_else(|e| panic!("{e}"));
    }
}

async fn put(site: &dyn Site, name: &str, body: &Bytes) {
    site.put(name, std::slice::from_ref(body)).await.unwrap_or_else(|e| panic!("put {name}: {e}"));
}
