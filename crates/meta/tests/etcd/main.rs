//! The engine over etcd, against Debian's etcd: `apt-get install etcd-server etcd-client`, which `cargo xtask test` does.

mod cluster;
mod failover;
mod group;
mod proxy;

use cluster::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn one_member_conforms() {
    let cluster = Cluster::one().await;
    meta::conformance::suite(&cluster.open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_members_with_tls_and_authentication_conform() {
    let cluster = Cluster::five().await;
    let engine = cluster.open().await;
    meta::conformance::suite(&engine).await;
    let health = engine.health().await;
    assert_eq!((health.reachable(), health.members.len()), (5, 5), "{health:?}");
    assert_eq!(health.members.iter().filter(|member| member.leader).count(), 1, "{health:?}");
    assert!(health.members.iter().all(|member| member.version.starts_with("3.") && member.db_bytes > 0), "{health:?}");
    engine.compact_keeping(std::time::Duration::ZERO).await.expect("a user of the prefix may compact");
    // etcd lets those with the role root defragment.
    let refused = engine.defragment(1).await.expect_err("a user of the prefix may not defragment").to_string();
    assert!(refused.contains("\"holdfast\""), "{refused}");
}
