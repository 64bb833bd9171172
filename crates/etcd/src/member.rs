//! What is known of a member: how fast it was, and whether to ask it first. Pure, fed with the time.

use std::collections::VecDeque;

/// Answers whose times are remembered: enough for a 95th percentile, few enough to forget a bad minute.
const SAMPLES: usize = 64;
/// How much later than its 95th percentile an answer is late.
const LATE_TIMES: u64 = 3;
/// Milliseconds. Below this nothing is late: a pause of the garbage collector or a flush takes as long.
const LATE_AT_LEAST: u64 = 50;
/// Milliseconds that an answer may take before anything is known of a member.
const LATE_AT_FIRST: u64 = 250;
/// Milliseconds. A member that never was faster is asked beside another at the latest then.
const LATE_AT_MOST: u64 = 1000;
/// Milliseconds between a failure and the next trial, doubled by each failure more.
const PAUSE_FIRST: u64 = 100;
/// Milliseconds. Long enough to cost nothing, short enough that a member which is back is soon used.
const PAUSE_MOST: u64 = 2000;

/// How a member may be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It answers.
    Well,
    /// It failed, and may be asked again: beside another one, so that nobody waits for it.
    Trial,
    /// It failed just now.
    Broken,
}

/// A member's record.
#[derive(Debug, Default)]
pub(crate) struct Record {
    took: VecDeque<u64>,
    broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy)]
struct Broken {
    pause: u64,
    until: u64,
}

impl Record {
    /// How it may be used at `now`, in milliseconds on any clock that does not go back.
    pub(crate) fn standing(&self, now: u64) -> Standing {
        match self.broken {
            None => Standing::Well,
            Some(broken) if now >= broken.until => Standing::Trial,
            Some(_) => Standing::Broken,
        }
    }

    /// A trial begins at `now`: no other one until a pause later.
    pub(crate) fn tried(&mut self, now: u64) {
        if let Some(broken) = &mut self.broken {
            broken.until = now + broken.pause;
        }
    }

    /// Milliseconds after which an answer is late, and another member is asked as well.
    pub(crate) fn late_after(&self) -> u64 {
        if self.took.len() < 8 {
            return LATE_AT_FIRST;
        }
        let mut sorted: Vec<u64> = self.took.iter().copied().collect();
        sorted.sort_unstable();
        let p95 = sorted[(sorted.len() * 95 / 100).min(sorted.len() - 1)];
        (p95 * LATE_TIMES).clamp(LATE_AT_LEAST, LATE_AT_MOST)
    }

    /// It answered, after so many milliseconds. An answer that came late does not mend it.
    pub(crate) fn answered(&mut self, took: u64) {
        if self.broken.is_some() {
            if took > self.late_after() {
                return;
            }
            self.broken = None;
        }
        if self.took.len() == SAMPLES {
            self.took.pop_front();
        }
        self.took.push_back(took);
    }

    /// It failed, or another one that was asked later answered before it.
    pub(crate) fn failed(&mut self, now: u64) {
        let pause = match self.broken {
            // Several calls that were under way fail together: that is one failure.
            Some(broken) if now < broken.until => return,
            Some(broken) => (broken.pause * 2).min(PAUSE_MOST),
            None => PAUSE_FIRST,
        };
        self.broken = Some(Broken { pause, until: now + pause });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_an_answer() {
        let mut record = Record::default();
        let mut now = 1000;
        for pause in [100, 200, 400, 800, 1600, 2000, 2000] {
            record.failed(now);
            record.failed(now + 1);
            assert_eq!(record.standing(now + pause - 1), Standing::Broken, "{pause}");
            assert_eq!(record.standing(now + pause), Standing::Trial, "{pause}");
            now += pause;
        }
        record.tried(now);
        assert_eq!(record.standing(now + 1), Standing::Broken, "one trial at a time");
        record.answered(5000);
        assert_ne!(record.standing(now + 1), Standing::Well, "a late answer mends nothing");
        record.answered(3);
        assert_eq!(record.standing(now + 1), Standing::Well);
        record.failed(now + 2);
        assert_eq!(record.standing(now + 102), Standing::Trial, "the pauses begin anew");
    }

    #[test]
    fn late_is_three_times_what_is_usual() {
        // (milliseconds of answers, late after)
        let table: [(&[u64], u64); 5] =
            [(&[], 250), (&[1; 7], 250), (&[1; 8], 50), (&[40; 64], 120), (&[900; 64], 1000)];
        for (times, late) in table {
            let mut record = Record::default();
            times.iter().for_each(|took| record.answered(*took));
            assert_eq!(record.late_after(), late, "{times:?}");
        }
        let mut record = Record::default();
        (0..60).for_each(|_| record.answered(20));
        (0..4).for_each(|_| record.answered(5000));
        assert_eq!(record.late_after(), 1000, "more than one in twenty was slow");
        (0..64).for_each(|_| record.answered(20));
        assert_eq!(record.late_after(), 60, "what is long ago is forgotten");
    }
}
