//! UntagResource.

use serde::Deserialize;

use crate::call::{Aliases, Call};
use crate::error::Fault;
use crate::validate;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Input {
    key_id: Option<String>,
    tag_keys: Option<Vec<String>>,
}

/// A tag that the key has not is no error.
pub(crate) async fn run(call: &Call<'_>, input: Input) -> Result<(), Fault> {
    let names = validate::required(input.tag_keys, "tagKeys")?;
    let mut values = call.values();
    for name in &names {
        values.add("aws:TagKeys", name);
    }
    let key = call.key("kms:UntagResource", input.key_id.as_deref(), Aliases::Refused, values).await?;
    key.must_stay()?;
    let described = call.portions().describe(call.account(), key.id, |record| {
        record.tags.retain(|name, _| !names.contains(name));
        Ok(())
    });
    described.await.map(drop).map_err(|error| key.fault(error))
}
