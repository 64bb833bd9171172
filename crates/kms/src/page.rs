//! Lists in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Code, Fault};
use crate::limits::MARKER_MAX;
use crate::validate;

/// How long a page is, unless the client says so, and at most.
pub(crate) struct Pages {
    pub(crate) default: i64,
    pub(crate) max: i64,
}

impl Pages {
    /// `Limit`.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(crate) fn limit(&self, asked: Option<i64>) -> Result<usize, Fault> {
        let limit = asked.map_or(Ok(self.default), |asked| validate::between(asked, "limit", 1, self.max))?;
        Ok(usize::try_from(limit).unwrap_or(1))
    }
}

/// Says where the next page begins: after `last`, in the list `list`.
pub(crate) fn marker(list: &str, last: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{last}"))
}

/// What [`marker`] said.
///
/// # Errors
/// `InvalidMarkerException`, also for a marker of another list.
pub(crate) fn after(list: &str, marker: Option<&str>) -> Result<Option<String>, Fault> {
    let Some(marker) = marker else { return Ok(None) };
    let invalid = || Fault::new(Code::InvalidMarker, "Invalid Marker");
    if marker.len() > MARKER_MAX {
        return Err(invalid());
    }
    let text =
        URL_SAFE_NO_PAD.decode(marker).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(invalid)?;
    let (of, last) = text.split_once(':').ok_or_else(invalid)?;
    if of == list { Ok(Some(last.to_owned())) } else { Err(invalid()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_belong_to_their_list() {
        let told = marker("keys", "a:b");
        assert_eq!(after("keys", Some(&told)).unwrap().as_deref(), Some("a:b"));
        assert_eq!(after("keys", None).unwrap(), None);
        for (list, bad) in [("aliases", told.as_str()), ("keys", "x"), ("keys", ""), ("keys", "é")] {
            assert_eq!(after(list, Some(bad)).unwrap_err().code, Code::InvalidMarker, "{bad}");
        }
    }
}
