//! A folder that several gateways use at the same time, as behind `site serve`.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::join_all;

use super::tests::{LARGE, SMALL, body, folder, put, whole};
use super::*;

/// A reader finds the bytes, or nothing, or a put under way; never other bytes.
async fn sensible(site: &Folder, name: &str, len: usize) {
    match site.get(name, 0..len as u64).await {
        Ok(bytes) => assert!(bytes == body(name, len), "{name} has other bytes"),
        Err(SiteError::NotFound { .. } | SiteError::Short { .. }) => {}
        Err(error) => panic!("{name}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn puts_deletes_and_reads_of_one_name_at_once() {
    let dir = folder();
    let site = Folder::open_alone(dir.path().to_owned()).unwrap();
    for len in [SMALL, LARGE] {
        for round in 0..10 {
            let name = &format!("crowd/{len}.{round}");
            let puts = join_all((0..4).map(|_| put(&site, name, len)));
            let deletes = join_all((0..2).map(|_| site.delete(name)));
            let reads = join_all((0..4).map(|_| sensible(&site, name, len)));
            let (puts, deletes, _) = futures::join!(puts, deletes, reads);
            assert!(puts.iter().chain(&deletes).all(Result::is_ok), "{puts:?} {deletes:?}");
            sensible(&site, name, len).await;
            put(&site, name, len).await.unwrap();
            assert!(whole(&site, name, len).await, "{name}");
            site.delete(name).await.unwrap();
            assert!(matches!(site.size(name).await, Err(SiteError::NotFound { .. })), "{name}");
        }
    }
}

/// What was there before a listing began, and stays, is in it, whatever is put and deleted meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn listings_while_others_put_and_delete() {
    let dir = folder();
    let site = Folder::open_alone(dir.path().to_owned()).unwrap();
    let name = |i: usize, kind: &str| format!("listed/{:02x}/{i:03}.{kind}", i % 5);
    let len = |i: usize| if i.is_multiple_of(3) { LARGE } else { 100 };
    join_all((0..60).map(|i| {
        let site = &site;
        async move { put(site, &name(i, "stays"), len(i)).await.unwrap() }
    }))
    .await;
    let mut stays: Vec<_> = (0..60).map(|i| name(i, "stays")).collect();
    stays.sort();
    let done = AtomicBool::new(false);
    let change = async {
        for i in 0..60 {
            put(&site, &name(i, "goes"), len(i)).await.unwrap();
            put(&site, &name(i, "stays"), len(i)).await.unwrap();
            site.delete(&name(i, "goes")).await.unwrap();
        }
        done.store(true, Ordering::Release);
    };
    let look = async {
        while !done.load(Ordering::Acquire) {
            let mut found: Vec<String> = Vec::new();
            loop {
                let page = site.list("listed/", found.last().map(String::as_str), 7).await.unwrap();
                if page.is_empty() {
                    break;
                }
                found.extend(page.into_iter().map(|entry| entry.name));
            }
            assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
            found.retain(|name| name.ends_with(".stays"));
            assert_eq!(found, stays);
        }
    };
    futures::join!(change, look);
}
