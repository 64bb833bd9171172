//! What a call may end with, and how etcd's words are read.

use tonic::{Code, Status};

/// Why a call was not answered with what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No member answered within the deadline.
    #[error("no answer from a majority of etcd's members ({causes}): start members that are down, or mend the network")]
    Unreachable {
        /// Endpoint by endpoint, the last thing that went wrong there.
        causes: String,
        /// Whether a member may have taken the call, so that it may still be served.
        sent: bool,
    },
    /// The revision asked for is compacted away.
    #[error("etcd has compacted the revision that was asked for")]
    Compacted,
    /// The quota is used up.
    #[error("etcd's space quota is used up: compact, defragment, raise --quota-backend-bytes, then disarm the alarm")]
    NoSpace,
    /// Past one of etcd's limits; which.
    #[error("too large for etcd: {0}")]
    TooLarge(&'static str),
    /// User or password are wrong, or the user may not.
    #[error("{0}")]
    Denied(String),
    /// Anything else that repeating does not help.
    #[error("etcd refuses: {0}")]
    Refused(String),
}

/// Why a client cannot be set up. Never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file for TLS cannot be used.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// An address is none.
    #[error("{0} is no address of a member; give HOST:PORT")]
    Address(String),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(String),
}

/// What an answer that is an error makes the client do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Another member may answer, or this one later.
    Elsewhere,
    /// The token has run out, or the member has forgotten it.
    Authenticate,
    /// It is the answer.
    Final(Refusal),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Compacted,
    NoSpace,
    TooLarge(&'static str),
    NoToken,
    WrongPassword,
    NotEnabled,
    Denied,
    Other,
}

/// Reads etcd's error. Its codes are coarse (InvalidArgument is both a token of before and a request too large), so that its
/// words, which have been the same since 3.0, decide (`etcdserver/api/v3rpc/rpctypes/error.go`).
pub(crate) fn reaction(status: &Status) -> Reaction {
    let words: [(&str, Reaction); 11] = [
        ("invalid auth token", Reaction::Authenticate),
        ("revision of auth store is old", Reaction::Authenticate),
        ("required revision has been compacted", Reaction::Final(Refusal::Compacted)),
        ("database space exceeded", Reaction::Final(Refusal::NoSpace)),
        ("request is too large", Reaction::Final(Refusal::TooLarge("bytes"))),
        ("too many operations", Reaction::Final(Refusal::TooLarge("operations"))),
        ("user name is empty", Reaction::Final(Refusal::NoToken)),
        ("invalid user ID or password", Reaction::Final(Refusal::WrongPassword)),
        ("authentication is not enabled", Reaction::Final(Refusal::NotEnabled)),
        ("permission denied", Reaction::Final(Refusal::Denied)),
        ("future revision", Reaction::Elsewhere),
    ];
    if let Some((_, reaction)) = words.into_iter().find(|(word, _)| status.message().contains(word)) {
        return reaction;
    }
    match status.code() {
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::AlreadyExists => Reaction::Final(Refusal::Other),
        Code::PermissionDenied | Code::Unauthenticated => Reaction::Final(Refusal::Denied),
        _ => Reaction::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcds_words_decide() {
        let table = [
            (Code::Unauthenticated, "etcdserver: invalid auth token", Reaction::Authenticate),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", Reaction::Authenticate),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Reaction::Final(Refusal::Compacted),
            ),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Reaction::Final(Refusal::NoSpace)),
            (Code::InvalidArgument, "etcdserver: request is too large", Reaction::Final(Refusal::TooLarge("bytes"))),
            (
                Code::InvalidArgument,
                "etcdserver: too many operations in txn request",
                Reaction::Final(Refusal::TooLarge("operations")),
            ),
            (Code::InvalidArgument, "etcdserver: user name is empty", Reaction::Final(Refusal::NoToken)),
            (Code::PermissionDenied, "etcdserver: permission denied", Reaction::Final(Refusal::Denied)),
            (Code::Unavailable, "etcdserver: leader changed", Reaction::Elsewhere),
            (Code::Unavailable, "etcdserver: request timed out", Reaction::Elsewhere),
            (Code::ResourceExhausted, "etcdserver: too many requests", Reaction::Elsewhere),
            (Code::InvalidArgument, "etcdserver: duplicate key given in txn request", Reaction::Final(Refusal::Other)),
            (Code::Unknown, "transport error", Reaction::Elsewhere),
        ];
        for (code, message, expected) in table {
            assert_eq!(reaction(&Status::new(code, message)), expected, "{message}");
        }
    }
}
