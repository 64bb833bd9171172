use super::*;

fn body(len: usize) -> Vec<Bytes> {
    vec![Bytes::from((0..len).map(|i| (i % 251) as u8).collect::<Vec<_>>())]
}

#[tokio::test]
async fn passes_the_suite() {
    let folder = tempfile::tempdir().unwrap();
    let site = Folder::open(folder.path().to_owned()).unwrap();
    crate::conformance::suite(&site).await;
}
