//! temporary
mod common;
use common::Rig;
use icap::{Options, serve};
use listener::bind;
#[tokio::test]
async fn manual() {
    let Ok(port) = std::env::var("ICAP_MANUAL") else { return };
    let rig = Rig::new(Options::default());
    let listener = bind(format!("127.0.0.1:{port}").parse().unwrap()).unwrap();
    let _ =
        tokio::time::timeout(std::time::Duration::from_secs(1500), serve(listener, rig.icap.clone(), rig.stop.clone()))
            .await;
}
#[tokio::test(start_paused = true)]
async fn manual_full() {
    use tokio::io::AsyncWriteExt;
    let rig = Rig::new(Options { deadline: std::time::Duration::from_secs(20), ..Options::default() });
    let mut held = vec![];
    for _ in 0..32 {
        let (mut c, t) = rig.connect();
        c.write_all(&common::respmod(&[])).await.unwrap();
        c.write_all(b"fffffff\r\n").await.unwrap();
        let piece = vec![1u8; 64 * 1024];
        for _ in 0..128 {
            c.write_all(&piece).await.unwrap();
        }
        held.push((c, t));
    }
    let began = tokio::time::Instant::now();
    let a = rig.answer(&common::respmod_of(b"hello", &[common::ALLOW])).await;
    println!("{a:?} after {:?}", began.elapsed());
    assert_eq!(a.code, 503);
}
#[tokio::test]
async fn manual_2g() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for headers in [&[][..]] {
        let rig = Rig::new(Options { incomplete: icap::Incomplete::Pass, ..Options::default() });
        let (c, _t) = rig.connect();
        let (mut r, mut w) = tokio::io::split(c);
        w.write_all(&common::respmod(headers)).await.unwrap();
        w.write_all(b"80000001\r\n").await.unwrap();
        let piece = vec![1u8; 1 << 20];
        for _ in 0..2048 {
            w.write_all(&piece).await.unwrap();
        }
        w.write_all(b"x\r\n0\r\n\r\n").await.unwrap();
        w.shutdown().await.unwrap();
        let mut out = vec![];
        r.read_to_end(&mut out).await.unwrap();
        println!("{}", String::from_utf8_lossy(&out[..out.len().min(600)]));
    }
}
