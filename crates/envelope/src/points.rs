//! A key as points of a polynomial (Shamir's scheme, byte by byte over the field of AES), for machines that keep
//! one each. What people keep is made of the same: see `shamir.rs`.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base::Rng;
use zeroize::Zeroizing;

use crate::key::KEY_LEN;
use crate::shamir::possible;
use crate::{Kek, ShareError};

/// A value and where it is to be found. Cannot be printed; zeroed when dropped.
#[derive(Clone)]
pub struct Point {
    number: u8,
    value: Zeroizing<[u8; KEY_LEN]>,
}

impl Point {
    /// The point at `number`, which is not 0: there the key is.
    pub fn new(number: u8, value: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self { number, value }
    }

    /// Where it is, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// The value: to be sealed, not to be kept as it is.
    pub fn value(&self) -> &[u8; KEY_LEN] {
        &self.value
    }

    fn borrowed(&self) -> (u8, &[u8; KEY_LEN]) {
        (self.number, &self.value)
    }
}

/// A key that points gave.
pub struct Joined {
    /// The key.
    pub key: Kek,
    /// The numbers of points that lie elsewhere: they are false.
    pub false_points: Vec<u8>,
    through: Vec<Point>,
}

impl Joined {
    /// The point at another number, as it was when the key was dealt.
    pub fn point(&self, number: u8) -> Point {
        let through: Vec<_> = self.through.iter().map(Point::borrowed).collect();
        Point { number, value: value_at(&through, number) }
    }
}

/// Cuts a key into `count` points, any `threshold` of which give it back.
///
/// # Errors
/// [`ShareError::Impossible`] for other than 2 <= threshold <= count <= 16.
pub fn deal(key: &Kek, threshold: u8, count: u8, rng: &dyn Rng) -> Result<Vec<Point>, ShareError> {
    possible(threshold, count)?;
    let coefficients = draw(key.bytes(), threshold, rng);
    Ok((1..=count).map(|number| Point { number, value: at(&coefficients, number) }).collect())
}

/// The key of which these are points: the first `threshold` of them that give one which `is_it` knows. Of two with one
/// number the first counts.
pub fn join(points: &[Point], threshold: u8, is_it: impl Fn(&Kek) -> bool) -> Option<Joined> {
    let first = |(at, point): &(usize, &Point)| {
        point.number != 0 && points[..*at].iter().all(|before| before.number != point.number)
    };
    let points: Vec<&Point> = points.iter().enumerate().filter(first).map(|(_, point)| point).collect();
    let need = usize::from(threshold);
    if need == 0 || points.len() < need {
        return None;
    }
    choices(points.len(), need).find_map(|chosen| {
        let through: Vec<_> = chosen.iter().map(|at| points[*at].borrowed()).collect();
        let key = Kek::from_bytes(*value_at(&through, 0));
        if !is_it(&key) {
            return None;
        }
        let elsewhere = |point: &&&Point| {
            verify_slices_are_equal(value_at(&through, point.number).as_ref(), point.value.as_ref()).is_err()
        };
        let false_points = points.iter().filter(elsewhere).map(|point| point.number).collect();
        let through = chosen.iter().map(|at| points[*at].clone()).collect();
        Some(Joined { key, false_points, through })
    })
}

/// The coefficients of a polynomial that has the key at 0. The highest may be zero: if it never were, fewer
/// points would rule values out.
pub(crate) fn draw(key: &[u8; KEY_LEN], threshold: u8, rng: &dyn Rng) -> Zeroizing<Vec<[u8; KEY_LEN]>> {
    let mut coefficients = Zeroizing::new(vec![[0; KEY_LEN]; usize::from(threshold)]);
    coefficients[0] = *key;
    coefficients[1..].iter_mut().for_each(|coefficient| rng.fill(coefficient));
    coefficients
}

/// The value of a polynomial.
pub(crate) fn at(coefficients: &[[u8; KEY_LEN]], number: u8) -> Zeroizing<[u8; KEY_LEN]> {
    let mut value = Zeroizing::new([0; KEY_LEN]);
    for coefficient in coefficients.iter().rev() {
        scale(&mut value, number);
        add(&mut value, coefficient);
    }
    value
}

/// All ways to choose `need` of `have` positions, the first ones first.
pub(crate) fn choices(have: usize, need: usize) -> impl Iterator<Item = Vec<usize>> {
    let mut next = Some((0..need).collect::<Vec<_>>());
    std::iter::from_fn(move || {
        let chosen = next.take()?;
        // The last position that can still move does, and those after it follow it closely.
        next = (0..need).rev().find(|at| chosen[*at] < have - need + at).map(|at| {
            let moved = (at..need).map(|later| chosen[at] + 1 + later - at);
            chosen[..at].iter().copied().chain(moved).collect()
        });
        Some(chosen)
    })
}

/// The value at `x` of the polynomial through points (Lagrange). Which points they are is no
/// secret, their values are.
pub(crate) fn value_at(points: &[(u8, &[u8; KEY_LEN])], x: u8) -> Zeroizing<[u8; KEY_LEN]> {
    let mut sum = Zeroizing::new([0; KEY_LEN]);
    for (number, value) in points {
        let mut weight = 1;
        for (other, _) in points.iter().filter(|(other, _)| other != number) {
            weight = multiply(weight, x ^ other);
            weight = multiply(weight, invert(number ^ other));
        }
        let mut term = Zeroizing::new(**value);
        scale(&mut term, weight);
        add(&mut sum, &term);
    }
    sum
}

fn scale(value: &mut [u8; KEY_LEN], by: u8) {
    value.iter_mut().for_each(|byte| *byte = multiply(*byte, by));
}

fn add(sum: &mut [u8; KEY_LEN], term: &[u8; KEY_LEN]) {
    sum.iter_mut().zip(term).for_each(|(byte, more)| *byte ^= more);
}

/// Multiplies in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, in the same steps for all values: no table
/// and no branch depends on them.
pub(crate) const fn multiply(a: u8, b: u8) -> u8 {
    let (mut a, mut product, mut bit) = (a, 0, 0);
    while bit < 8 {
        // All ones where the bit is set, else zero.
        product ^= a & ((b >> bit) & 1).wrapping_neg();
        a = (a << 1) ^ (0x1b & (a >> 7).wrapping_neg());
        bit += 1;
    }
    product
}

/// The inverse, as the 254th power; 0 of 0.
pub(crate) const fn invert(a: u8) -> u8 {
    let (mut power, mut square, mut bit) = (1, a, 0);
    while bit < 7 {
        square = multiply(square, square);
        power = multiply(power, square);
        bit += 1;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::{Kek, deal, join};
    use base::SeededRng;
    use proptest::prelude::*;

    const CONTEXT: &[u8] = b"test";

    /// The vector of `docs/spec/quorum.md`.
    #[test]
    fn points_are_the_specified_ones() {
        struct Counting(std::sync::atomic::AtomicU8);
        impl base::Rng for Counting {
            fn fill(&self, out: &mut [u8]) {
                out.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            }
        }
        let key = Kek::from_bytes(std::array::from_fn(|i| i as u8));
        let points = deal(&key, 3, 5, &Counting(0x80.into())).unwrap();
        let values: Vec<String> = points.iter().map(|point| hex::encode(point.value())).collect();
        let expected = [
            "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f",
            "adaaa3a4b1b6bfb895929b9c898e8780dddad3d4c1c6cfc8e5e2ebecf9fef7f0",
            "8d8a838491969f98b5b2bbbca9aea7a0fdfaf3f4e1e6efe8c5c2cbccd9ded7d0",
            "d8cdf2e78c99a6b370655a4f24310e1b9386b9acc7d2edf83b2e11046f7a4550",
            "f8edd2c7acb9869350457a6f04112e3bb3a6998ce7f2cdd81b0e31244f5a6570",
        ];
        assert_eq!(values, expected);
    }

    proptest! {
        #[test]
        fn any_three_points_give_the_key_and_a_false_one_is_found(
            seed: u64, lies: prop::sample::Index, bit in 0usize..256, keep in 3usize..=5,
        ) {
            let rng = SeededRng::new(seed);
            let key = Kek::generate(&rng);
            let verifier = key.verifier(CONTEXT).unwrap();
            let is_it = |key: &Kek| key.is_verified_by(CONTEXT, &verifier);
            let mut points = deal(&key, 3, 5, &rng).unwrap();
            let gone = lies.index(6 - keep);
            points.drain(..gone);
            points.truncate(keep);
            let joined = join(&points, 3, is_it).unwrap();
            prop_assert!(joined.false_points.is_empty());
            for point in &points {
                let again = joined.point(point.number());
                prop_assert_eq!(again.value(), point.value());
            }
            let liar = lies.index(points.len());
            points[liar].value[bit / 8] ^= 1 << (bit % 8);
            match join(&points, 3, is_it) {
                Some(joined) => prop_assert_eq!(joined.false_points, vec![points[liar].number()]),
                None => prop_assert_eq!(points.len(), 3),
            }
            prop_assert!(join(&points[..2], 3, is_it).is_none());
        }
    }

    #[test]
    fn the_same_point_twice_is_one() {
        let rng = SeededRng::new(5);
        let key = Kek::generate(&rng);
        let points = deal(&key, 3, 5, &rng).unwrap();
        let twice = [&points[0], &points[0], &points[1]].map(Clone::clone);
        assert!(join(&twice, 3, |_| true).is_none());
    }
}
