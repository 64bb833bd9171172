//! Verdicts looked up by hash: the service's part alone, in this process and on one core.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base::SystemClock;
use meta::Memory;
use meta::record::ContentId;
use scan::double::Words;
use scan::{Asker, Options, ScanError, Scanner};
use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use crate::error::Error;

/// How long each loop runs at least.
const LOOP: Duration = Duration::from_secs(2);
/// Look-ups between two looks at the clock.
const TURN: usize = 1_000;
/// Contents that are learnt at once.
const AT_ONCE: usize = 64;
/// Steps through the contents by this, which has no divisor in common with their number: not in the order in which they were learnt.
const STRIDE: usize = 611_953;

/// Look-ups a second on one core.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LookUps {
    /// Verdicts that are remembered.
    pub remembered: usize,
    /// Of contents that are known, by their hash.
    pub known: f64,
    /// Of contents that nobody knows, by their hash.
    pub unknown: f64,
    /// Of small contents that are known, by their bytes: hashed and answered.
    pub contents: f64,
}

/// Learns so many verdicts, and looks them up.
pub fn measure(count: usize, dir: &Path) -> Result<LookUps, Error> {
    let many = Builder::new_multi_thread().enable_all().build().map_err(Error::io("cannot start a runtime"))?;
    let scanner = many.block_on(async { scanner(dir) });
    let ids = many.block_on(learn(&scanner, count))?;
    let one = Builder::new_current_thread().enable_all().build().map_err(Error::io("cannot start a runtime"))?;
    let known = rate(&one, &ids, |id| {
        let scanner = scanner.clone();
        async move { scanner.is_known(id).await.then_some(()) }
    })?;
    let other = |id: ContentId| ContentId { len: id.len + 1, ..id };
    let unknown = rate(&one, &ids, |id| {
        let scanner = scanner.clone();
        async move { (!scanner.is_known(other(id)).await).then_some(()) }
    })?;
    let numbers: Vec<usize> = (0..count).collect();
    let contents = rate(&one, &numbers, |number| {
        let scanner = scanner.clone();
        async move { judged(&scanner, number).await.ok().map(drop) }
    })?;
    let remembered = scanner.status().remembered;
    Ok(LookUps { remembered, known, unknown, contents })
}

fn scanner(dir: &Path) -> Scanner {
    Scanner::new(Options {
        engines: vec![Words::new("words", &["never there"])],
        meta: Arc::new(Memory::new()),
        folder: dir.to_owned(),
        slots: AT_ONCE,
        clock: Arc::new(SystemClock),
    })
}

async fn learn(scanner: &Scanner, count: usize) -> Result<Vec<ContentId>, Error> {
    let mut ids = Vec::with_capacity(count);
    let mut tasks = tokio::task::JoinSet::new();
    let failed = |error: &dyn std::fmt::Display| Error::Unreadable(format!("a content: {error}"));
    for number in 0..count {
        let scanner = scanner.clone();
        tasks.spawn(async move { judged(&scanner, number).await });
        if tasks.len() == AT_ONCE || number + 1 == count {
            while let Some(ended) = tasks.join_next().await {
                ids.push(ended.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?);
            }
        }
    }
    Ok(ids)
}

async fn judged(scanner: &Scanner, number: usize) -> Result<ContentId, ScanError> {
    let mut intake = scanner.intake(Asker::inline("bench"));
    intake.write(format!("content {number}").as_bytes()).await?;
    Ok(intake.finish().await?.answer.content)
}

/// Look-ups a second, each of which must succeed.
fn rate<T: Copy, F: Future<Output = Option<()>>>(
    runtime: &Runtime,
    all: &[T],
    look: impl Fn(T) -> F,
) -> Result<f64, Error> {
    let pass = async |from: usize| {
        for turn in from..from + TURN {
            let found = look(all[turn.wrapping_mul(STRIDE) % all.len()]).await;
            black_box(found).ok_or_else(|| Error::Unreadable("a verdict: it is not as it was learnt".to_owned()))?;
        }
        Ok::<(), Error>(())
    };
    runtime.block_on(async {
        let (begun, mut done) = (Instant::now(), 0);
        while begun.elapsed() < LOOP {
            pass(done).await?;
            done += TURN;
        }
        Ok(done as f64 / begun.elapsed().as_secs_f64())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_known_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scanner = scanner(dir.path());
            let ids = learn(&scanner, 200).await.unwrap();
            assert_eq!(scanner.status().remembered, 200);
            for id in ids {
                assert!(scanner.is_known(id).await);
                assert!(!scanner.is_known(ContentId { len: id.len + 1, ..id }).await);
            }
        });
    }
}
