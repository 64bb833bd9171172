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
    meta::conformance::suite(&cluster.open().await).await;
}
