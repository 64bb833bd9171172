//! Scrub: reads every shard, compares it with its checksums and with its stripe, mends what is
//! wrong.

use meta::record::key;
use meta::{Range, after};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::status::ScrubProgress;
use crate::worker::mend::Look;
use crate::{Error, Store};

/// The running scrub, or the last one.
#[derive(Default)]
pub(crate) struct Scrub {
    progress: Mutex<ScrubProgress>,
    stop: Mutex<CancellationToken>,
}

impl Store {
    /// Starts a scrub; false if one is running.
    pub fn start_scrub(&self) -> bool {
        let scrub = &self.0.workers.scrub;
        let mut progress = scrub.progress.lock();
        if progress.running {
            return false;
        }
        *progress = ScrubProgress { running: true, started_ms: self.now_ms(), ..ScrubProgress::default() };
        let stop = self.0.stop.child_token();
        *scrub.stop.lock() = stop.clone();
        let store = self.clone();
        self.0.tasks.spawn(async move {
            let done = tokio::select! {
                () = stop.cancelled() => Err("stopped before the end".to_owned()),
                done = store.scrub() => done.map_err(|error| error.to_string()),
            };
            let mut progress = store.0.workers.scrub.progress.lock();
            progress.running = false;
            progress.finished_ms = Some(store.now_ms());
            // What it passed over on the way stays told.
            if let Err(error) = done {
                progress.last_error = Some(error);
            }
        });
        true
    }

    /// Stops a running scrub.
    pub fn stop_scrub(&self) {
        self.0.workers.scrub.stop.lock().cancel();
    }

    /// How far the running or last scrub is.
    pub fn scrub_progress(&self) -> ScrubProgress {
        self.0.workers.scrub.progress.lock().clone()
    }

    async fn scrub(&self) -> Result<(), Error> {
        let total = self.count(key::blobs()).await?;
        self.0.workers.scrub.progress.lock().blobs_total = total;
        let (mut from, to) = key::blobs();
        loop {
            let page = self.0.meta.range(Range { from: from.clone(), to: to.clone(), limit: 100 }).await?;
            for (row_key, _) in &page.rows {
                let Some(blob) = key::blob_of(row_key) else { continue };
                let mended = self.mend(blob, Look::Bytes, false).await;
                let mut progress = self.0.workers.scrub.progress.lock();
                progress.blobs_done += 1;
                match mended {
                    Ok(mended) => {
                        progress.shards_checked += mended.shards;
                        progress.bytes_checked += mended.bytes;
                        progress.damaged += mended.damaged;
                        progress.missing += mended.missing;
                        progress.mended += mended.mended;
                        progress.unrepairable += mended.hopeless;
                    }
                    // Collected or compacted under us: nothing to mend.
                    Err(Error::Contended) => {}
                    Err(error) => progress.last_error = Some(error.to_string()),
                }
            }
            match page.rows.last() {
                Some((last, _)) if page.more => from = after(last),
                _ => return Ok(()),
            }
        }
    }
}
