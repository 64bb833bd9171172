//! Small shards in segments: crashes, damage, and segments that are used again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use futures::future::join_all;
use proptest::prelude::*;

use super::record::{BLOCK, encode_put, header};
use super::tests::{LARGE, SMALL, as_if_killed, body, down, folder, missing, open, put, whole};
use super::*;

/// Segments of which a few hundred puts fill many.
pub(super) const TINY: Sizes = Sizes { segment: 512 << 10, footer: 16 << 10, space_min: 0 };
/// A folder that never has room for a segment.
const NO_ROOM: Sizes = Sizes { space_min: u64::MAX, ..TINY };

fn tiny(path: &Path) -> Folder {
    Folder::open_sized(path.to_owned(), TINY).unwrap()
}

/// The segment files, oldest first.
fn files(root: &Path) -> Vec<PathBuf> {
    let Ok(items) = std::fs::read_dir(root.join(SEGMENTS_DIR)) else { return Vec::new() };
    let names = items.map(|item| item.unwrap().path());
    let mut names: Vec<_> =
        names.filter(|path| path.file_name().unwrap().to_str().is_some_and(|n| segment::id_of(n).is_some())).collect();
    names.sort();
    names
}

fn change(file: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(file).unwrap();
    how(&mut bytes);
    std::fs::write(file, bytes).unwrap();
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Puts all at once, so that they share a batch or a few.
async fn put_all(site: &Folder, names: &[String], len: usize) {
    for done in join_all(names.iter().map(|name| put(site, name, len))).await {
        done.unwrap();
    }
}

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{prefix}/{:x}/{i:03}", i % 5)).collect()
}

#[tokio::test]
async fn tiny_segments_pass_the_suite() {
    let folder = folder();
    let site = tiny(folder.path());
    crate::conformance::suite(&site).await;
    crate::conformance::whole_name_order(&site).await;
}

#[tokio::test]
async fn small_shards_get_no_files() {
    let live = folder();
    let site = open(live.path());
    put_all(&site, &names("shards", 40), SMALL).await;
    let there: BTreeSet<_> = std::fs::read_dir(live.path()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(there, BTreeSet::from([SEGMENTS_DIR.into()]));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let live = folder();
    let site = tiny(live.path());
    let all = names("shards", 150);
    put_all(&site, &all, SMALL).await;
    for i in 0..3 {
        let image = as_if_killed(live.path());
        // Twice: the second time from the footers that the first wrote.
        for _ in 0..2 {
            let after = tiny(image.path());
            for name in &all {
                assert!(whole(&after, name, SMALL).await, "{name}");
            }
            put(&after, &format!("new/{i}"), SMALL).await.unwrap();
        }
        put(&site, &format!("more/{i}"), SMALL).await.unwrap();
    }
}

/// A shard that was deleted long ago must not come back at every start.
#[tokio::test]
async fn deleted_names_stay_deleted() {
    let live = folder();
    let site = open(live.path());
    put(&site, "a", SMALL).await.unwrap();
    site.delete("a").await.unwrap();
    put(&site, "b", SMALL).await.unwrap();
    let after = as_if_killed(live.path());
    assert!(missing(&open(after.path()), "a").await, "the delete is in the segment");

    site.delete("b").await.unwrap();
    drop(site);
    assert!(missing(&open(live.path()), "b").await, "closing writes the deletes that wait");
}

#[tokio::test]
async fn a_delete_does_not_kill_a_later_put() {
    let live = folder();
    let site = tiny(live.path());
    for _ in 0..30 {
        put(&site, "a", SMALL).await.unwrap();
        site.delete("a").await.unwrap();
        assert!(missing(&site, "a").await);
        put(&site, "a", SMALL).await.unwrap();
        let image = as_if_killed(live.path());
        assert!(whole(&tiny(image.path()), "a", SMALL).await && whole(&site, "a", SMALL).await);
    }
}

/// As a loss of power may leave it: the last batch up to some block, what was flushed before whole.
#[tokio::test]
async fn a_torn_batch_takes_nothing_else() {
    let live = folder();
    let site = tiny(live.path());
    let (early, late) = (names("early", 4), names("late", 3));
    put_all(&site, &early, 10_000).await;
    put_all(&site, &late, 10_000).await;
    // Three blocks each, behind the header.
    let (first, last) = (1 + 3 * early.len(), 1 + 3 * (early.len() + late.len()));
    for block in first..=last {
        let image = as_if_killed(live.path());
        let file = files(image.path()).swap_remove(0);
        change(&file, |bytes| bytes[block * BLOCK..].fill(0));
        let after = tiny(image.path());
        for name in &early {
            assert!(whole(&after, name, 10_000).await, "{name} at {block}");
        }
        let mut left = 0;
        for name in &late {
            left += usize::from(whole(&after, name, 10_000).await);
        }
        assert_eq!(left, (block - first) / 3);
        put(&after, "next", SMALL).await.unwrap();
        drop(after);
        assert!(whole(&tiny(image.path()), "next", SMALL).await);
    }
}

#[tokio::test]
async fn a_damaged_footer_takes_nothing() {
    let live = folder();
    let site = tiny(live.path());
    let all = names("shards", 100);
    put_all(&site, &all, SMALL).await;
    site.delete(&all[0]).await.unwrap();
    drop(site);
    for harm in [0, 9, 17, 33, 100] {
        let image = as_if_killed(live.path());
        for file in files(image.path()) {
            change(&file, |bytes| bytes[TINY.data_end() as usize + harm] ^= 1);
        }
        for _ in 0..2 {
            let after = tiny(image.path());
            assert!(missing(&after, &all[0]).await);
            for name in &all[1..] {
                assert!(whole(&after, name, SMALL).await, "{name}, {harm}");
            }
        }
    }
}

/// Somebody tidies up. What is acknowledged afterwards must be in a segment that exists.
#[tokio::test]
async fn deleted_segments_are_noticed() {
    let live = folder();
    let site = open(live.path());
    put(&site, "a", SMALL).await.unwrap();
    assert!(whole(&site, "a", SMALL).await);
    // A spare may be made meanwhile.
    while live.path().join(SEGMENTS_DIR).exists() {
        let _ = std::fs::remove_dir_all(live.path().join(SEGMENTS_DIR));
    }
    down(put(&site, "b", SMALL).await);
    put(&site, "b", SMALL).await.unwrap();
    put(&site, "c", SMALL).await.unwrap();
    assert!(missing(&site, "a").await);
    let after = as_if_killed(live.path());
    let after = open(after.path());
    assert!(whole(&after, "b", SMALL).await && whole(&after, "c", SMALL).await);

    // Scrub relies on it: what is gone must be missing, however often it was read before.
    assert!(whole(&site, "b", SMALL).await && whole(&site, "b", SMALL).await);
    for file in files(live.path()) {
        let _ = std::fs::remove_file(file);
    }
    let gone = site.get("b", 0..1).await;
    assert!(matches!(gone, Err(SiteError::NotFound { .. })), "{gone:?}");
    put(&site, "b", SMALL).await.unwrap();
    assert!(whole(&site, "b", SMALL).await);
}

#[tokio::test]
async fn without_room_a_shard_is_a_file() {
    let live = folder();
    let site = Folder::open_sized(live.path().to_owned(), NO_ROOM).unwrap();
    put(&site, "shards/a", SMALL).await.unwrap();
    assert_eq!(std::fs::read(live.path().join("shards/a")).unwrap(), body("shards/a", SMALL));
    assert!(whole(&site, "shards/a", SMALL).await);
    drop(site);

    // With room again, a second put is a record; both are deleted.
    let site = tiny(live.path());
    assert!(whole(&site, "shards/a", SMALL).await);
    put(&site, "shards/a", SMALL).await.unwrap();
    put(&site, "shards/b", SMALL).await.unwrap();
    assert_eq!(site.list("", None, 10).await.unwrap().len(), 2);
    std::fs::write(live.path().join("shards/a"), b"torn").unwrap();
    assert!(whole(&site, "shards/a", SMALL).await, "the segment has the last word");
    assert_eq!(site.size("shards/a").await.unwrap(), SMALL as u64);
    site.delete("shards/a").await.unwrap();
    assert!(missing(&site, "shards/a").await && !live.path().join("shards/a").exists());
    drop(site);

    // A record that went bad is mended by a file.
    for file in files(live.path()) {
        change(&file, |bytes| {
            for block in bytes[BLOCK..TINY.data_end() as usize].chunks_mut(BLOCK) {
                block[BLOCK - 1] ^= 1;
            }
        });
    }
    let site = Folder::open_sized(live.path().to_owned(), NO_ROOM).unwrap();
    assert!(!whole(&site, "shards/b", SMALL).await);
    put(&site, "shards/b", SMALL).await.unwrap();
    assert!(whole(&site, "shards/b", SMALL).await && live.path().join("shards/b").exists());
    drop(site);
    assert!(whole(&tiny(live.path()), "shards/b", SMALL).await);
}

/// A reader that is slow must not see what a segment is used for next.
#[tokio::test]
async fn a_segment_that_is_read_is_not_used_again() {
    let live = folder();
    let site = tiny(live.path());
    put(&site, "a", SMALL).await.unwrap();
    let segments = site.handle.current().unwrap().segments.clone();
    let (held, location) = segments.index.read().find("a").unwrap();
    let file = segments.file(held.id).unwrap();
    let read = || root::read_exact(&file, u64::from(location.offset), 3 * BLOCK).unwrap();
    let before = read();
    site.delete("a").await.unwrap();
    for i in 0..200 {
        let name = format!("b/{i}");
        put(&site, &name, SMALL).await.unwrap();
        site.delete(&name).await.unwrap();
        assert!(read() == before, "after {i}");
    }
    drop(held);
    for i in 0..200 {
        let name = format!("c/{i}");
        put(&site, &name, SMALL).await.unwrap();
        site.delete(&name).await.unwrap();
    }
    assert!(read() != before || root::linked_size(&file).is_none(), "and then it is, or is gone");
    assert!(files(live.path()).len() < 8);
}

/// A few shards of every segment stay: they are moved together, and the space is used again.
#[tokio::test]
async fn segments_are_cleaned() {
    let live = folder();
    let site = tiny(live.path());
    let mut kept = Vec::new();
    for round in 0..20 {
        let some = names(&format!("shards/{round}"), 40);
        put_all(&site, &some, SMALL).await;
        for (i, name) in some.into_iter().enumerate() {
            if i % 10 == 0 {
                kept.push(name);
            } else {
                site.delete(&name).await.unwrap();
            }
        }
        for name in &kept {
            assert!(whole(&site, name, SMALL).await, "{name}");
        }
    }
    drop(site);
    // 80 shards of six blocks fill four segments; all that were put would fill 40.
    let count = files(live.path()).len();
    assert!(count <= 16, "{count} segments");
    let site = tiny(live.path());
    for name in &kept {
        assert!(whole(&site, name, SMALL).await, "{name}");
    }
    // Some that were deleted are back: their deletes were in segments that were used again.
    let listed = site.list("", None, 1000).await.unwrap();
    assert!(kept.iter().all(|name| listed.iter().any(|entry| entry.name == *name)));
}

/// What is damaged cannot be moved; it must not be lost with its neighbours, nor they with it.
#[tokio::test]
async fn a_damaged_record_keeps_its_segment() {
    let live = folder();
    let site = tiny(live.path());
    let all = names("shards", 60);
    put_all(&site, &all, SMALL).await;
    drop(site);
    let file = files(live.path()).swap_remove(0);
    change(&file, |bytes| bytes[BLOCK + 5000] ^= 1);
    let site = tiny(live.path());
    let mut damaged = Vec::new();
    for name in &all {
        if !whole(&site, name, SMALL).await {
            damaged.push(name.clone());
        }
    }
    assert_eq!(damaged.len(), 1);
    let kept: Vec<_> = all.iter().step_by(20).filter(|name| **name != damaged[0]).collect();
    for name in all.iter().filter(|name| !kept.contains(name) && **name != damaged[0]) {
        site.delete(name).await.unwrap();
    }
    for i in 0..100 {
        let name = format!("more/{i}");
        put(&site, &name, SMALL).await.unwrap();
        site.delete(&name).await.unwrap();
    }
    assert!(file.exists() && site.size(&damaged[0]).await.is_ok() && !whole(&site, &damaged[0], SMALL).await);
    for name in kept {
        assert!(whole(&site, name, SMALL).await, "{name}");
    }
    put(&site, &damaged[0], SMALL).await.unwrap();
    assert!(whole(&site, &damaged[0], SMALL).await, "mended");
}

/// The marker may have been replaced before the first small put.
#[tokio::test]
async fn a_folder_without_segments_is_taken() {
    let live = folder();
    std::fs::create_dir(live.path().join(SEGMENTS_DIR)).unwrap();
    std::fs::write(live.path().join(SEGMENTS_DIR).join("replacement"), b"torn").unwrap();
    let site = open(live.path());
    put(&site, "a", SMALL).await.unwrap();
    assert!(!live.path().join("a").exists() && whole(&site, "a", SMALL).await);
}

#[tokio::test]
async fn names_of_segments_are_reserved() {
    let live = folder();
    let site = open(live.path());
    for name in ["segments", "segments/lock", "segments/00000001"] {
        assert!(matches!(put(&site, name, SMALL).await, Err(SiteError::Denied(_))), "{name}");
        assert!(matches!(site.delete(name).await, Err(SiteError::Denied(_))), "{name}");
    }
    put(&site, "a", SMALL).await.unwrap();
    assert_eq!(site.list("segments/", None, 10).await.unwrap(), []);
    assert_eq!(site.list("", None, 10).await.unwrap().len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize),
    Delete(usize),
    Get(usize),
    List(usize),
    Reopen,
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0..40usize;
    let step = prop_oneof![
        12 => name.clone().prop_map(Step::Put),
        8 => name.clone().prop_map(Step::Delete),
        6 => name.clone().prop_map(Step::Get),
        2 => name.prop_map(Step::List),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
    ];
    prop::collection::vec(step, 1..600)
}

/// Every name has its bytes; one in eight is too large for a segment.
fn shape(i: usize) -> (String, usize) {
    let len = if i.is_multiple_of(8) { LARGE } else { 1 + i * 7919 % (64 << 10) };
    (format!("shards/{:x}/{i}", i % 3), len)
}

async fn follow(steps: Vec<Step>) {
    let mut root = folder();
    let mut site = tiny(root.path());
    let mut model: BTreeMap<String, usize> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put(i) => {
                let (name, len) = shape(i);
                put(&site, &name, len).await.unwrap();
                model.insert(name, len);
            }
            Step::Delete(i) => {
                let (name, _) = shape(i);
                site.delete(&name).await.unwrap();
                model.remove(&name);
            }
            Step::Get(i) => {
                let (name, len) = shape(i);
                // Twice: the second answer may come from a cache.
                for _ in 0..2 {
                    assert_eq!(whole(&site, &name, len).await, model.contains_key(&name), "{name}");
                }
            }
            Step::List(i) => {
                let (after, limit) = (shape(i).0, 1 + i % 7);
                let page = site.list("shards/", Some(&after), limit).await.unwrap();
                let page: Vec<_> = page.into_iter().map(|entry| (entry.name, entry.size as usize)).collect();
                let expected = model.range(after.clone()..).filter(|(name, _)| **name != after).take(limit);
                assert_eq!(page, expected.map(|(name, len)| (name.clone(), *len)).collect::<Vec<_>>());
            }
            Step::Reopen => {
                drop(site);
                site = tiny(root.path());
            }
            Step::Kill => {
                // The writer may be cleaning while the copy is made, which no crash would see.
                drop(site);
                root = as_if_killed(root.path());
                site = tiny(root.path());
            }
        }
        // What was deleted may come back with a crash, and is then an orphan.
        for i in 0..40 {
            let (name, len) = shape(i);
            if !model.contains_key(&name) && site.size(&name).await.is_ok() {
                assert!(matches!(step, Step::Reopen | Step::Kill), "{name} is back");
                assert!(whole(&site, &name, len).await);
                model.insert(name, len);
            }
        }
    }
    for i in 0..40 {
        let (name, len) = shape(i);
        assert_eq!(whole(&site, &name, len).await, model.contains_key(&name), "{name}");
    }
    let count = files(root.path()).len();
    assert!(count < 24, "{count} segments for 40 shards");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn like_a_map(steps in steps()) {
        block_on(follow(steps));
    }

    /// In the header, a record, the footer or behind: at most one shard is lost, none is forged
    /// into another.
    #[test]
    fn a_flipped_bit_takes_one_shard(which: prop::sample::Index, at: prop::sample::Index, bit in 0..8u32, sealed: bool) {
        block_on(async {
            let live = folder();
            let site = tiny(live.path());
            let all = names("shards", 60);
            put_all(&site, &all, SMALL).await;
            let image = as_if_killed(live.path());
            let image = if sealed { drop(site); live } else { image };
            let all_files = files(image.path());
            // Most of the file is bodies: the other parts are to be hit too.
            let spots = [0..40, BLOCK..BLOCK + 80, BLOCK..TINY.data_end() as usize, TINY.data_end() as usize..TINY.data_end() as usize + 900];
            for spot in spots {
                let file = &all_files[which.index(all_files.len())];
                let offset = spot.start + at.index(spot.len());
                change(file, |bytes| bytes[offset] ^= 1 << bit);
                let after = tiny(image.path());
                let mut lost = 0;
                for name in &all {
                    lost += usize::from(!whole(&after, name, SMALL).await);
                }
                assert!(lost <= 1, "{lost} shards are lost by a bit at {offset}");
                drop(after);
                change(file, |bytes| bytes[offset] ^= 1 << bit);
            }
        });
    }

    /// The segments lie in a folder that others can write to.
    #[test]
    fn any_segment_is_survived(junk: Vec<u8>, at in 0..4 * BLOCK, name in "(\\.\\./|/|a|segments/0|~){1,4}", foot: Vec<u8>) {
        let parent = folder();
        let root = parent.path().join("site");
        std::fs::create_dir_all(root.join(SEGMENTS_DIR)).unwrap();
        let mut bytes = header(4);
        encode_put(4, 0, &name, &[Bytes::from_static(b"planted")], &mut bytes);
        encode_put(4, 1, "good", &[Bytes::from_static(b"good")], &mut bytes);
        let end = (at + junk.len()).min(bytes.len());
        let harmed = at < end && end > 2 * BLOCK && at < 2 * BLOCK + 60;
        bytes.splice(at.min(end)..end, junk);
        bytes.resize(TINY.data_end() as usize, 0);
        super::footer::encode(4, 2, &foot, &mut bytes);
        bytes[TINY.data_end() as usize + 1] ^= foot.len().is_multiple_of(2) as u8;
        std::fs::write(root.join("segments/00000001"), bytes).unwrap();
        std::fs::write(root.join("segments/ffffffff"), b"").unwrap();
        block_on(async {
            let site = tiny(&root);
            let kept = site.get("good", 0..4).await.is_ok();
            assert!(harmed || kept || !foot.len().is_multiple_of(2));
            put(&site, "next", SMALL).await.unwrap();
            assert!(whole(&site, "next", SMALL).await);
        });
        // Nothing beside the site.
        prop_assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
