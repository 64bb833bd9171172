//! The code itself.

use std::sync::OnceLock;

use base::limits::{COLUMNS, DATA_COLUMNS, PARITY_COLUMNS};
use base::{Classify, ErrorKind};
use rustfs_erasure_codec::galois_8::{self, ReedSolomon};

/// Why units were not coded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// Units of one stripe have one length, and it is not 0.
    #[error("the units of a stripe differ in length or are empty")]
    Lengths,
    /// Fewer than three columns are left.
    #[error("only {0} of the 3 columns needed are there")]
    TooFew(usize),
    /// There is no such column.
    #[error("there is no column {0}")]
    NoColumn(usize),
}

impl Classify for ErasureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::TooFew(_) => ErrorKind::Unavailable,
            Self::Lengths | Self::NoColumn(_) => ErrorKind::Internal,
        }
    }
}

type Row = [u8; DATA_COLUMNS];

/// Each column as a combination of the three data columns.
fn generator() -> &'static [Row; COLUMNS] {
    static ROWS: OnceLock<[Row; COLUMNS]> = OnceLock::new();
    ROWS.get_or_init(|| {
        let mut rows = [[0; DATA_COLUMNS]; COLUMNS];
        for data in 0..DATA_COLUMNS {
            rows[data][data] = 1;
            // What the code makes of a unit vector is a column of its parity matrix.
            let unit: [[u8; 1]; DATA_COLUMNS] = std::array::from_fn(|i| [u8::from(i == data)]);
            let mut parity = [[0u8; 1]; PARITY_COLUMNS];
            codec().encode_sep(&unit, &mut parity).expect("one byte a unit is a valid stripe");
            for (row, value) in rows[DATA_COLUMNS..].iter_mut().zip(parity) {
                row[data] = value[0];
            }
        }
        rows
    })
}

fn codec() -> &'static ReedSolomon {
    static CODEC: OnceLock<ReedSolomon> = OnceLock::new();
    CODEC.get_or_init(|| ReedSolomon::new(DATA_COLUMNS, PARITY_COLUMNS).expect("3+2 is a valid code"))
}

/// Computes the two parity units of three data units.
///
/// # Errors
/// [`ErasureError::Lengths`] unless all five have one length above 0.
pub fn encode(data: [&[u8]; DATA_COLUMNS], mut parity: [&mut [u8]; PARITY_COLUMNS]) -> Result<(), ErasureError> {
    codec().encode_sep(&data, &mut parity).map_err(|_| ErasureError::Lengths)
}

/// Computes the wanted columns from any three others, in the order wanted.
///
/// # Errors
/// [`ErasureError::TooFew`] with fewer than three columns, [`ErasureError::Lengths`] when they
/// differ in length, [`ErasureError::NoColumn`] for a column that does not exist.
pub fn reconstruct(units: &[Option<&[u8]>; COLUMNS], wanted: &[usize]) -> Result<Vec<Vec<u8>>, ErasureError> {
    let mut sources = units.iter().enumerate().filter_map(|(column, unit)| unit.map(|unit| (column, unit)));
    let found = units.iter().flatten().count();
    let (Some(a), Some(b), Some(c)) = (sources.next(), sources.next(), sources.next()) else {
        return if wanted.is_empty() { Ok(Vec::new()) } else { Err(ErasureError::TooFew(found)) };
    };
    let len = a.1.len();
    if len == 0 || b.1.len() != len || c.1.len() != len {
        return Err(ErasureError::Lengths);
    }
    // Any three rows of the generator are independent: that is what makes it a 3+2 code.
    let rows = [generator()[a.0], generator()[b.0], generator()[c.0]];
    let inverse = invert(rows).ok_or(ErasureError::TooFew(found))?;
    let rebuild = |column: &usize| {
        let target = generator().get(*column).ok_or(ErasureError::NoColumn(*column))?;
        let weights = multiply_row(target, &inverse);
        let mut out = vec![0; len];
        galois_8::mul_slice(weights[0], a.1, &mut out);
        galois_8::mul_slice_xor(weights[1], b.1, &mut out);
        galois_8::mul_slice_xor(weights[2], c.1, &mut out);
        Ok(out)
    };
    wanted.iter().map(rebuild).collect()
}

fn multiply_row(row: &Row, matrix: &[Row; DATA_COLUMNS]) -> Row {
    std::array::from_fn(|column| (0..DATA_COLUMNS).fold(0, |sum, i| sum ^ galois_8::mul(row[i], matrix[i][column])))
}

/// Gauss-Jordan elimination over GF(2^8); `None` for a singular matrix.
fn invert(mut matrix: [Row; DATA_COLUMNS]) -> Option<[Row; DATA_COLUMNS]> {
    let mut inverse: [Row; DATA_COLUMNS] = std::array::from_fn(|i| std::array::from_fn(|j| u8::from(i == j)));
    for column in 0..DATA_COLUMNS {
        let pivot = (column..DATA_COLUMNS).find(|row| matrix[*row][column] != 0)?;
        matrix.swap(column, pivot);
        inverse.swap(column, pivot);
        let scale = galois_8::div(1, matrix[column][column]);
        for j in 0..DATA_COLUMNS {
            matrix[column][j] = galois_8::mul(matrix[column][j], scale);
            inverse[column][j] = galois_8::mul(inverse[column][j], scale);
        }
        for row in (0..DATA_COLUMNS).filter(|row| *row != column) {
            let factor = matrix[row][column];
            for j in 0..DATA_COLUMNS {
                matrix[row][j] ^= galois_8::mul(factor, matrix[column][j]);
                inverse[row][j] ^= galois_8::mul(factor, inverse[column][j]);
            }
        }
    }
    Some(inverse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Multiplication written out, to compare the codec with.
    fn slow_mul(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 != 0 {
                product ^= a;
            }
            let carry = a & 0x80 != 0;
            a <<= 1;
            if carry {
                a ^= 0x1d;
            }
            b >>= 1;
        }
        product
    }

    fn stripe(data: &[Vec<u8>; 3]) -> Vec<Vec<u8>> {
        let mut parity = [vec![0; data[0].len()], vec![0; data[0].len()]];
        let [p, q] = &mut parity;
        encode([&data[0], &data[1], &data[2]], [p, q]).unwrap();
        data.iter().cloned().chain(parity).collect()
    }

    /// The vectors of `docs/spec/shard.md`.
    #[test]
    fn the_generator_is_the_specified_one() {
        assert_eq!(generator()[3..], [[1, 1, 1], [15, 8, 6]]);
        let all = stripe(&[vec![1, 2, 3, 250], vec![9, 8, 7, 251], vec![0, 255, 16, 252]]);
        assert_eq!(all[3], [0x08, 0xf5, 0x14, 0xfd]);
        assert_eq!(all[4], [0x47, 0x66, 0x49, 0xe6]);
    }

    #[test]
    fn every_three_columns_are_enough() {
        let data = [vec![1, 2, 3, 250], vec![9, 8, 7, 251], vec![0, 255, 16, 252]];
        let all = stripe(&data);
        for mask in 0u8..32 {
            let units: [Option<&[u8]>; 5] =
                std::array::from_fn(|column| (mask & (1 << column) != 0).then_some(all[column].as_slice()));
            let rebuilt = reconstruct(&units, &[0, 1, 2, 3, 4]);
            if mask.count_ones() >= 3 {
                assert_eq!(rebuilt.unwrap(), all, "{mask:05b}");
            } else {
                assert_eq!(rebuilt, Err(ErasureError::TooFew(mask.count_ones() as usize)));
            }
        }
    }

    #[test]
    fn unequal_and_empty_units_are_refused() {
        let (a, b): (&[u8], &[u8]) = (&[1, 2], &[1]);
        assert_eq!(reconstruct(&[Some(a), Some(b), Some(a), None, None], &[3]), Err(ErasureError::Lengths));
        assert_eq!(reconstruct(&[Some(&[]), Some(&[]), Some(&[]), None, None], &[3]), Err(ErasureError::Lengths));
        assert_eq!(reconstruct(&[Some(a), Some(a), Some(a), None, None], &[5]), Err(ErasureError::NoColumn(5)));
        assert!(encode([a, b, a], [&mut [0, 0], &mut [0, 0]]).is_err());
    }

    proptest! {
        /// The SIMD codec and arithmetic written out agree, for any length.
        #[test]
        fn parity_is_the_matrix_product(len in 1usize..600, seed: u64) {
            let byte = |i: usize, j: usize| (seed.rotate_left((i * 13 + j * 7) as u32 % 64) >> (j % 8)) as u8;
            let data: [Vec<u8>; 3] = std::array::from_fn(|i| (0..len).map(|j| byte(i, j)).collect());
            let all = stripe(&data);
            for (weights, column) in generator().iter().zip(&all) {
                for (j, byte) in column.iter().enumerate() {
                    let sum = (0..3).fold(0, |sum, i| sum ^ slow_mul(weights[i], data[i][j]));
                    prop_assert_eq!(*byte, sum);
                }
            }
        }

        #[test]
        fn any_two_may_be_lost(len in 1usize..5000, seed: u8, a in 0usize..5, b in 0usize..5) {
            let data: [Vec<u8>; 3] = std::array::from_fn(|i| (0..len).map(|j| seed ^ (i * 31 + j * 17) as u8).collect());
            let all = stripe(&data);
            let units: [Option<&[u8]>; 5] =
                std::array::from_fn(|column| (column != a && column != b).then_some(all[column].as_slice()));
            let rebuilt = reconstruct(&units, &[a, b]).unwrap();
            prop_assert_eq!(&rebuilt[0], &all[a]);
            prop_assert_eq!(&rebuilt[1], &all[b]);
        }
    }
}
