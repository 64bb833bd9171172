//! Tests of shares: the field, secrecy, and everything that may be wrong with what people bring.

use std::collections::HashSet;
use std::sync::Mutex;

use base::{Rng, SeededRng};
use proptest::prelude::*;

use super::*;
use crate::points::{invert, multiply};

/// Gives the bytes that it was made with, in order.
struct Drawn(Mutex<Vec<u8>>);

impl Drawn {
    fn new(bytes: impl IntoIterator<Item = u8>) -> Self {
        let mut bytes: Vec<u8> = bytes.into_iter().collect();
        bytes.reverse();
        Self(Mutex::new(bytes))
    }
}

impl Rng for Drawn {
    fn fill(&self, out: &mut [u8]) {
        let mut left = self.0.lock().unwrap();
        out.iter_mut().for_each(|byte| *byte = left.pop().unwrap());
    }
}

fn shares(seed: u64, threshold: u8, count: u8) -> ([u8; KEY_LEN], Vec<Share>) {
    let rng = SeededRng::new(seed);
    let mut key = [0; KEY_LEN];
    rng.fill(&mut key);
    (key, split(&key, threshold, count, &rng).unwrap())
}

/// Multiplication as the field is defined: of polynomials first, then what is left after division.
fn defined(a: u8, b: u8) -> u8 {
    let product = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0u16, |sum, bit| sum ^ u16::from(a) << bit);
    (8..16).rev().fold(product, |rest, bit| if rest >> bit & 1 == 1 { rest ^ 0x11b << (bit - 8) } else { rest }) as u8
}

#[test]
fn the_field_is_the_one_of_aes() {
    assert_eq!((multiply(0x57, 0x83), multiply(0x57, 0x13)), (0xc1, 0xfe), "FIPS 197, 4.2");
    for a in 0..=u8::MAX {
        assert!((0..=u8::MAX).all(|b| multiply(a, b) == defined(a, b)), "{a}");
        assert_eq!(multiply(a, invert(a)), u8::from(a != 0), "{a}");
    }
}

/// The vector of `docs/spec/root.md`.
#[test]
fn shares_are_the_specified_ones() {
    let key = std::array::from_fn(|i| i as u8);
    let made = split(&key, 3, 5, &Drawn::new((0x40..0x45).chain(0x80..0xc0))).unwrap();
    assert_eq!(made[0].set().to_string(), "ibau-eq2e");
    assert_eq!(hex::encode(made[0].0.commitment), "e8fe41f8a3c22d4d4dced2ceefbbd63d");
    let expected = [
        "hfs1-ibau-eq2e-amcq-d2h6-ih4k-hqrn-jvg4-5uwo-5655-mpja-eerc-gjbf-eyts-qkjk-fmwc-2lrp-gayt-emzu-gu3d-oobz-hi5t-ypj6-h4rp-gxag",
        "hfs1-ibau-eq2e-amcq-f2h6-ih4k-hqrn-jvg4-5uwo-5655-mpnn-vkr2-jmnw-x64j-leu3-tsey-5b4a-3xnn-hvgb-y3h4-rzpc-5pwp-t7xx-6c5n-66vu",
        "hfs1-ibau-eq2e-amcq-h2h6-ih4k-hqrn-jvg4-5uwo-5655-mpmn-rkby-jemw-t6ml-lmv3-xsu2-5j5a-7x5p-h5hb-43x6-rroc-zpgn-txwx-2br2-6zhj",
        "hfs1-ibau-eq2e-amcq-j2h6-ih4k-hqrn-jvg4-5uwo-5655-mpoy-zxzo-pdez-u2zx-azk2-j4sd-cdq3-sodl-tlgh-2lw7-qozo-cecg-66sf-kdet-f4pm",
        "hfs1-ibau-eq2e-amcq-l2h6-ih4k-hqrn-jvg4-5uwo-5655-mppy-5xjm-plfz-q2jv-arl2-n4cb-clr3-wotj-tdhh-6lg5-qgyo-gese-6wtf-odf2-2ial",
    ];
    for (share, text) in made.iter().zip(expected) {
        assert_eq!(*share.to_text(), text);
        assert_eq!(&Share::from_text(text).unwrap(), share);
    }
    assert_eq!(*combine(&made[2..]).unwrap(), key);
}

/// Over all that may be drawn for one byte, any two of three-of-five shares show each pair of values
/// exactly once, whatever the byte is: they tell nothing of it.
#[test]
fn fewer_shares_than_it_takes_tell_nothing() {
    for secret in [0x00, 0x01, 0x53, 0xff] {
        let mut seen = [(1, 2), (2, 5), (3, 4)].map(|pair| (pair, HashSet::new()));
        // 32 choices at once, one for each byte of the key.
        for first in 0..=u8::MAX {
            for block in 0..8 {
                let seconds = (0..32).map(|i| block * 32 + i);
                let draws = [0; SET_LEN].into_iter().chain([first; KEY_LEN]).chain(seconds);
                let made = split(&[secret; KEY_LEN], 3, 5, &Drawn::new(draws)).unwrap();
                for ((a, b), seen) in &mut seen {
                    let [a, b] = [*a, *b].map(|number: usize| &made[number - 1].0.value);
                    seen.extend(a.iter().copied().zip(b.iter().copied()));
                }
            }
        }
        for (pair, seen) in seen {
            assert_eq!(seen.len(), 65_536, "{secret:#x}, shares {pair:?}");
        }
    }
}

#[test]
fn a_division_that_cannot_be_is_refused() {
    for (threshold, count) in [(0, 0), (0, 5), (1, 1), (1, 5), (6, 5), (2, 17), (17, 17), (255, 255)] {
        let made = split(&[7; KEY_LEN], threshold, count, &SeededRng::new(1));
        assert_eq!(made, Err(ShareError::Impossible { threshold, count }));
    }
    for (threshold, count) in [(2, 2), (2, 16), (16, 16)] {
        let (key, made) = shares(1, threshold, count);
        assert_eq!(*combine(&made).unwrap(), key);
    }
}

/// What a share says that no `split` makes, with a check that holds.
#[test]
fn a_share_that_says_the_impossible_is_refused() {
    let (_, made) = shares(1, 3, 5);
    for (threshold, count, number) in [(1, 5, 1), (6, 5, 1), (3, 17, 1), (3, 5, 0), (3, 5, 6), (0, 0, 0)] {
        let share = Share(Fields { threshold, count, number, ..made[0].0.clone() });
        let read = Share::from_text(&share.to_text());
        assert_eq!(read, Err(ShareError::Impossible { threshold, count }), "{number}");
    }
}

#[test]
fn what_is_wrong_with_a_choice_of_shares_is_named() {
    let (_, ours) = shares(1, 3, 5);
    let (_, others) = shares(2, 3, 5);
    let sets = (ours[0].set(), others[0].set());
    let mixed = |first, other| ShareError::Mixed { first, set: sets.0, other, other_set: sets.1 };
    let pick = |numbers: &[usize]| numbers.iter().map(|number| ours[number - 1].clone()).collect::<Vec<_>>();
    let with = |numbers: &[usize], share: &Share| [pick(numbers), vec![share.clone()]].concat();
    // Of the same name by chance or by hand, but of another key.
    let named_so = Share(Fields { set: sets.0, ..others[2].0.clone() });
    let same = ShareError::Mixed { first: 1, set: sets.0, other: 3, other_set: sets.0 };
    let table = [
        (vec![], ShareError::TooFew { have: 0, need: 2 }),
        (pick(&[1]), ShareError::TooFew { have: 1, need: 3 }),
        (pick(&[5, 2]), ShareError::TooFew { have: 2, need: 3 }),
        (pick(&[1, 2, 1]), ShareError::Twice { number: 1 }),
        (pick(&[1, 2, 3, 4, 5, 4]), ShareError::Twice { number: 4 }),
        (with(&[1, 2], &others[2]), mixed(1, 3)),
        (with(&[4, 2, 3], &others[4]), mixed(4, 5)),
        (with(&[1, 2], &named_so), same),
    ];
    for (given, expected) in table {
        assert_eq!(combine(&given), Err(expected), "{given:?}");
    }
}

/// A hand that alters a share can make its check hold; the commitment tells, and more shares than are
/// needed tell whose it was.
#[test]
fn altered_shares_are_found_out() {
    let (key, made) = shares(1, 3, 6);
    let bend = |numbers: &[u8]| -> Vec<Share> {
        let mut bent = made.clone();
        for share in bent.iter_mut().filter(|share| numbers.contains(&share.number())) {
            // Other bits in each: the same in two may cancel out.
            share.0.value[7] ^= 1 << share.number();
            assert_eq!(&Share::from_text(&share.to_text()).unwrap(), share);
        }
        bent
    };
    for number in 1..=6 {
        let bent = bend(&[number]);
        assert_eq!(combine(&bent), Err(ShareError::Unfitting { numbers: vec![number] }));
        let three: Vec<Share> =
            [number - 1, number % 6, (number + 1) % 6].iter().map(|at| bent[usize::from(*at)].clone()).collect();
        assert_eq!(combine(&three), Err(ShareError::DoNotFit { have: 3, need: 3 }));
        let rest: Vec<Share> = bent.into_iter().filter(|share| share.number() != number).collect();
        assert_eq!(*combine(&rest).unwrap(), key);
    }
    assert_eq!(combine(&bend(&[2, 4, 5])), Err(ShareError::Unfitting { numbers: vec![2, 4, 5] }));
    assert_eq!(combine(&bend(&[1, 2, 4, 5])), Err(ShareError::DoNotFit { have: 6, need: 3 }));
    let renumbered = [Share(Fields { number: 6, ..made[0].0.clone() }), made[1].clone(), made[2].clone()];
    assert_eq!(combine(&renumbered), Err(ShareError::DoNotFit { have: 3, need: 3 }));
}

#[test]
fn every_choice_comes_once() {
    for (have, need, expected) in [(3, 3, 1), (5, 3, 10), (6, 2, 15), (16, 8, 12_870), (16, 16, 1)] {
        let all: Vec<_> = choices(have, need).collect();
        assert!(all.iter().all(|chosen| chosen.is_sorted() && chosen[need - 1] < have));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), expected);
        assert_eq!(all.len(), expected);
    }
}

#[test]
fn a_share_is_not_printed_by_accident() {
    let (_, made) = shares(1, 3, 5);
    assert_eq!(format!("{:?}", made[1]), format!("Share(2 of set {})", made[0].set()));
}

#[test]
fn what_is_wrong_with_a_line_is_named() {
    let (_, made) = shares(1, 3, 5);
    let text = made[0].to_text().to_string();
    let letters = |letters| ShareError::Length { letters, expected: 96 };
    let table = [
        (String::new(), ShareError::NotAShare),
        ("hfs1".to_owned(), ShareError::NotAShare),
        ("AKIA-abcd".to_owned(), ShareError::NotAShare),
        ("é-é".to_owned(), ShareError::NotAShare),
        (text.replacen("hfs1", "hfs2", 1), ShareError::Version),
        ("hfs1-".to_owned(), letters(0)),
        (text[..text.len() - 1].to_owned(), letters(95)),
        (format!("{text}a"), letters(97)),
        (format!("{text}-{}", "aaaa".repeat(5000)), letters(96 + 20_000)),
        (format!("hfs1-0{}", &text[6..]), ShareError::Letter { at: 1, found: '0' }),
        (format!("{}é", &text[..text.len() - 1]), ShareError::Letter { at: 96, found: 'é' }),
    ];
    for (line, expected) in table {
        assert_eq!(Share::from_text(&line), Err(expected), "{line}");
    }
    for fine in [text.to_uppercase(), text.replace('-', "").replacen("hfs1", "hfs1-", 1), text.replace('-', " - ")] {
        assert_eq!(Share::from_text(&format!("  {fine}\r\n")).as_ref(), Ok(&made[0]), "{fine}");
    }
}

/// Every mistake of one letter, and every swap of neighbours.
#[test]
fn typing_mistakes_are_found() {
    let (_, made) = shares(1, 3, 5);
    let text = made[0].to_text().to_string();
    for at in (5..text.len()).filter(|at| text.as_bytes()[*at] != b'-') {
        for letter in ('a'..='z').chain('2'..='7').filter(|letter| text.as_bytes()[at] != *letter as u8) {
            let typed = format!("{}{letter}{}", &text[..at], &text[at + 1..]);
            assert_eq!(Share::from_text(&typed), Err(ShareError::Mistyped), "{typed}");
        }
    }
    let letters: Vec<char> = text[5..].chars().filter(|letter| *letter != '-').collect();
    for at in (1..letters.len()).filter(|at| letters[*at] != letters[at - 1]) {
        let mut typed = letters.clone();
        typed.swap(at, at - 1);
        let typed = format!("hfs1-{}", String::from_iter(typed));
        assert_eq!(Share::from_text(&typed), Err(ShareError::Mistyped), "{typed}");
    }
}

proptest! {
    #[test]
    fn any_that_are_enough_give_the_key_and_fewer_never(
        seed: u64,
        (threshold, count) in (2u8..=16).prop_flat_map(|count| (2..=count, Just(count))),
        order in Just((0..16usize).collect::<Vec<_>>()).prop_shuffle(),
        have in 1usize..=16,
    ) {
        let (key, made) = shares(seed, threshold, count);
        let chosen: Vec<Share> = order.iter().filter_map(|at| made.get(*at)).take(have).cloned().collect();
        if chosen.len() >= usize::from(threshold) {
            prop_assert_eq!(*combine(&chosen).unwrap(), key);
        } else {
            let have = chosen.len() as u8;
            prop_assert_eq!(combine(&chosen), Err(ShareError::TooFew { have, need: threshold }));
            // Nor do they when they claim to be enough.
            let claim = |share: &Share| Share(Fields { threshold: 2, ..share.0.clone() });
            let claimed: Vec<Share> = chosen.iter().map(claim).collect();
            prop_assert!(combine(&claimed).is_err());
        }
    }

    #[test]
    fn a_text_is_read_as_it_was_written(seed: u64, at in 0usize..16) {
        let (_, made) = shares(seed, 9, 16);
        prop_assert_eq!(&Share::from_text(&made[at].to_text()).unwrap(), &made[at]);
    }

    #[test]
    fn no_line_makes_it_panic(line in "(hfs1-)?[ -~é]{0,120}") {
        prop_assert!(Share::from_text(&line).is_err());
    }
}
