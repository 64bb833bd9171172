//! What is decided, and which documents are refused.

mod decisions;
mod documents;
mod slices;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use release::{Action, Circumstances, Portion, Principal, Question, Via};

static TAGS: LazyLock<BTreeMap<String, String>> =
    LazyLock::new(|| BTreeMap::from([("pii".to_owned(), "yes".to_owned())]));
static GROUPS: LazyLock<Vec<String>> = LazyLock::new(|| vec!["apps".to_owned(), "night".to_owned()]);

/// A Tuesday, 10:00 UTC.
const TUESDAY_MS: u64 = 1_794_909_600_000 + 14 * 24 * 3_600_000;

/// alice, of apps and night, opens users/7 through S3 from 10.1.2.3.
fn question() -> Question<'static> {
    Question {
        tenant: "default",
        principal: Principal { name: Some("alice"), groups: &GROUPS, is_root: false },
        action: Action::Open,
        portion: Portion { name: "users/7", key: "11111111-2222-3333-4444-555555555555", class: "sealed", tags: &TAGS },
        circumstances: Circumstances {
            now_ms: TUESDAY_MS,
            via: Via::S3,
            temporary: false,
            address: "10.1.2.3".parse().ok(),
        },
    }
}
