//! Somebody who has all keys of all portions, all of the metadata as it ever was, and all that the sites ever had.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base::{BodyId, PartId, PortionId};
use envelope::{BodyHeader, Dek, Opener};
use keys::{DekPlace, KeyName, PortionKey, Wrap};
use meta::record::{Body, ObjectRecord, PartRecord, Record, SealedPart, key};

use crate::world::{World, rows};

/// Every DEK that was ever under a portion's key, and the versions that it was under.
#[derive(Default)]
pub struct Attacker {
    keys: BTreeMap<KeyName, Arc<PortionKey>>,
    deks: BTreeMap<PartId, (Dek, BTreeSet<KeyName>)>,
}

/// A part that some row names, of a version or an open upload.
pub struct Live {
    /// The object's key.
    pub name: String,
    body: BodyId,
    number: u16,
    pub part: SealedPart,
}

/// All parts that can be read now.
pub async fn live(w: &World) -> Vec<Live> {
    let all = rows(w.meta.as_ref()).await;
    let mut found = Vec::new();
    let mut bodies: BTreeMap<Vec<u8>, (String, BodyId)> = BTreeMap::new();
    for (row_key, value) in &all {
        let name = match row_key.get(..2) {
            Some(b"o/") => key::object_name_of(row_key).unwrap().to_owned(),
            Some(b"v/") => key::version_of(row_key).unwrap().0,
            Some(b"u/") => {
                let (name, upload) = key::upload_of(row_key).unwrap();
                bodies.insert(upload.as_bytes().to_vec(), (name, upload.into()));
                continue;
            }
            _ => continue,
        };
        let record = ObjectRecord::decode(value).unwrap();
        let body = record.body_id;
        match record.body {
            Body::Single(part) => found.push(Live { name, body, number: 0, part }),
            Body::Multipart(_) => drop(bodies.insert(body.as_bytes().to_vec(), (name, body))),
            Body::Empty | Body::Marker => {}
        }
    }
    for (row_key, value) in &all {
        if let Some(rest) = row_key.strip_prefix(b"p/")
            && let Some((name, body)) = bodies.get(&rest[..16])
            && let Some(part) = PartRecord::decode(value).unwrap().sealed
        {
            found.push(Live { name: name.clone(), body: *body, number: key::part_number_of(row_key).unwrap(), part });
        }
    }
    found
}

impl Attacker {
    /// Takes whatever DEKs the metadata and the keys give now.
    pub async fn look(&mut self, w: &World) {
        let bucket = w.bucket().await;
        for Live { name, body, number, part } in live(w).await {
            let Wrap::Portion(under, wrapped) = Wrap::parse(&part.wrapped_dek).unwrap() else { continue };
            if self.deks.get(&part.id).is_some_and(|(_, names)| names.contains(&under)) {
                continue;
            }
            let key = match self.keys.entry(under) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(new) => {
                    // A disabled one's was seen before it was disabled, or will be.
                    let Ok(key) = w.store.portions().to_open(w.store.account(), under).await else { continue };
                    new.insert(key).clone()
                }
            };
            let place = DekPlace { bucket, object: &name, body, number, part: part.id };
            let dek = key.unwrap(&place, &wrapped).unwrap();
            self.deks.entry(part.id).or_insert_with(|| (dek, BTreeSet::new())).1.insert(under);
        }
    }

    /// What he opens now with the DEKs that were under versions of a portion's key below this one: keys of objects.
    pub async fn opens(&self, w: &World, portion: PortionId, below: u32) -> Vec<String> {
        let leaked: Vec<&Dek> = self
            .deks
            .values()
            .filter(|(_, names)| names.iter().any(|name| name.portion == portion && name.version < below))
            .map(|(dek, _)| dek)
            .collect();
        let mut opened = Vec::new();
        for Live { name, part, .. } in live(w).await {
            let context = [&b"hf-body1"[..], part.id.as_bytes()].concat();
            let header = BodyHeader(part.header.as_slice().try_into().unwrap());
            // The header commits to the DEK: what opens it opens the bytes.
            if leaked.iter().any(|dek| Opener::new(dek, &header, &context).is_ok()) {
                opened.push(name);
            }
        }
        opened
    }
}
