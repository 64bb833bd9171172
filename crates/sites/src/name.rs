//! What a name may look like. Names come from our own records, but records are read from storage
//! too: a site must not be led out of its folder by one.

use crate::SiteError;

/// Longest name, bytes. File systems allow 255 per segment; S3 1,024 in all, prefix included.
const NAME_MAX: usize = 512;
/// Longest segment, bytes (Linux: NAME_MAX).
const SEGMENT_MAX: usize = 255;

fn segment_ok(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= SEGMENT_MAX
        && segment != "."
        && segment != ".."
        && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// Whether this is a name by the rules of [`crate::Site`].
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX && name.split('/').all(segment_ok)
}

/// Whether this is a prefix that [`crate::Site::list`] takes: empty, or segments ending in `/`.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    prefix.is_empty() || prefix.strip_suffix('/').is_some_and(is_name)
}

/// Refuses what is not a name.
pub(crate) fn check_name(name: &str) -> Result<(), SiteError> {
    if is_name(name) { Ok(()) } else { Err(SiteError::Denied(format!("{name:?} is not a name that sites keep"))) }
}

/// Refuses what is not a prefix.
pub(crate) fn check_prefix(prefix: &str) -> Result<(), SiteError> {
    if is_prefix(prefix) {
        Ok(())
    } else {
        Err(SiteError::Denied(format!("{prefix:?} is not a prefix of whole segments")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "shards/ab/00ff.0.4", "holdfast-site.json", "a/b_c/..d", "..."] {
            assert!(is_name(good), "{good}");
        }
        let long = "a".repeat(SEGMENT_MAX + 1);
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a/.", "A", "a b", "~a", "a\0", "\u{e9}", &long] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn prefixes() {
        for (prefix, good) in [("", true), ("a/", true), ("a/b/", true), ("a", false), ("/", false), ("../", false)] {
            assert_eq!(is_prefix(prefix), good, "{prefix:?}");
        }
    }
}
