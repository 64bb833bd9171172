//! Listings as S3 has them, over a site that lists below whole folders.

use sites::{Entry, Site, SiteError};

use crate::ask::ListAsk;

/// Names asked for at once where folders are told as one, and most names found are passed over.
const LOOK: usize = 32;
/// Sorts behind all that names are made of.
const LAST: char = '~';

/// A part of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) folders: Vec<String>,
    /// What the next page comes after, if there is one.
    pub(crate) next: Option<String>,
}

impl Page {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.folders.len()
    }
}

/// # Errors
/// The site's.
pub(crate) async fn page(site: &dyn Site, ask: &ListAsk) -> Result<Page, SiteError> {
    let mut page = Page::default();
    if ask.max == 0 || !ask.prefix.is_ascii() {
        return Ok(page);
    }
    let (under, begun) = ask.prefix.rsplit_once('/').map_or(("", ask.prefix.as_str()), |(under, begun)| {
        (ask.prefix.get(..=under.len()).unwrap_or_default(), begun)
    });
    let mut after = ask.after.clone().max(just_before(under, begun));
    loop {
        let want = ask.max + 1 - page.len();
        let want = if ask.folders { want.min(LOOK) } else { want };
        let found = site.list(under, after.as_deref(), want).await?;
        let mut over = found.len() < want;
        for entry in found {
            if !entry.name.starts_with(&ask.prefix) {
                if entry.name > ask.prefix {
                    return Ok(page);
                }
                after = Some(entry.name);
                continue;
            }
            if page.len() == ask.max {
                page.next = after;
                return Ok(page);
            }
            let below = entry.name.get(ask.prefix.len()..).and_then(|rest| rest.find('/'));
            if let Some(at) = below.filter(|_| ask.folders) {
                let folder = entry.name.get(..=ask.prefix.len() + at).unwrap_or_default().to_owned();
                after = Some(format!("{folder}{LAST}"));
                page.folders.push(folder);
                over = false;
                break;
            }
            after = Some(entry.name.clone());
            page.entries.push(entry);
        }
        if over {
            return Ok(page);
        }
    }
}

/// Something before all names that begin so, and behind most of what is before them.
fn just_before(under: &str, begun: &str) -> Option<String> {
    let mut text = format!("{under}{begun}");
    let last = if begun.is_empty() { None } else { text.pop() }?;
    let before = u8::try_from(last).ok()?.checked_sub(1)?;
    text.push(char::from(before));
    text.push(LAST);
    Some(text)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sites::Memory;

    use super::*;

    async fn told(ask: ListAsk) -> (Vec<String>, Vec<String>) {
        let site = Memory::new();
        for name in ["a", "b/c/d", "b/c/e", "b/f", "b0", "ba/x", "bb", "holdfast-site.json"] {
            site.put(name, &[Bytes::from_static(b"x")]).await.unwrap();
        }
        let (mut names, mut folders) = (Vec::new(), Vec::new());
        let mut next = ask.after.clone();
        loop {
            let page = page(&site, &ListAsk { after: next, prefix: ask.prefix.clone(), ..ask }).await.unwrap();
            assert!(page.len() <= ask.max);
            names.extend(page.entries.into_iter().map(|entry| entry.name));
            folders.extend(page.folders);
            match page.next {
                Some(more) => next = Some(more),
                None => return (names, folders),
            }
        }
    }

    #[tokio::test]
    async fn prefixes_and_folders() {
        for (prefix, folders, after, names, below) in [
            ("", true, None, &["a", "b0", "bb", "holdfast-site.json"][..], &["b/", "ba/"][..]),
            ("b", true, None, &["b0", "bb"], &["b/", "ba/"]),
            ("b", false, None, &["b/c/d", "b/c/e", "b/f", "b0", "ba/x", "bb"], &[]),
            ("b/", true, None, &["b/f"], &["b/c/"]),
            ("b/c", true, None, &[], &["b/c/"]),
            ("b/c/", false, Some("b/c/d"), &["b/c/e"], &[]),
            ("b/", false, Some("b/c/e"), &["b/f"], &[]),
            ("b/c/e", false, None, &["b/c/e"], &[]),
            ("none/", true, None, &[], &[]),
            ("\u{e9}", true, None, &[], &[]),
        ] {
            for max in [1, 2, 1000] {
                let after = after.map(str::to_owned);
                let ask = ListAsk { prefix: prefix.to_owned(), after, folders, max, encoded: false };
                let told = told(ask).await;
                assert_eq!((told.0, told.1), (owned(names), owned(below)), "{prefix:?} in pages of {max}");
            }
        }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
