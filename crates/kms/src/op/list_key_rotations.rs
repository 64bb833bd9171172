//! ListKeyRotations.

use keys::KeyVersion;
use meta::record::Begun;
use serde::{Deserialize, Serialize};

use crate::call::{Aliases, Call};
use crate::error::{Code, Fault};
use crate::page::{self, Pages};
use crate::validate;
use crate::wire::seconds;

const PAGES: Pages = Pages { default: 100, max: 1_000 };
/// What its markers are called.
const LIST: &str = "rotations";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    include_key_material: Option<String>,
    limit: Option<i64>,
    marker: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Output {
    rotations: Vec<Rotation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    truncated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rotation {
    key_id: String,
    rotation_date: f64,
    /// Not told of versions from before it was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_type: Option<&'static str>,
}

fn rotation_type(begun: Begun) -> Option<&'static str> {
    match begun {
        Begun::Automatic => Some("AUTOMATIC"),
        Begun::OnDemand => Some("ON_DEMAND"),
        Begun::First | Begun::Unknown => None,
    }
}

pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<Output, Fault> {
    let limit = PAGES.limit(input.limit)?;
    let member = "includeKeyMaterial";
    validate::word(input.include_key_material.as_deref(), member, &["ROTATIONS_ONLY"], &["ALL_KEY_MATERIAL"])?;
    let invalid = || Fault::new(Code::InvalidMarker, "Invalid Marker");
    let after = page::after(LIST, input.marker.as_deref())?.map(|version| version.parse::<u32>());
    // The first version is no rotation.
    let after = after.transpose().map_err(|_| invalid())?.unwrap_or(1).max(1);
    let key = call.key("kms:ListKeyRotations", input.key_id.as_deref(), Aliases::Refused, call.values()).await?;
    let (page, more) = call.portions().versions_after(key.id, after, limit).await?;
    let next_marker = page.last().filter(|_| more).map(|last| page::marker(LIST, &last.version.to_string()));
    let rotation = |version: &KeyVersion| Rotation {
        key_id: keys::dashed(key.id),
        rotation_date: seconds(version.created_ms),
        rotation_type: rotation_type(version.begun),
    };
    let rotations = page.iter().map(rotation).collect();
    Ok(Output { rotations, truncated: more, next_marker })
}
