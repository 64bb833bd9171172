//! Which definitions are newer. What an engine is (its build, its settings, its definitions) has one number everywhere, counted up as such things are
//! met for the first time: two gateways that load the same share each other's verdicts, and nobody's clock is asked.

use meta::record::{DefinitionsRecord, Record, key};
use meta::{Batch, Check, CommitError, Engine, Row, Write};

/// The epoch of what `manifest` is the digest of.
///
/// # Errors
/// What the metadata said, for people.
pub async fn epoch_of(meta: &dyn Engine, engine: &str, manifest: [u8; 32], now_ms: u64) -> Result<u64, String> {
    let keys = [key::definitions_key(engine, &manifest), key::newest_definitions_key(engine)];
    loop {
        let rows = meta.get(&keys).await.map_err(|error| error.to_string())?;
        let [known, newest] = rows.as_slice() else { return Err("the metadata gave no answer".to_owned()) };
        let read = |row: &Row| DefinitionsRecord::decode(&row.value).map_err(|error| error.to_string());
        if let Some(known) = known {
            return Ok(read(known)?.epoch);
        }
        let last = newest.as_ref().map(read).transpose()?.map_or(0, |newest| newest.epoch);
        let record = DefinitionsRecord { manifest, epoch: last + 1, since_ms: now_ms };
        let mut batch = Batch::default();
        batch.checks.push(Check::Absent(keys[0].clone()));
        batch.writes.push(Write::Put(keys[0].clone(), record.encode()));
        batch.replace(keys[1].clone(), newest.as_ref().map(|row| row.version), record.encode());
        match meta.commit(batch).await {
            Ok(()) => return Ok(record.epoch),
            // Another gateway met these, or others, at the same time; or it is not known whether we did.
            Err(CommitError::Failed { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use meta::Memory;

    use super::*;

    #[tokio::test]
    async fn definitions_have_one_number_wherever_they_are_loaded_and_later_ones_a_larger_one() {
        let meta = Memory::new();
        let of = async |engine: &str, manifest: u8| epoch_of(&meta, engine, [manifest; 32], 0).await;
        assert_eq!(of("clamav", 1).await, Ok(1));
        assert_eq!(of("clamav", 2).await, Ok(2));
        assert_eq!(of("clamav", 1).await, Ok(1));
        assert_eq!(of("yara", 1).await, Ok(1), "each engine counts its own");
        assert_eq!(of("clamav", 3).await, Ok(3));
    }
}
