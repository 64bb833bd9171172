//! The KMS v2 plugin of Kubernetes, on a Unix socket: kube-apiserver's keys are sealed under a portion's key.
//!
//! gRPC, package `v2`, service `KeyManagementService`: Status, Encrypt, Decrypt (k8s.io/kms, `apis/v2/api.proto`). Who can
//! open the socket may use the key: there are no other credentials in that protocol.

mod limits;
mod message;
mod plugin;
mod rpc;
mod server;

pub use listener::{LocalSocket as Socket, PATH_MAX, SocketError};
pub use server::serve;
