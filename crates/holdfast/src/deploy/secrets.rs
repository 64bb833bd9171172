//! Secrets that machines share: found in the folder of an earlier plan, at whichever site, or made.

use base::Rng;
use zeroize::Zeroizing;

use super::description::Blob;
use super::{Description, Existing, Mistakes};

/// Bytes of a password, before they are written in hexadecimal.
const PASSWORD_BYTES: usize = 24;

/// The secrets of a cluster, as texts of their files.
pub(crate) struct Secrets {
    /// Access key and secret of root: the same at all gateways.
    pub(crate) root: Zeroizing<String>,
    /// The password of etcd's user for the gateways.
    pub(crate) etcd: Zeroizing<String>,
    /// The password of etcd's root; `None` where it was taken away.
    pub(crate) etcd_root: Option<Zeroizing<String>>,
    /// Access key and secret of the site servers, in the order of the sites; `None` for buckets.
    pub(crate) blobs: Vec<Option<Zeroizing<String>>>,
}

pub(crate) fn obtain(description: &Description, existing: &dyn Existing, rng: &dyn Rng) -> Result<Secrets, Mistakes> {
    let names: Vec<&str> = description.sites.iter().map(|site| site.name.as_str()).collect();
    let everywhere = |file: &str| names.iter().map(|name| format!("{name}/holdfast/{file}")).collect::<Vec<_>>();
    let etcd_root = match found(&["ca/etcd-root.password".to_owned()], existing) {
        // Another one would not be etcd's any more.
        Ok(None) if found(&everywhere("etcd.password"), existing).is_ok_and(|found| found.is_some()) => None,
        Ok(text) => Some(text.unwrap_or_else(|| password(rng))),
        Err(mistake) => return Err(Mistakes(vec![mistake])),
    };
    let mut mistakes = Vec::new();
    let mut find = |paths: Vec<String>, make: &dyn Fn() -> Zeroizing<String>| match found(&paths, existing) {
        Ok(found) => found.unwrap_or_else(make),
        Err(mistake) => {
            mistakes.push(mistake);
            Zeroizing::new(String::new())
        }
    };
    let secrets = Secrets {
        root: find(everywhere("credentials"), &|| credentials(rng)),
        etcd: find(everywhere("etcd.password"), &|| password(rng)),
        etcd_root,
        blobs: description
            .sites
            .iter()
            .map(|site| match site.blob {
                Blob::Folder(_) => {
                    Some(find(everywhere(&format!("sites/{}.credentials", site.name)), &|| credentials(rng)))
                }
                Blob::Bucket { .. } => None,
            })
            .collect(),
    };
    if mistakes.is_empty() { Ok(secrets) } else { Err(Mistakes(mistakes)) }
}

/// The text that all have that are there.
fn found(paths: &[String], existing: &dyn Existing) -> Result<Option<Zeroizing<String>>, String> {
    let mut first: Option<(&String, Zeroizing<String>)> = None;
    for path in paths {
        let Some(text) = existing.read(path).map_err(|error| format!("{path}: {error}"))? else { continue };
        match &first {
            Some((other, same)) if *same != text => {
                return Err(format!("{other} and {path} differ, and must not: remove the wrong one"));
            }
            Some(_) => {}
            None => first = Some((path, text)),
        }
    }
    Ok(first.map(|(_, text)| text))
}

fn credentials(rng: &dyn Rng) -> Zeroizing<String> {
    let (access_key, secret_key) = store::new_credentials(rng);
    let secret_key = Zeroizing::new(secret_key);
    Zeroizing::new(format!("access_key = \"{access_key}\"\nsecret_key = \"{}\"\n", secret_key.as_str()))
}

fn password(rng: &dyn Rng) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; PASSWORD_BYTES]);
    rng.fill(bytes.as_mut());
    Zeroizing::new(hex::encode(bytes.as_ref()) + "\n")
}
