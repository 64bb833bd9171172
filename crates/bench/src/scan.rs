//! The scan service: a userland that many tenants have, scanned through it and through clamd by itself, with the same client and the same definitions.
//!
//! What takes too long is measured in part and multiplied; the table says where. Each pass counts what was found: a figure of a service that misses
//! something, or that errs, does not count.

mod corpus;
mod lookup;
mod pass;
mod server;
mod signatures;
mod stream;
mod table;
mod wire;

use std::path::{Path, PathBuf};

use serde::Serialize;

use self::corpus::{Corpus, Size};
use self::lookup::LookUps;
use self::pass::{Asks, Pass};
use self::server::{Kind, Service};
use self::signatures::Signatures;
use self::stream::Stream;
use crate::error::Error;
use crate::report::{self, Machine};

pub use self::table::table;

/// Signatures and corpora are the same in each run.
const SEED: u64 = 1;
/// Bytes of a tenant's own files.
const OWN: u64 = 10 << 20;
/// Tenants of whom a clamd that shares nothing is measured with.
const UNSHARED: usize = 3;
/// clamd by itself is measured in part where all of it, once cold and once warm, would take longer than so many seconds.
const WHOLE_S: f64 = 180.0;

/// What is to be measured.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The server's binary.
    pub holdfast: &'a Path,
    /// Where the userland is taken from.
    pub source: &'a Path,
    /// Bytes of it.
    pub shared: u64,
    /// Tenants.
    pub tenants: usize,
    /// Signatures.
    pub signatures: usize,
    /// Verdicts that are remembered while they are looked up.
    pub verdicts: usize,
    /// Scans at once, other than Holdfast takes by itself.
    pub slots: Option<u16>,
}

/// All tenants through one service.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Which.
    pub kind: Kind,
    /// By whom.
    pub asks: Asks,
    /// Whether their contents were known.
    pub warm: bool,
    /// The sum over all tenants.
    pub all: Pass,
    /// How it was come by, where not all of it was measured.
    pub model: Option<String>,
    /// Each pass that was measured.
    pub measured: Vec<Pass>,
}

/// All of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// What was scanned with.
    pub signatures: Signatures,
    /// What was scanned.
    pub corpus: Corpus,
    /// Tenants.
    pub tenants: usize,
    /// All passes.
    pub rows: Vec<Row>,
    /// Look-ups by hash.
    pub lookups: LookUps,
    /// Streams of known contents.
    pub streams: Vec<Stream>,
}

impl Report {
    /// Answers that are not what they should be.
    pub fn failed(&self) -> u64 {
        let passes = self.rows.iter().flat_map(|row| &row.measured).map(|pass| pass.failed);
        let streams = self.streams.iter().map(|stream| stream.failed);
        passes.chain(streams).sum::<usize>() as u64
    }

    fn row(&self, kind: Kind, asks: Asks, warm: bool) -> Option<&Row> {
        self.rows.iter().find(|row| row.kind == kind && row.asks == asks && row.warm == warm)
    }
}

/// Measures all of it, in a folder of its own.
pub fn measure(plan: &Plan<'_>, dir: &Path) -> Result<Report, Error> {
    let (definitions, files) = (dir.join("definitions"), dir.join("corpus"));
    eprintln!("making {} signatures, and a corpus from {}", plan.signatures, plan.source.display());
    let signatures = Signatures::of(plan.signatures);
    signatures.write(&definitions, SEED)?;
    let size = Size { shared: plan.shared, own: OWN, tenants: plan.tenants };
    let bench = Bench { corpus: Corpus::make(plan.source, &files, size)?, dir: dir.to_owned() };
    // Each file was written a moment ago: all of them are in memory, for everybody.
    let mut rows = Vec::new();
    let service = Service::clamd(Kind::Unshared, &dir.join("unshared"), &definitions)?;
    rows.push(bench.unshared(&service)?);
    drop(service);

    let service = Service::holdfast(plan.holdfast, &dir.join("holdfast"), &definitions, plan.slots)?;
    rows.push(bench.whole(&service, Asks::Clamdscan, false)?);
    rows.push(bench.whole(&service, Asks::Clamdscan, true)?);
    rows.push(bench.whole(&service, Asks::Own, true)?);
    eprintln!("streams of what is known");
    let streams = stream::measure(&service)?;
    drop(service);

    let service = Service::clamd(Kind::Clamd, &dir.join("clamd"), &definitions)?;
    rows.extend(bench.shared(&service)?);
    drop(service);

    eprintln!("learning and looking up {} verdicts", plan.verdicts);
    let lookups = lookup::measure(plan.verdicts, dir)?;
    let tenants = plan.tenants;
    Ok(Report { machine: report::machine(dir), signatures, corpus: bench.corpus, tenants, rows, lookups, streams })
}

struct Bench {
    corpus: Corpus,
    dir: PathBuf,
}

impl Bench {
    fn pass(&self, service: &Service, asks: Asks, tenant: usize, warm: bool) -> Result<Pass, Error> {
        let word = if warm { "warm" } else { "cold" };
        eprint!("{}, {}, {word}: tenant {} of {}", service.kind.name(), asks.name(), tenant + 1, self.count());
        let none = || Error::Unreadable("the corpus: it has too few tenants".to_owned());
        let pass = pass::run(service, asks, &self.corpus.tenants().nth(tenant).ok_or_else(none)?, &self.dir)?;
        eprintln!(": {:.2} s", pass.seconds);
        Ok(pass)
    }

    fn count(&self) -> usize {
        self.corpus.tenants().len()
    }

    fn several(
        &self,
        service: &Service,
        asks: Asks,
        tenants: std::ops::Range<usize>,
        warm: bool,
    ) -> Result<Vec<Pass>, Error> {
        tenants.map(|tenant| self.pass(service, asks, tenant, warm)).collect()
    }

    fn whole(&self, service: &Service, asks: Asks, warm: bool) -> Result<Row, Error> {
        Ok(row(service, asks, warm, self.several(service, asks, 0..self.count(), warm)?))
    }

    /// Some tenants are all of them: nothing of one helps another.
    fn unshared(&self, service: &Service) -> Result<Row, Error> {
        let some = self.several(service, Asks::Clamdscan, 0..self.count().min(UNSHARED), false)?;
        let mut row = row(service, Asks::Clamdscan, false, some);
        row.model = Some(format!("the first {} tenants, times {}", row.all.tenants, self.count()));
        row.all = row.all.each().times(self.count());
        Ok(row)
    }

    /// Cold and warm, as far as there is time for it; and warm by the bench's own client.
    fn shared(&self, service: &Service) -> Result<Vec<Row>, Error> {
        let mut cold = self.several(service, Asks::Clamdscan, 0..self.count().min(2), false)?;
        let Some([first, second]) = cold.first_chunk().copied() else {
            return Ok(vec![row(service, Asks::Clamdscan, false, cold)]);
        };
        let others = self.count() - 1;
        // A warm pass takes no longer than that over the second tenant, of whom all but his own is known.
        let expected = first.seconds + second.seconds * (2 * others + 1) as f64;
        if expected < WHOLE_S {
            cold.extend(self.several(service, Asks::Clamdscan, 2..self.count(), false)?);
            let cold = row(service, Asks::Clamdscan, false, cold);
            let warm = self.whole(service, Asks::Clamdscan, true)?;
            return Ok(vec![cold, warm, self.warm_by_one(service, Asks::Own)?]);
        }
        let all = first.and(second.times(others));
        let model = Some(format!("the first tenant + {others} x the second"));
        let cold = Row { all, model, ..row(service, Asks::Clamdscan, false, cold) };
        Ok(vec![cold, self.warm_by_one(service, Asks::Clamdscan)?, self.warm_by_one(service, Asks::Own)?])
    }

    /// All tenants as the first one, for whom nothing is new.
    fn warm_by_one(&self, service: &Service, asks: Asks) -> Result<Row, Error> {
        let first = self.pass(service, asks, 0, true)?;
        let model = Some(format!("{} x the first tenant", self.count()));
        Ok(Row { all: first.times(self.count()), model, ..row(service, asks, true, vec![first]) })
    }
}

fn row(service: &Service, asks: Asks, warm: bool, measured: Vec<Pass>) -> Row {
    let all = measured.iter().copied().fold(Pass::default(), Pass::and);
    Row { kind: service.kind, asks, warm, all, model: None, measured }
}
