//! The service: what is known is answered, what is not is scanned once.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::Clock;
use meta::record::{ContentId, EngineVerdict, Epoch, Reason, Verdict, VerdictRecord};
use parking_lot::Mutex;

use crate::engine::{Engine, EngineError};
use crate::error::ScanError;
use crate::flight::{Boarded, Epochs, Flight, Flights, Landed};
use crate::hunt::Hunted;
use crate::intake::Intake;
use crate::known::Known;
use crate::limits::{BUFFER, KEPT_MS, NAME_MAX, NAMES_MAX, WAITING_MAX};
use crate::plain::{self, Files, Hashed, Passed};
use crate::queue::{Job, Lane};
use crate::rate::Rates;
use crate::slots::{Slots, Turn};
use crate::spool::{Content, Digests, Room, Spool};
use crate::status::Status;

/// An engine that is about to start is waited for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// An engine that ended before it could be asked is tried again so often.
const MISSED_MAX: usize = 10;

/// Who asks, and what for.
#[derive(Debug, Clone)]
pub struct Asker {
    /// How urgent it is.
    pub lane: Lane,
    /// Whose it is: slots are shared fairly among tenants.
    pub tenant: String,
    /// After so long an answer is of no use to him.
    pub deadline: Duration,
}

impl Asker {
    /// A process that waits in `open`.
    pub fn on_access(tenant: &str) -> Self {
        Self { lane: Lane::OnAccess, tenant: tenant.to_owned(), deadline: Duration::from_secs(30) }
    }

    /// An upload, a mail, a page.
    pub fn inline(tenant: &str) -> Self {
        Self { lane: Lane::Inline, tenant: tenant.to_owned(), deadline: Duration::from_secs(120) }
    }
}

/// Where a verdict came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was known.
    Known,
    /// Somebody else had asked for the scan that told it.
    Shared,
    /// It was scanned for the one who asks.
    Scanned,
}

/// What is said of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// By all engines together.
    pub verdict: Verdict,
    /// Of which content.
    pub content: ContentId,
    /// What the engines were when it was asked, in the engines' order: none of what was said is older than these.
    pub epochs: Vec<Epoch>,
    /// Where it came from.
    pub source: Source,
}

/// What a service is made of.
pub struct Options {
    /// All must have looked at a content before it is called clean.
    pub engines: Vec<Arc<dyn Engine>>,
    /// Where verdicts are kept.
    pub meta: Arc<dyn meta::Engine>,
    /// Where contents lie that are too large for memory.
    pub folder: PathBuf,
    /// Scans at once.
    pub slots: usize,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// The service.
#[derive(Clone)]
pub struct Scanner(Arc<Inner>);

struct Inner {
    engines: Vec<Arc<dyn Engine>>,
    clock: Arc<dyn Clock>,
    room: Arc<Room>,
    known: Known,
    flights: Arc<Flights>,
    slots: Arc<Slots>,
    slots_count: usize,
    files: Files,
    rates: Rates,
    rows: Arc<dyn meta::Engine>,
    hunted: Mutex<Option<Hunted>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    known: AtomicU64,
    shared: AtomicU64,
    asked: AtomicU64,
    scanned: AtomicU64,
    bytes_saved: AtomicU64,
    bytes_scanned: AtomicU64,
    deaths: AtomicU64,
}

fn add(to: &AtomicU64, count: u64) {
    to.fetch_add(count, Ordering::Relaxed);
}

impl Scanner {
    /// Starts it. Must be called within a runtime.
    pub fn new(options: Options) -> Self {
        let slots = options.slots.max(1);
        Self(Arc::new(Inner {
            engines: options.engines,
            room: Room::new(&options.folder),
            known: Known::new(options.meta.clone()),
            rows: options.meta,
            hunted: Mutex::default(),
            flights: Arc::default(),
            slots: Slots::new(options.clock.clone(), slots),
            slots_count: slots,
            files: Files::new(),
            rates: Rates::new(),
            counts: Counts::default(),
            clock: options.clock,
        }))
    }

    /// Writes down what was learnt and not written yet.
    pub async fn close(&self) {
        self.0.known.close().await;
    }

    /// Whether a content's verdict is known by the newest definitions of all engines.
    pub async fn is_known(&self, content: ContentId) -> bool {
        let Ok(epochs) = self.epochs() else { return false };
        self.usable_now(content, &epochs).await.is_some()
    }

    /// Returns when what is known here of a content is written where others read it.
    ///
    /// # Errors
    /// [`ScanError::Unwritten`].
    pub async fn settle(&self, content: ContentId) -> Result<(), ScanError> {
        self.0.known.settle(content).await.map_err(ScanError::Unwritten)
    }

    /// A content that is about to come.
    pub fn intake(&self, asker: Asker) -> Intake {
        Intake::new(self.clone(), asker, Spool::new(self.0.room.clone()))
    }

    /// What is known of a small file that somebody opened and that is in memory. Waits for nothing; `None`: [`Self::file`] tells.
    pub fn glance(&self, file: &File) -> Option<Answer> {
        let epochs = self.epochs().ok()?;
        let id = self.0.files.glance(file)?;
        let record = self.0.known.remembered(id)?;
        let verdict = self.usable(&record, &epochs)?;
        self.refresh(id, &record, &epochs);
        Some(self.tell(Answer { verdict, content: id, epochs, source: Source::Known }))
    }

    /// A file that somebody opened, from its beginning. What is known is only hashed; what is not is copied first, so that nobody changes it
    /// while it is scanned.
    ///
    /// # Errors
    /// Why there is no verdict.
    pub async fn file(&self, asker: Asker, file: File) -> Result<Answer, ScanError> {
        let epochs = self.epochs()?;
        let file = Arc::new(Passed::new(file));
        let id = match self.0.files.hash(&file).await? {
            Hashed::Whole(id) => id,
            Hashed::TooLarge(len) => {
                let (content, verdict) =
                    (ContentId { blake3: [0; 32], len }, Verdict::Incomplete(vec![Reason::TooLarge]));
                return Ok(self.tell(Answer { verdict, content, epochs, source: Source::Scanned }));
            }
        };
        if let Some(answer) = self.find(id, &epochs).await {
            return Ok(answer);
        }
        let mut intake = self.intake(asker);
        let mut piece = vec![0; usize::try_from(id.len).map_or(BUFFER, |len| BUFFER.min(len + 1))];
        loop {
            let count;
            (piece, count) = plain::read(&file, piece, intake.len(), id.len).await?;
            if count == 0 {
                return Ok(intake.finish().await?.answer);
            }
            intake.write(&piece[..count]).await?;
            if count == piece.len() {
                // It is longer than a piece, or has grown meanwhile.
                piece.resize(BUFFER, 0);
                tokio::task::yield_now().await;
            }
        }
    }

    /// What a content is.
    pub(crate) async fn judge(&self, content: &Arc<Content>, asker: &Asker) -> Result<Answer, ScanError> {
        let (id, epochs) = (content.id(), self.epochs()?);
        if let Some(answer) = self.find(id, &epochs).await {
            return Ok(answer);
        }
        let (flight, source) = match self.0.flights.board(id, &epochs, asker.lane) {
            Boarded::Joined(flight, job) => {
                job.into_iter().for_each(|job| self.0.slots.raise(job, asker.lane));
                (flight, Source::Shared)
            }
            Boarded::First(flight) => {
                // Another one may have landed between the look and this.
                if let Some(verdict) = self.0.known.remembered(id).and_then(|record| self.usable(&record, &epochs)) {
                    self.0.flights.land(id, &epochs, Ok(verdict.clone()));
                    return Ok(self.tell(Answer { verdict, content: id, epochs, source: Source::Known }));
                }
                let landing = self.0.flights.landing(id, &epochs);
                if let Err(busy) = self.admit(asker) {
                    landing.lands(Err(busy));
                } else {
                    let (scanner, flight, content) = (self.clone(), flight.clone(), content.clone());
                    let (epochs, tenant) = (epochs.clone(), asker.tenant.clone());
                    // A task of its own: who asked first may leave.
                    tokio::spawn(async move {
                        landing.lands(scanner.fly(&flight, &content, &epochs, &tenant).await);
                    });
                }
                (flight, Source::Scanned)
            }
        };
        let landed = tokio::time::timeout(asker.deadline, flight.landed()).await;
        let verdict = landed.map_err(|_| ScanError::Late(asker.deadline))??;
        Ok(self.tell(Answer { verdict, content: id, epochs, source }))
    }

    /// Counts an answer.
    fn tell(&self, answer: Answer) -> Answer {
        let counts = &self.0.counts;
        let (source, word) = match answer.source {
            Source::Known => (Some(&counts.known), "known"),
            Source::Shared => (Some(&counts.shared), "shared"),
            Source::Scanned => (None, "scanned"),
        };
        add(&counts.asked, 1);
        if let Some(source) = source {
            add(source, 1);
            add(&counts.bytes_saved, answer.content.len);
            metrics::counter!("holdfast_scan_saved_bytes_total").increment(answer.content.len);
        }
        let verdict = answer.verdict.word();
        metrics::counter!("holdfast_scan_answers_total", "source" => word, "verdict" => verdict).increment(1);
        answer
    }

    async fn find(&self, id: ContentId, epochs: &Epochs) -> Option<Answer> {
        let verdict = self.usable_now(id, epochs).await?;
        Some(self.tell(Answer { verdict, content: id, epochs: epochs.clone(), source: Source::Known }))
    }

    async fn usable_now(&self, id: ContentId, epochs: &Epochs) -> Option<Verdict> {
        let (record, verdict) = match self.0.known.remembered(id).map(|record| (self.usable(&record, epochs), record)) {
            Some((Some(verdict), record)) => (record, verdict),
            _ => {
                let record = self.0.known.read(id).await?;
                let verdict = self.usable(&record, epochs)?;
                (record, verdict)
            }
        };
        self.refresh(id, &record, epochs);
        Some(verdict)
    }

    /// Has what is known by the engines' epochs count as said now: they may have come back to those, and verdicts that are asked for are kept.
    fn refresh(&self, id: ContentId, record: &VerdictRecord, epochs: &Epochs) {
        let now = self.0.clock.now_ms();
        let is_old = |(said, by): &(&EngineVerdict, &Epoch)| {
            said.by.number < by.number || said.at_ms.saturating_add(KEPT_MS / 2) < now
        };
        let said = |(engine, by): (&Arc<dyn Engine>, &Epoch)| record.said_by(engine.name(), *by);
        let pairs = self.0.engines.iter().zip(epochs).filter_map(|one| Some((said(one)?, one.1)));
        let renewed: Vec<EngineVerdict> =
            pairs.filter(is_old).map(|(said, by)| EngineVerdict { by: *by, at_ms: now, ..said.clone() }).collect();
        if !renewed.is_empty() {
            self.0.known.learn(id, Digests::of(record), renewed);
        }
    }

    /// What a record says to who asks by these epochs: a find by one engine is one, whatever the others have still to say.
    fn usable(&self, record: &VerdictRecord, epochs: &Epochs) -> Option<Verdict> {
        let said = |(engine, epoch): (&Arc<dyn Engine>, &Epoch)| record.said_by(engine.name(), *epoch);
        let said: Vec<Option<&Verdict>> =
            self.0.engines.iter().zip(epochs).map(|one| said(one).map(|said| &said.verdict)).collect();
        let is_whole = said.iter().all(Option::is_some);
        let all = said.into_iter().flatten().cloned().reduce(Verdict::and)?;
        (is_whole || matches!(all, Verdict::Infected(_))).then_some(all)
    }

    /// Epochs of all engines.
    fn epochs(&self) -> Result<Epochs, ScanError> {
        let epoch = |engine: &Arc<dyn Engine>| {
            let none = || format!("{} has no definitions yet", engine.name());
            engine.epoch().ok_or_else(|| ScanError::Unavailable(engine.state().down.unwrap_or_else(none)))
        };
        if self.0.engines.is_empty() {
            return Err(ScanError::Unavailable("there is none".to_owned()));
        }
        self.0.engines.iter().map(epoch).collect()
    }

    /// Whether one more may wait.
    fn admit(&self, asker: &Asker) -> Result<(), ScanError> {
        let backlog = Duration::from_millis(self.0.slots.backlog_ms(asker.lane));
        if self.0.slots.waiting() >= WAITING_MAX || backlog > asker.deadline.saturating_mul(2) {
            metrics::counter!("holdfast_scan_refused_total", "lane" => asker.lane.word()).increment(1);
            return Err(ScanError::Busy {
                retry_after: backlog.clamp(Duration::from_secs(1), Duration::from_secs(60)),
            });
        }
        Ok(())
    }

    /// Scans a content with all engines that have not said anything by their newest definitions.
    async fn fly(&self, flight: &Flight, content: &Arc<Content>, epochs: &Epochs, tenant: &str) -> Landed {
        let head = head(content);
        let record = self.0.known.remembered(content.id());
        let digests = match &record {
            Some(record) => Digests::of(record),
            None => content.with(Content::digests).await.map_err(ScanError::spool)?,
        };
        let before = record.as_ref().map(|record| record.said.iter().map(|said| said.cost_us).sum::<u64>() / 1000);
        let cost_ms = before.unwrap_or_else(|| self.0.rates.expect_ms(&head, content.id().len));
        let mut queued = Queued { scanner: self, flight, tenant, cost_ms, turn: None };
        let (mut all, mut new): (Option<Verdict>, Vec<EngineVerdict>) = (None, Vec::new());
        for (engine, epoch) in self.0.engines.iter().zip(epochs) {
            let known = record.as_ref().and_then(|record| record.said_by(engine.name(), *epoch));
            let verdict = match known {
                Some(known) => known.verdict.clone(),
                None => {
                    let said = queued.scan(engine.as_ref(), content, &head).await?;
                    new.push(said.clone());
                    said.verdict
                }
            };
            let is_find = matches!(verdict, Verdict::Infected(_));
            all = Some(all.map_or(verdict.clone(), |before| before.and(verdict)));
            if is_find {
                // At once; all else only together: readers would take one engine's word for that of all.
                self.0.known.learn(content.id(), digests, std::mem::take(&mut new));
            }
        }
        self.0.known.learn(content.id(), digests, new);
        all.ok_or_else(|| ScanError::Unavailable("there is none".to_owned()))
    }

    /// What is at hand, for `VERSION` of the clamd protocol and for people.
    pub fn version(&self) -> String {
        let versions: Vec<String> = self.0.engines.iter().map(|engine| engine.state().version).collect();
        if versions.is_empty() { "no engine".to_owned() } else { versions.join(" + ") }
    }

    /// Changes whenever an answer may: at most 30 characters of `[A-Za-z0-9-]`.
    pub fn epoch_tag(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for engine in &self.0.engines {
            hasher.update(engine.name().as_bytes());
            hasher.update(&engine.epoch().map(|epoch| epoch.manifest).unwrap_or_default());
        }
        format!("holdfast-{}", &hasher.finalize().to_hex()[..20])
    }

    /// What an operator sees.
    pub fn status(&self) -> Status {
        let counts = &self.0.counts;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            engines: self.0.engines.iter().map(|engine| engine.state()).collect(),
            running: self.0.slots.running(),
            slots: self.0.slots_count,
            waiting: self.0.slots.depths(),
            asked: read(&counts.asked),
            known: read(&counts.known),
            shared: read(&counts.shared),
            scanned: read(&counts.scanned),
            bytes_saved: read(&counts.bytes_saved),
            bytes_scanned: read(&counts.bytes_scanned),
            engine_deaths: read(&counts.deaths),
            remembered: self.0.known.count(),
            hunted: *self.0.hunted.lock(),
        }
    }

    pub(crate) fn rows(&self) -> &dyn meta::Engine {
        self.0.rows.as_ref()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    pub(crate) fn note_hunted(&self, done: Hunted) {
        *self.0.hunted.lock() = Some(done);
    }

    /// Learns more of a content of which this is known.
    pub(crate) fn learn(&self, content: ContentId, known: VerdictRecord, new: EngineVerdict) {
        let digests = Digests::of(&known);
        self.0.known.recall(content, Arc::new(known));
        self.0.known.learn(content, digests, vec![new]);
    }

    pub(crate) fn forget(&self, content: ContentId) {
        self.0.known.forget(content);
    }
}

/// A scan's way through the queue: one slot for all engines, unless one of them dies.
struct Queued<'a> {
    scanner: &'a Scanner,
    flight: &'a Flight,
    tenant: &'a str,
    cost_ms: u64,
    turn: Option<Turn>,
}

impl Queued<'_> {
    async fn slot(&mut self, alone: bool) {
        self.turn = None;
        let job = Job { lane: self.flight.lane(), tenant: self.tenant.to_owned(), cost_ms: self.cost_ms, alone };
        let mut turn = self.scanner.0.slots.enter(job);
        self.flight.is_job(Some(turn.id()));
        // Who joined meanwhile found no job to raise.
        self.scanner.0.slots.raise(turn.id(), self.flight.lane());
        turn.begins().await;
        self.flight.is_job(None);
        self.turn = Some(turn);
    }

    /// Asks an engine. One that dies is asked a second time, with nothing beside; dies it again, that is the verdict, and it is not asked any more.
    async fn scan(
        &mut self,
        engine: &dyn Engine,
        content: &Arc<Content>,
        head: &[u8],
    ) -> Result<EngineVerdict, ScanError> {
        let inner = &self.scanner.0;
        let (mut died, mut alone, mut failed, mut missed) = (false, false, false, 0);
        loop {
            if self.turn.is_none() || died && !alone {
                self.slot(died).await;
                alone = died;
            }
            let loaded = engine.loaded(PATIENCE).await.map_err(ScanError::Unavailable)?;
            let began = Instant::now();
            let said = if content.is_kept() {
                loaded.clone().scan(content).await
            } else {
                Ok(Verdict::Incomplete(vec![Reason::TooLarge]))
            };
            let cost_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            let verdict = match said {
                Ok(verdict) => {
                    add(&inner.counts.scanned, 1);
                    add(&inner.counts.bytes_scanned, content.id().len);
                    metrics::histogram!("holdfast_scan_seconds", "engine" => engine.name())
                        .record(cost_us as f64 / 1e6);
                    inner.rates.took(head, content.id().len, cost_us);
                    verdict
                }
                // It ended while nobody looked: the next one is asked.
                Err(EngineError::Gone) if missed < MISSED_MAX => {
                    missed += 1;
                    continue;
                }
                Err(EngineError::Gone) => return Err(ScanError::Unavailable("it ends again and again".to_owned())),
                Err(EngineError::Failed(words)) if failed => {
                    tracing::warn!(content = %content.id(), engine = engine.name(), words, "a content cannot be scanned");
                    Verdict::Incomplete(vec![Reason::Unreadable(words.chars().take(NAME_MAX).collect())])
                }
                // Once more: it may have been the engine's trouble.
                Err(EngineError::Failed(_)) => {
                    failed = true;
                    continue;
                }
                Err(error) => {
                    add(&inner.counts.scanned, 1);
                    add(&inner.counts.deaths, 1);
                    tracing::warn!(content = %content.id(), engine = engine.name(), %error, alone = died, "a scan ended its engine");
                    if !died {
                        died = true;
                        continue;
                    }
                    Verdict::Incomplete(vec![match error {
                        EngineError::Silent(_) => Reason::TooSlow,
                        _ => Reason::EngineCrash,
                    }])
                }
            };
            return Ok(EngineVerdict {
                engine: engine.name().to_owned(),
                by: loaded.epoch(),
                at_ms: inner.clock.now_ms(),
                cost_us,
                verdict: bounded(verdict),
            });
        }
    }
}

/// Names come from definitions that others made.
fn bounded(verdict: Verdict) -> Verdict {
    let Verdict::Infected(mut names) = verdict else { return verdict };
    names.truncate(NAMES_MAX);
    for name in &mut names {
        *name = name.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    }
    Verdict::Infected(names)
}

fn head(content: &Content) -> Vec<u8> {
    let mut head = vec![0; 512];
    let count = content.read_at(&mut head, 0).unwrap_or_default();
    head.truncate(count);
    head
}
