//! What an engine is: its build, its settings, its definitions. Two gateways that have the same share each other's verdicts. Each time that one of
//! them takes another one into use than was taken last, it gets the next number, also when it goes back: so the last word is that of whoever
//! changed something last, and nobody's clock is asked.

use meta::record::{DefinitionsRecord, Epoch, Record, key};
use meta::{Batch, Check, CommitError, Engine, Row, Write};

/// The epoch of what `manifest` is the digest of, which is taken into use.
///
/// # Errors
/// What the metadata said, for people.
pub async fn epoch_of(
    meta: &dyn Engine,
    engine: &str,
    manifest: [u8; 32],
    dated_s: u64,
    now_ms: u64,
) -> Result<Epoch, String> {
    let (short, _) = manifest.split_first_chunk::<16>().ok_or("a digest is too short")?;
    let keys = [key::definitions_key(engine, short), key::newest_definitions_key(engine)];
    loop {
        let rows = meta.get(&keys).await.map_err(|error| error.to_string())?;
        let [known, newest] = rows.as_slice() else { return Err("the metadata gave no answer".to_owned()) };
        let read = |row: &Row| DefinitionsRecord::decode(&row.value).map_err(|error| error.to_string());
        let last = newest.as_ref().map(read).transpose()?.map_or(0, |newest| newest.epoch.number);
        let before = known.as_ref().map(read).transpose()?;
        if let Some(before) = &before
            && before.epoch.number == last
        {
            return Ok(before.epoch);
        }
        let epoch = Epoch { manifest: *short, number: last + 1, dated_s };
        let record = DefinitionsRecord { epoch, since_ms: before.map_or(now_ms, |before| before.since_ms) };
        let mut batch = Batch::default();
        batch.checks.push(Check::unchanged(keys[0].clone(), known.as_ref().map(|row| row.version)));
        batch.writes.push(Write::Put(keys[0].clone(), record.encode()));
        batch.replace(keys[1].clone(), newest.as_ref().map(|row| row.version), record.encode());
        match meta.commit(batch).await {
            Ok(()) => return Ok(epoch),
            // Another gateway took these, or others, into use at the same time.
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
    async fn who_takes_another_one_into_use_has_the_last_word_also_when_he_goes_back() {
        let meta = Memory::new();
        let of = async |engine: &str, manifest: u8| {
            epoch_of(&meta, engine, [manifest; 32], 7, 0).await.expect("an epoch").number
        };
        assert_eq!(of("clamav", 1).await, 1);
        assert_eq!(of("clamav", 1).await, 1, "the same elsewhere");
        assert_eq!(of("clamav", 2).await, 2);
        assert_eq!(of("clamav", 1).await, 3, "back");
        assert_eq!(of("clamav", 1).await, 3);
        assert_eq!(of("yara", 1).await, 1, "each engine counts its own");
    }
}
