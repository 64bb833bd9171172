//! The messages that are used here, as `rpc.proto` and `kv.proto` of etcd 3.4 number their fields.
//!
//! Written by hand: no compiler of protocol buffers is needed, and what is not used is not there. Fields that are left out
//! of an answer are skipped when it is read.

use std::fmt;

use bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    /// The store's revision when the call was served; for a read, what it saw.
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The revision of the last write.
    #[prost(int64, tag = "3")]
    pub mod_revision: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Empty: this one key.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Most rows; 0: no limit. The server counts all rows of the interval all the same.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// The revision to read at; 0: the newest.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// Answered by the member that is asked from what it has, without a word to the others.
    #[prost(bool, tag = "7")]
    pub serializable: bool,
    #[prost(bool, tag = "8")]
    pub keys_only: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct RangeResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    pub kvs: Vec<KeyValue>,
    /// Rows in the whole interval, whatever the limit.
    #[prost(int64, tag = "4")]
    pub count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub struct DeleteRangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Empty: this one key.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
}

/// An answer of which nothing is used.
#[derive(Clone, PartialEq, Message)]
pub struct Ignored {}

#[derive(Clone, PartialEq, Message)]
pub struct RequestOp {
    #[prost(oneof = "Op", tags = "1, 2, 3, 4")]
    pub op: Option<Op>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Op {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    Delete(DeleteRangeRequest),
    #[prost(message, tag = "4")]
    Txn(TxnRequest),
}

impl From<Op> for RequestOp {
    fn from(op: Op) -> Self {
        Self { op: Some(op) }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct ResponseOp {
    #[prost(oneof = "Answered", tags = "1, 2, 3, 4")]
    pub answer: Option<Answered>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Answered {
    #[prost(message, tag = "1")]
    Range(RangeResponse),
    #[prost(message, tag = "2")]
    Put(Ignored),
    #[prost(message, tag = "3")]
    Delete(Ignored),
    #[prost(message, tag = "4")]
    Txn(TxnResponse),
}

/// What a comparison must result in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Outcome {
    Equal = 0,
    Greater = 1,
}

/// What of a row is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Target {
    Version = 0,
    Mod = 2,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Operand {
    #[prost(int64, tag = "4")]
    Version(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
}

#[derive(Clone, PartialEq, Message)]
pub struct Compare {
    #[prost(enumeration = "Outcome", tag = "1")]
    pub outcome: i32,
    #[prost(enumeration = "Target", tag = "2")]
    pub target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub key: Bytes,
    #[prost(oneof = "Operand", tags = "4, 6")]
    pub operand: Option<Operand>,
    /// Empty: this one key. Otherwise every row of the interval must compare so.
    #[prost(bytes = "bytes", tag = "64")]
    pub range_end: Bytes,
}

impl Compare {
    /// The row was last written at this revision; 0: there is no row.
    pub fn mod_revision(key: Bytes, revision: i64) -> Self {
        Self {
            outcome: Outcome::Equal.into(),
            target: Target::Mod.into(),
            key,
            operand: Some(Operand::ModRevision(revision)),
            range_end: Bytes::new(),
        }
    }

    /// The row is there.
    pub fn present(key: Bytes) -> Self {
        Self {
            outcome: Outcome::Greater.into(),
            target: Target::Version.into(),
            key,
            operand: Some(Operand::Version(0)),
            range_end: Bytes::new(),
        }
    }

    /// There is no row in `[from, to)`. The server loads all rows of the interval to tell.
    pub fn empty(from: Bytes, to: Bytes) -> Self {
        Self {
            outcome: Outcome::Equal.into(),
            target: Target::Version.into(),
            key: from,
            operand: Some(Operand::Version(0)),
            range_end: to,
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// Done when all comparisons hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<RequestOp>,
    /// Done when one does not.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TxnResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<Header>,
    #[prost(bool, tag = "2")]
    pub succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    pub responses: Vec<ResponseOp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct CompactionRequest {
    /// Older values of rows than those at this revision are dropped.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct AuthenticateRequest {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub password: String,
}

impl fmt::Debug for AuthenticateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct AuthenticateResponse {
    #[prost(string, tag = "2")]
    pub token: String,
}

impl fmt::Debug for AuthenticateResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticateResponse").finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusRequest {}

/// How one member stands.
#[derive(Clone, PartialEq, Message)]
pub struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub header: Option<MemberHeader>,
    #[prost(string, tag = "2")]
    pub version: String,
    /// Bytes of its file.
    #[prost(int64, tag = "3")]
    pub db_size: i64,
    /// The member that it takes for the leader; 0: none.
    #[prost(uint64, tag = "4")]
    pub leader: u64,
    #[prost(uint64, tag = "5")]
    pub raft_index: u64,
    #[prost(uint64, tag = "7")]
    pub raft_applied_index: u64,
    #[prost(string, repeated, tag = "8")]
    pub errors: Vec<String>,
    /// Bytes of the file that hold rows.
    #[prost(int64, tag = "9")]
    pub db_size_in_use: i64,
    #[prost(bool, tag = "10")]
    pub is_learner: bool,
}

/// Who answered.
#[derive(Clone, PartialEq, Message)]
pub struct MemberHeader {
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    #[prost(int64, tag = "3")]
    pub revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct DefragmentRequest {}

/// With all fields at zero it asks for the alarms there are.
#[derive(Clone, PartialEq, Message)]
pub struct AlarmRequest {
    #[prost(int32, tag = "1")]
    pub action: i32,
    #[prost(uint64, tag = "2")]
    pub member_id: u64,
    #[prost(int32, tag = "3")]
    pub alarm: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct AlarmResponse {
    #[prost(message, repeated, tag = "2")]
    pub alarms: Vec<AlarmMember>,
}

#[derive(Clone, PartialEq, Message)]
pub struct AlarmMember {
    #[prost(uint64, tag = "1")]
    pub member_id: u64,
    /// 1: no space; 2: corrupt.
    #[prost(int32, tag = "2")]
    pub alarm: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A comparison with zero must be on the wire: etcd reads a missing operand of a oneof as none at all.
    #[test]
    fn bytes_are_those_of_the_proto() {
        let compare = Compare::mod_revision(Bytes::from_static(b"k"), 0);
        assert_eq!(compare.encode_to_vec(), [0x10, 2, 0x1a, 1, b'k', 0x30, 0]);
        let empty = Compare::empty(Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        assert_eq!(empty.encode_to_vec(), [0x1a, 1, b'a', 0x20, 0, 0x82, 4, 1, b'b']);
        let put = Op::Put(PutRequest { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") });
        let nested = Op::Txn(TxnRequest { success: vec![put.into()], ..TxnRequest::default() });
        let bytes = [0x22, 10, 0x12, 8, 0x12, 6, 0x0a, 1, b'k', 0x12, 1, b'v'];
        assert_eq!(RequestOp::from(nested).encode_to_vec(), bytes);
    }
}
