//! A connection: requests one after the other, each read to its end before it is answered (RFC 3507, section 4.1: connections persist).

use std::io;
use std::sync::Arc;

use scan::{Asker, Judged, Lane, Reason, Scanner, Verdict};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::body::{self, Dropped, Sink};
use crate::limits::{BUFFER, HEAD_TIMEOUT, IDLE_TIMEOUT, LINGER, OPTIONS_BODY_MAX, SILENCE};
use crate::pace::Paced;
use crate::reply::{CONTINUE, LAST_CHUNK, Note, Say, Voice};
use crate::request::{Gathered, Head, Method, Refusal, opaque_encoding};
use crate::service::{Options, Service};

/// The scan service, as ICAP has it. Cheap to clone.
#[derive(Clone)]
pub struct Icap {
    scanner: Scanner,
    options: Arc<Options>,
}

impl Icap {
    /// In front of this service, by these options.
    pub fn new(scanner: Scanner, options: Options) -> Self {
        Self { scanner, options: Arc::new(options) }
    }

    /// By which options.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// Why a connection ends within a request.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The client is gone, or too slow: nothing can be said to it.
    Gone(io::Error),
    /// It is told, and where its next request begins is not known.
    Refused(Refusal),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Gone(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves a connection until its client ends it, or `stop` is cancelled and no request is under way.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, icap: &Icap, stop: &CancellationToken) {
    let wire = BufReader::with_capacity(BUFFER, Paced::new(stream, IDLE_TIMEOUT));
    let mut session = Session { wire, icap, stop };
    let ended = loop {
        match session.turn().await {
            Ok(true) => {}
            Ok(false) => break session.linger().await,
            Err(Fault::Gone(error)) => break Err(error),
            Err(Fault::Refused(refusal)) => break session.refuse(refusal).await,
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an ICAP connection ended early");
    }
}

struct Session<'a, S> {
    wire: BufReader<Paced<S>>,
    icap: &'a Icap,
    stop: &'a CancellationToken,
}

/// What is known of a message once it was read.
enum Looked {
    /// There is nothing in it.
    Empty,
    /// It was judged.
    Judged(Judged),
    /// It was not, and is not kept.
    Dropped(Dropped),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<'_, S> {
    /// One request; whether another one may follow.
    async fn turn(&mut self) -> Result<bool, Fault> {
        let Some(head) = self.head().await? else { return Ok(false) };
        let service = Service::at(&head.path).ok_or(Refusal::Service)?;
        if !service.takes(head.method) {
            return Err(Refusal::NotAllowed.into());
        }
        let close = match head.method {
            Method::Options => self.options(&head, service).await?,
            Method::Reqmod | Method::Respmod => self.modify(&head).await?,
        };
        Ok(!close)
    }

    /// The next head; `None` if the client or the server ends.
    async fn head(&mut self) -> Result<Option<Head>, Fault> {
        self.wire.get_mut().restart(IDLE_TIMEOUT);
        let begun = tokio::select! {
            // What is there already is answered, also during a shutdown.
            biased;
            here = self.wire.fill_buf() => !here?.is_empty(),
            () = self.stop.cancelled() => false,
        };
        if !begun {
            return Ok(None);
        }
        let mut gathered = Gathered::default();
        let whole = timeout(HEAD_TIMEOUT, self.gather(&mut gathered)).await.map_err(|_| Refusal::Slow)??;
        if whole { Ok(Some(gathered.parse()?)) } else { Ok(None) }
    }

    /// Whether a head came: a connection may also end where one could begin.
    async fn gather(&mut self, gathered: &mut Gathered) -> Result<bool, Fault> {
        loop {
            let here = self.wire.fill_buf().await?;
            if here.is_empty() {
                return if gathered.is_empty() { Ok(false) } else { Err(Refusal::Cut.into()) };
            }
            let (used, whole) = gathered.feed(here)?;
            self.wire.consume(used);
            if whole {
                return Ok(true);
            }
        }
    }

    /// Answers OPTIONS; whether the connection ends.
    async fn options(&mut self, head: &Head, service: Service) -> Result<bool, Fault> {
        self.wire.get_mut().restart(SILENCE);
        if head.layout.body {
            let most = (OPTIONS_BODY_MAX, Refusal::LongBody);
            body::read(&mut self.wire, &mut Sink::nowhere(), most).await?;
        }
        let voice = self.voice(head, self.icap.scanner.epoch_tag());
        count(head.method, "options");
        self.write(&voice.options(service, &self.icap.options)).await?;
        Ok(voice.close)
    }

    /// Answers REQMOD and RESPMOD; whether the connection ends.
    async fn modify(&mut self, head: &Head) -> Result<bool, Fault> {
        let heads = self.heads(head).await?;
        let echoed = head.layout.echoed(head.method).and_then(|range| heads.get(range));
        self.wire.get_mut().restart(SILENCE);
        let mut may_204 = head.allow_204;
        // Before the scan: a tag that is older than what is said costs a client's cache some entries, a newer one would keep what is too old.
        let istag = self.icap.scanner.epoch_tag();
        let looked = self.look(head, &mut may_204).await?;
        // The client waited for the verdict, not the other way round.
        self.wire.get_mut().restart(SILENCE);
        let say = match self.say(&looked, echoed.and_then(opaque_encoding)) {
            Say::Pass(notes) if !may_204 && !looked.is_kept() => Say::of_lost(notes),
            say => say,
        };
        count(head.method, say.word());
        let mut voice = self.voice(head, istag);
        // The library of c-icap waits for a body behind an error, as long as the connection is there.
        voice.close |= matches!(say, Say::Fail(..));
        match &say {
            Say::Pass(notes) if may_204 => self.write(&voice.unmodified(notes)).await?,
            Say::Pass(notes) => self.echo(&voice, head, echoed, &looked, notes).await?,
            Say::Block(why, notes) => self.write(&voice.blocked(why, notes)).await?,
            Say::Fail(status, notes) => self.write(&voice.plain(*status, notes)).await?,
        }
        Ok(voice.close)
    }

    /// The encapsulated heads.
    async fn heads(&mut self, head: &Head) -> Result<Vec<u8>, Fault> {
        let mut heads = Vec::new();
        let mut from = (&mut self.wire).take(head.layout.heads as u64);
        timeout(HEAD_TIMEOUT, from.read_to_end(&mut heads)).await.map_err(|_| Refusal::Slow)??;
        if heads.len() < head.layout.heads {
            return Err(Refusal::Cut.into());
        }
        head.layout.check(&heads)?;
        Ok(heads)
    }

    /// Reads the body and has it judged. `may_204` becomes true if all that the client sent was a preview (section 4.5).
    async fn look(&mut self, head: &Head, may_204: &mut bool) -> Result<Looked, Fault> {
        if !head.layout.body {
            return Ok(Looked::Empty);
        }
        let options = &self.icap.options;
        let asker = Asker { lane: Lane::Inline, tenant: options.tenant.clone(), deadline: options.deadline };
        let mut sink = Sink::new(self.icap.scanner.intake(asker), options.body_max, options.deadline);
        let most = body::read_at_most(options.body_max);
        match head.preview {
            None => drop(body::read(&mut self.wire, &mut sink, most).await?),
            Some(preview) => {
                let announced = (preview, Refusal::LongPreview);
                let whole = body::read(&mut self.wire, &mut sink, announced).await?;
                if whole || sink.is_dropped() {
                    *may_204 = true;
                } else {
                    self.write(CONTINUE).await?;
                    body::read(&mut self.wire, &mut sink, most).await?;
                }
            }
        }
        if sink.len() == 0 {
            return Ok(Looked::Empty);
        }
        Ok(match sink.end() {
            Err(dropped) => Looked::Dropped(dropped),
            Ok(intake) => match intake.finish().await {
                Ok(judged) => Looked::Judged(judged),
                Err(error) => Looked::Dropped(Dropped::Scan(error)),
            },
        })
    }

    /// `opaque`: what the body is encoded by, if no engine looks into it.
    fn say(&self, looked: &Looked, opaque: Option<&str>) -> Say {
        let options = &self.icap.options;
        match (looked, opaque) {
            (Looked::Judged(judged), Some(encoding)) if judged.answer.verdict == Verdict::Clean => {
                let reason = Reason::Unreadable(format!("content-encoding {encoding}"));
                return Say::of_incomplete(&[reason], options.incomplete);
            }
            _ => {}
        }
        match looked {
            Looked::Empty => Say::of_nothing(),
            Looked::Judged(judged) => Say::of_verdict(&judged.answer.verdict, options.incomplete),
            Looked::Dropped(Dropped::TooLong) => Say::of_incomplete(&[Reason::TooLarge], options.incomplete),
            Looked::Dropped(Dropped::Scan(error)) => {
                tracing::warn!(%error, "a message of an ICAP client was not scanned");
                Say::of_failure(error, options.unavailable)
            }
        }
    }

    /// Gives the message back.
    async fn echo(
        &mut self,
        voice: &Voice,
        head: &Head,
        echoed: Option<&[u8]>,
        looked: &Looked,
        notes: &[Note],
    ) -> Result<(), Fault> {
        let to = self.wire.get_mut();
        to.write_all(&voice.echo(head.method, echoed, head.layout.body, notes)).await?;
        match looked {
            Looked::Judged(judged) => body::send(judged, to).await?,
            _ if head.layout.body => to.write_all(LAST_CHUNK).await?,
            _ => {}
        }
        to.flush().await?;
        Ok(())
    }

    fn voice(&self, head: &Head, istag: String) -> Voice {
        Voice { istag, close: head.close || self.stop.is_cancelled() }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let to = self.wire.get_mut();
        to.write_all(bytes).await?;
        to.flush().await?;
        Ok(())
    }

    /// The last answer: where the next request would begin is not known.
    async fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        tracing::debug!(%refusal, "a request of an ICAP client was refused");
        metrics::counter!("holdfast_icap_requests_total", "method" => "none", "answer" => "refused").increment(1);
        let voice = Voice { istag: self.icap.scanner.epoch_tag(), close: true };
        self.wire.get_mut().restart(SILENCE);
        self.wire.get_mut().write_all(&voice.refused(refusal)).await?;
        self.linger().await
    }

    /// Ends the connection so that the last answer arrives: what the client still sends is read for a while.
    async fn linger(&mut self) -> io::Result<()> {
        self.wire.get_mut().shutdown().await?;
        let drain = async {
            loop {
                let here = self.wire.fill_buf().await?.len();
                if here == 0 {
                    return Ok(());
                }
                self.wire.consume(here);
            }
        };
        // It had its time.
        timeout(LINGER, drain).await.unwrap_or(Ok(()))
    }
}

impl Looked {
    /// Whether the message can be given back.
    fn is_kept(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Judged(judged) => judged.is_kept(),
            Self::Dropped(_) => false,
        }
    }
}

fn count(method: Method, answer: &'static str) {
    metrics::counter!("holdfast_icap_requests_total", "method" => method.name(), "answer" => answer).increment(1);
}
