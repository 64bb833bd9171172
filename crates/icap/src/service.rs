//! The services that there are, by the paths of their addresses (RFC 3507, section 4.2), and what they do when there is no verdict.

use std::time::Duration;

use crate::limits::{BODY_MAX, CONNECTIONS, DEADLINE, PREVIEW};
use crate::request::Method;

/// A service: what may be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service {
    /// It takes requests to be (REQMOD).
    pub requests: bool,
    /// It takes responses (RESPMOD).
    pub responses: bool,
}

/// Both. RFC 3507 gives a service one method. These are the names that existing configurations have for both: c-icap's modules and aliases
/// list both as well, and Squid refuses a service whose `Methods` lack the one it was configured for.
const BOTH: Service = Service { requests: true, responses: true };
const REQUESTS: Service = Service { requests: true, responses: false };
const RESPONSES: Service = Service { requests: false, responses: true };

/// The paths. They are all one scan service.
const PATHS: &[(&str, Service)] = &[
    // Ours.
    ("/scan", BOTH),
    ("/reqmod", REQUESTS),
    ("/respmod", RESPONSES),
    // c-icap's modules, the aliases of their sample configuration, and so what Nextcloud and Squid are told in most guides.
    ("/avscan", BOTH),
    ("/srv_clamav", BOTH),
    ("/virus_scan", BOTH),
    ("/squidclamav", BOTH),
];

impl Service {
    /// The service at a path; what follows a `?` is not part of it: c-icap's options stand there (`/avscan?allow204=on`).
    pub fn at(path: &str) -> Option<Self> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let path = path.strip_suffix('/').unwrap_or(path);
        PATHS.iter().find(|(name, _)| *name == path).map(|(_, service)| *service)
    }

    /// Whether the method is one of it. OPTIONS is one of all.
    pub fn takes(self, method: Method) -> bool {
        match method {
            Method::Options => true,
            Method::Reqmod => self.requests,
            Method::Respmod => self.responses,
        }
    }

    /// The value of `Methods` (section 4.10.2).
    pub fn methods(self) -> &'static str {
        match (self.requests, self.responses) {
            (true, true) => "RESPMOD, REQMOD",
            (true, false) => "REQMOD",
            (false, _) => "RESPMOD",
        }
    }
}

/// What is done with a content that could not be looked at as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Incomplete {
    /// The client is told in a 500 with an `X-Error-Code`, and decides.
    #[default]
    Error,
    /// It is taken for infected.
    Block,
    /// It is taken for clean; an `X-Holdfast-Incomplete` says why it may not be.
    Pass,
}

/// What is done while there is no verdict to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unavailable {
    /// The client is told in a 503 or a 500.
    #[default]
    Refuse,
    /// Contents pass, as far as they can without having been kept; an `X-Holdfast-Degraded: unscanned` says that nobody looked.
    Pass,
}

/// How a server behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// In whose name is asked.
    pub tenant: String,
    /// How long a verdict is waited for, once all of a body is there; and, before that, room for more of it.
    pub deadline: Duration,
    /// Contents that could not be looked at as a whole.
    pub incomplete: Incomplete,
    /// No verdict to be had.
    pub unavailable: Unavailable,
    /// Bytes of a body that are scanned; of a longer one is said that it is too large, which is [`Options::incomplete`].
    pub body_max: u64,
    /// Bytes of a preview that clients are asked for.
    pub preview: u64,
    /// Connections at once.
    pub connections: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tenant: String::new(),
            deadline: DEADLINE,
            incomplete: Incomplete::default(),
            unavailable: Unavailable::default(),
            body_max: BODY_MAX,
            preview: PREVIEW,
            connections: CONNECTIONS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let table = [
            ("/scan", Some("RESPMOD, REQMOD")),
            ("/scan/", Some("RESPMOD, REQMOD")),
            ("/avscan?allow204=on&mode=simple", Some("RESPMOD, REQMOD")),
            ("/reqmod", Some("REQMOD")),
            ("/respmod", Some("RESPMOD")),
            ("/squidclamav", Some("RESPMOD, REQMOD")),
            ("/", None),
            ("", None),
            ("/scan/more", None),
            ("/SCAN", None),
            ("scan", None),
            ("//scan", None),
        ];
        for (path, methods) in table {
            assert_eq!(Service::at(path).map(Service::methods), methods, "{path}");
        }
        for (service, reqmod, respmod) in [(BOTH, true, true), (REQUESTS, true, false), (RESPONSES, false, true)] {
            let takes = [Method::Options, Method::Reqmod, Method::Respmod].map(|method| service.takes(method));
            assert_eq!(takes, [true, reqmod, respmod]);
        }
    }
}
