//! What can befall a data centre.

use super::Dc;

/// A process of a data centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The member of etcd.
    Etcd,
    /// The site server.
    Site,
    /// The gateway.
    Gateway,
}

impl Part {
    /// All, in the order in which they are started.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::Site, Self::Gateway];
}

/// Which packets are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All between it and the other data centres. Clients reach its gateway.
    Both,
    /// What it sends.
    Out,
    /// What is sent to it.
    In,
}

/// Something that happens, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and started again.
    Kill(Dc, Part),
    /// The power goes, and comes back.
    DcOff(Dc),
    /// Cut off from the other data centres.
    Cut(Dc, Way),
    /// A process stands still, and goes on.
    Pause(Dc, Part),
    /// All of them do.
    PauseDc(Dc),
    /// Milliseconds by which the site server's answers come later to other data centres.
    SlowSite(Dc, u64),
    /// The disk of the site or of the member is full.
    DiskFull(Dc, Part),
    /// The gateway starts with a clock that is off by this (`+3600`, seconds).
    ClockWrong(Dc, &'static str),
}

impl Fault {
    /// Where it happens.
    pub fn dc(&self) -> Dc {
        match *self {
            Self::Kill(dc, _)
            | Self::DcOff(dc)
            | Self::Cut(dc, _)
            | Self::Pause(dc, _)
            | Self::PauseDc(dc)
            | Self::SlowSite(dc, _)
            | Self::DiskFull(dc, _)
            | Self::ClockWrong(dc, _) => dc,
        }
    }

    /// Whether it needs a network of namespaces.
    pub fn needs_wires(&self) -> bool {
        matches!(self, Self::Cut(..) | Self::SlowSite(..))
    }

    /// Whether clients see nothing of it: it costs no gateway.
    pub fn spares_gateways(&self) -> bool {
        matches!(
            self,
            Self::Kill(_, Part::Etcd | Part::Site)
                | Self::Pause(_, Part::Etcd | Part::Site)
                | Self::SlowSite(..)
                | Self::DiskFull(..)
        )
    }
}

/// What happens at once, by a name.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// For people.
    pub name: &'static str,
    /// In one or two data centres.
    pub faults: Vec<Fault>,
}

/// All scenarios: each in the data centres `a` and `b`, and with `single` in `a` alone before.
pub fn scenarios(a: Dc, b: Dc, single: bool) -> Vec<Scenario> {
    type Make = fn(Dc) -> Fault;
    let each: [(&'static str, Make); 16] = [
        ("gateway killed", |dc| Fault::Kill(dc, Part::Gateway)),
        ("site server killed", |dc| Fault::Kill(dc, Part::Site)),
        ("etcd member killed", |dc| Fault::Kill(dc, Part::Etcd)),
        ("power off", Fault::DcOff),
        ("cut off", |dc| Fault::Cut(dc, Way::Both)),
        ("cut off outward", |dc| Fault::Cut(dc, Way::Out)),
        ("cut off inward", |dc| Fault::Cut(dc, Way::In)),
        ("paused", Fault::PauseDc),
        ("gateway paused", |dc| Fault::Pause(dc, Part::Gateway)),
        ("etcd member paused", |dc| Fault::Pause(dc, Part::Etcd)),
        ("site server paused", |dc| Fault::Pause(dc, Part::Site)),
        ("site 5 s late", |dc| Fault::SlowSite(dc, 5_000)),
        ("site disk full", |dc| Fault::DiskFull(dc, Part::Site)),
        ("etcd disk full", |dc| Fault::DiskFull(dc, Part::Etcd)),
        ("clock an hour ahead", |dc| Fault::ClockWrong(dc, "+3600")),
        ("clock an hour behind", |dc| Fault::ClockWrong(dc, "-3600")),
    ];
    let mut all = Vec::new();
    for (name, make) in each {
        if single {
            all.push(Scenario { name, faults: vec![make(a)] });
        }
        all.push(Scenario { name, faults: vec![make(a), make(b)] });
    }
    all
}
