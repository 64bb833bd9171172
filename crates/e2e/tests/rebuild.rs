//! All of the metadata is lost, and two of the five sites with it.

use std::path::Path;

use e2e::{Load, Server};

#[test]
#[ignore = "needs clients; run `cargo xtask e2e`"]
fn metadata_that_are_lost_are_made_anew_from_three_sites() {
    let mut server = Server::start();
    for (round, lost) in [["dc1", "dc2"], ["dc3", "dc5"]].into_iter().enumerate() {
        let name = format!("load{round}");
        let load = Load::start(&server, &name);
        load.wait_for_acks(100);
        let (code, told) = server.holdfast(&["user", "create", &format!("ann{round}")]);
        assert_eq!(code, 0, "{told}");
        // In the middle of writes: what was acknowledged in the last moment counts as well.
        server.kill();
        let acks = load.acks.clone();
        load.finish(false);
        let (code, told) = server.holdfast_on_data(&["meta", "rebuild"]);
        assert!(code != 0 && told.contains("not empty"), "rows that are there are not written over: {code} {told}");
        std::fs::remove_dir_all(server.dir().join("data/meta")).expect("the metadata to lose");
        let hidden: Vec<_> = lost.iter().map(|name| (server.site(name), server.dir().join(name))).collect();
        hidden.iter().for_each(|(site, away)| std::fs::rename(site, away).expect("a site to lose"));
        let (code, told) = server.holdfast_on_data(&["meta", "rebuild", "--dry-run"]);
        assert!(code == 0 && told.contains("nothing was written"), "{code} {told}");
        let (code, told) = server.holdfast_on_data(&["meta", "rebuild"]);
        assert!(code == 0 && told.contains("rows made"), "{code} {told}");
        server.boot();
        let verify = |name: &str, acks: &Path| server.py("verify.py", &[name, acks.to_str().expect("a path")]);
        verify(&name, &acks);
        let (code, told) = server.holdfast(&["user", "list"]);
        assert!(code == 0 && told.contains(&format!("ann{round}")), "{told}");
        hidden.iter().for_each(|(site, away)| std::fs::rename(away, site).expect("a site back"));
        server.wait_whole();
        verify(&name, &acks);
    }
}
