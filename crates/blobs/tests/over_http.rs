//! A site behind HTTP is the site: the suite that every site passes, through the client that gateways use.

mod common;

use std::sync::Arc;

use bytes::Bytes;
use common::Served;
use sites::{Folder, Site, SiteError};

fn folder(dir: &tempfile::TempDir) -> Arc<dyn Site> {
    Arc::new(Folder::open_alone(dir.path().to_owned()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::new(folder(&dir)).await;
    for (prefix, more) in [("", vec![]), ("deep/prefix", vec![("unsigned_payload", "false")])] {
        let site = served.open(prefix, &more);
        sites::conformance::suite(site.as_ref()).await;
        sites::conformance::whole_name_order(site.as_ref()).await;
    }
}

/// What a gateway wrote by the network is there for who opens the folder, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn the_folder_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = Bytes::from(vec![7; 100_000]);
    let served = Served::new(folder(&dir)).await;
    served.open("", &[]).put("a/large", std::slice::from_ref(&bytes)).await.unwrap();
    served.open("", &[]).put("a/small", &[bytes.slice(..100)]).await.unwrap();
    let in_use = Folder::open(dir.path().to_owned()).err().unwrap();
    assert!(in_use.to_string().contains("in use by another process"), "{in_use}");
    served.stop().await;
    let site = Folder::open(dir.path().to_owned()).unwrap();
    assert_eq!(site.get("a/large", 0..100_000).await.unwrap(), bytes);
    assert_eq!(site.size("a/small").await.unwrap(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_goes_is_down_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (here, away) = (dir.path().join("site"), dir.path().join("away"));
    std::fs::create_dir(&here).unwrap();
    let served = Served::new(Arc::new(Folder::open_alone(here.clone()).unwrap())).await;
    let site = served.open("", &[]);
    site.put("a", &[Bytes::from_static(b"x")]).await.unwrap();
    std::fs::rename(&here, &away).unwrap();
    assert!(matches!(site.size("a").await, Err(SiteError::Down(_))));
    assert!(matches!(site.size("none").await, Err(SiteError::Down(_))));
    assert!(matches!(site.put("b", &[Bytes::from_static(b"x")]).await, Err(SiteError::Down(_))));
    assert!(matches!(site.list("", None, 10).await, Err(SiteError::Down(_))));
    std::fs::rename(&away, &here).unwrap();
    assert_eq!(site.get("a", 0..1).await.unwrap(), "x");
}
