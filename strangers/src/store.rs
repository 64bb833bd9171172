//! What the `object_store` crate promises of a store: modes of put, ranges, conditions, parts, copies, listings.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};

use crate::body;

type Store = Arc<dyn ObjectStore>;

/// More than a page of a listing.
const LISTED: usize = 1_100;
/// Writers of one object at once, and how often each writes.
const WRITERS: usize = 8;
const EACH: usize = 8;
/// The least part that S3 takes but at the end.
const PART: usize = 5 << 20;

/// Runs all of it.
pub async fn run(store: Store) {
    ranges(&store).await;
    put_modes(&store).await;
    conditions(&store).await;
    contenders(&store).await;
    parts(&store).await;
    copies(&store).await;
    listings(&store).await;
}

async fn get(store: &Store, name: &str) -> Vec<u8> {
    let got = store.get(&Path::from(name)).await.unwrap_or_else(|e| panic!("{name}: {e}"));
    got.bytes().await.expect("a body").to_vec()
}

async fn ranges(store: &Store) {
    for size in [0, 1, 5_000, 300_000, 3_000_000] {
        let name = format!("ranges/{size}");
        let (path, data) = (Path::from(name.as_str()), body(&name, size));
        store.put(&path, data.clone().into()).await.expect("a put");
        assert_eq!(store.head(&path).await.expect("a head").size, size as u64);
        assert!(get(store, &name).await == data, "{name}");
        if size < 100 {
            continue;
        }
        let end = size as u64;
        let wanted = [0..1, end / 2..end / 2 + 40, end - 7..end];
        let several = store.get_ranges(&path, &wanted).await.expect("ranges");
        for (range, got) in wanted.iter().zip(several) {
            assert!(got[..] == data[range.start as usize..range.end as usize], "{name} {range:?}");
        }
        for (range, from) in [(GetRange::Offset(end - 9), size - 9), (GetRange::Suffix(33), size - 33)] {
            let options = GetOptions { range: Some(range.clone()), ..GetOptions::default() };
            let got = store.get_opts(&path, options).await.expect("a range").bytes().await.expect("a body");
            assert!(got[..] == data[from..], "{name} {range:?}");
        }
    }
}

async fn put_modes(store: &Store) {
    let path = Path::from("modes/one");
    let put = async |mode: PutMode, data: &'static str| {
        store.put_opts(&path, data.into(), PutOptions { mode, ..PutOptions::default() }).await
    };
    let of = |e_tag: Option<String>| PutMode::Update(UpdateVersion { e_tag, version: None });
    let missing = put(of(Some("\"never\"".to_owned())), "x").await.expect_err("an update of nothing");
    assert!(matches!(missing, Error::NotFound { .. } | Error::Precondition { .. }), "{missing}");
    let first = put(PutMode::Create, "first").await.expect("a create");
    let again = put(PutMode::Create, "again").await.expect_err("a second create");
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
    let second = put(of(first.e_tag.clone()), "second").await.expect("an update");
    assert_ne!(first.e_tag, second.e_tag);
    let stale = put(of(first.e_tag), "stale").await.expect_err("a stale update");
    assert!(matches!(stale, Error::Precondition { .. }), "{stale}");
    assert_eq!(get(store, "modes/one").await, b"second");
    put(PutMode::Overwrite, "third").await.expect("an overwrite");
    let stale = put(of(second.e_tag), "stale").await.expect_err("a stale update");
    assert!(matches!(stale, Error::Precondition { .. }), "{stale}");

    let attributes: Attributes = [
        (Attribute::ContentType, "text/x-stranger"),
        (Attribute::CacheControl, "max-age=3"),
        (Attribute::Metadata("color".into()), "blue"),
    ]
    .into_iter()
    .collect();
    let options = PutOptions { attributes: attributes.clone(), ..PutOptions::default() };
    store.put_opts(&path, "told".into(), options).await.expect("a put with attributes");
    assert_eq!(store.get(&path).await.expect("a get").attributes, attributes);
}

async fn conditions(store: &Store) {
    let path = Path::from("conditions");
    let old = store.put(&path, "old".into()).await.expect("a put").e_tag;
    let new = store.put(&path, "new".into()).await.expect("a put").e_tag;
    let ask = async |if_match: &Option<String>, if_none_match: &Option<String>| {
        let (if_match, if_none_match) = (if_match.clone(), if_none_match.clone());
        store.get_opts(&path, GetOptions { if_match, if_none_match, ..GetOptions::default() }).await
    };
    ask(&new, &None).await.expect("the version that is there");
    ask(&None, &old).await.expect("another version than that");
    let stale = ask(&old, &None).await.expect_err("a version that is gone");
    assert!(matches!(stale, Error::Precondition { .. }), "{stale}");
    let same = ask(&None, &new).await.expect_err("what is known");
    assert!(matches!(same, Error::NotModified { .. }), "{same}");
    let nothing = store.get(&Path::from("nothing")).await.expect_err("nothing");
    assert!(matches!(nothing, Error::NotFound { .. }), "{nothing}");
}

/// Each writer counts up by replacing what it read: no count may be lost.
async fn contenders(store: &Store) {
    let path = Path::from("counter");
    store.put(&path, "0".into()).await.expect("a put");
    let add = async || {
        let mut done = 0;
        while done < EACH {
            let got = store.get(&path).await.expect("a get");
            let e_tag = got.meta.e_tag.clone();
            let count: usize = String::from_utf8_lossy(&got.bytes().await.expect("a body")).parse().expect("a number");
            let mode = PutMode::Update(UpdateVersion { e_tag, version: None });
            let next = (count + 1).to_string();
            match store.put_opts(&path, next.into(), PutOptions { mode, ..PutOptions::default() }).await {
                Ok(_) => done += 1,
                Err(Error::Precondition { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    futures::future::join_all((0..WRITERS).map(|_| add())).await;
    assert_eq!(get(store, "counter").await, (WRITERS * EACH).to_string().into_bytes());
}

async fn parts(store: &Store) {
    let path = Path::from("parts/whole");
    let data = body("parts", 2 * PART + 12_345);
    let mut upload = store.put_multipart(&path).await.expect("an upload");
    let sent: Vec<_> = data.chunks(PART).map(|part| upload.put_part(part.to_vec().into())).collect();
    // The last is the first to arrive.
    for part in sent.into_iter().rev() {
        part.await.expect("a part");
    }
    let missing = store.head(&path).await.expect_err("an upload under way");
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    upload.complete().await.expect("a completion");
    assert!(get(store, "parts/whole").await == data);

    let path = Path::from("parts/given-up");
    let mut upload = store.put_multipart(&path).await.expect("an upload");
    upload.put_part(vec![7; 1000].into()).await.expect("a part");
    upload.abort().await.expect("an abort");
    assert!(store.head(&path).await.is_err());
}

async fn copies(store: &Store) {
    let (from, to) = (Path::from("ranges/300000"), Path::from("copies/one"));
    store.copy_if_not_exists(&from, &to).await.expect("a first copy");
    let again = store.copy_if_not_exists(&from, &to).await.expect_err("a second copy");
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
    store.copy(&Path::from("parts/whole"), &to).await.expect("a copy over it");
    store.rename(&to, &Path::from("copies/two")).await.expect("a rename");
    assert!(store.head(&to).await.is_err());
    assert!(get(store, "copies/two").await == body("parts", 2 * PART + 12_345));
}

async fn listings(store: &Store) {
    let name = |i: usize| Path::from(format!("listed/{:02}/{i:05}", i / 100));
    let put = |i: usize| async move { store.put(&name(i), i.to_string().into()).await.map(|_| ()) };
    stream::iter(0..LISTED).map(put).buffer_unordered(16).try_collect::<()>().await.expect("puts");
    let folder = Path::from("listed");
    let all: Vec<Path> = store.list(Some(&folder)).map_ok(|meta| meta.location).try_collect().await.expect("a list");
    assert_eq!(all, (0..LISTED).map(name).collect::<Vec<_>>());
    let rest = store.list_with_offset(Some(&folder), &name(LISTED - 5)).map_ok(|meta| meta.location);
    assert_eq!(rest.try_collect::<Vec<_>>().await.expect("a list"), (LISTED - 4..LISTED).map(name).collect::<Vec<_>>());
    let told = store.list_with_delimiter(Some(&folder)).await.expect("a list");
    assert_eq!((told.common_prefixes.len(), told.objects.len()), (LISTED / 100, 0));
    let told = store.list_with_delimiter(Some(&Path::from("listed/03"))).await.expect("a list");
    assert_eq!((told.common_prefixes.len(), told.objects.len()), (0, 100));

    let gone = store.delete_stream(stream::iter(all.into_iter().map(Ok)).boxed());
    assert_eq!(gone.try_collect::<Vec<_>>().await.expect("deletes").len(), LISTED);
    assert_eq!(store.list(Some(&folder)).count().await, 0);
}
