//! Where the bytes of a segment lie.

use std::ops::Range;

use base::limits::DATA_COLUMNS;

/// The geometry of one segment: its bytes are cut into stripes of three data units. Stripes are
/// full but the last, whose units are shorter and padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Data bytes.
    pub len: u64,
    /// Bytes of a unit in full stripes: a positive multiple of `align`.
    pub unit: u32,
    /// Units of the last stripe are a multiple of this, at least 1.
    pub align: u32,
}

/// A run of bytes inside one unit of one data column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Data column, 0 to 2.
    pub column: u8,
    /// First byte within the column's bytes.
    pub column_offset: u64,
    /// Bytes.
    pub len: u32,
}

impl Geometry {
    /// Whether the numbers make a segment at all.
    pub fn is_valid(&self) -> bool {
        self.align > 0 && self.unit > 0 && self.unit.is_multiple_of(self.align) && self.len <= 1 << 40
    }

    fn stripe(&self) -> u64 {
        u64::from(self.unit.max(1)) * DATA_COLUMNS as u64
    }

    /// Stripes whose units have the full length.
    pub fn full_stripes(&self) -> u64 {
        self.len / self.stripe()
    }

    /// Bytes of a unit in the last, shorter stripe; 0 when all stripes are full.
    pub fn last_unit(&self) -> u32 {
        let rest = self.len % self.stripe();
        let align = u64::from(self.align.max(1));
        // At most `unit`, because that is a multiple of `align` itself.
        rest.div_ceil(DATA_COLUMNS as u64).next_multiple_of(align).min(u64::from(self.unit)) as u32
    }

    /// All stripes.
    pub fn stripes(&self) -> u64 {
        self.full_stripes() + u64::from(self.last_unit() > 0)
    }

    /// Bytes of each column, without header and trailer.
    pub fn column_len(&self) -> u64 {
        self.full_stripes() * u64::from(self.unit) + u64::from(self.last_unit())
    }

    /// Bytes of a unit in a stripe.
    pub fn unit_of(&self, stripe: u64) -> u32 {
        if stripe < self.full_stripes() { self.unit } else { self.last_unit() }
    }

    /// Cuts a range of the segment's bytes into pieces, in order. What lies past the end is left
    /// out, and a geometry that is not valid has no pieces. Reed-Solomon works bytewise, so a piece is rebuilt from the same interval of any
    /// three other columns.
    pub fn locate(&self, range: Range<u64>) -> impl Iterator<Item = Piece> + use<> {
        let geometry = *self;
        let end = if self.is_valid() { range.end.min(self.len) } else { 0 };
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let stripe = at / geometry.stripe();
            let unit = u64::from(geometry.unit_of(stripe));
            let within = at % geometry.stripe();
            let (column, offset) = (within / unit, within % unit);
            let len = (unit - offset).min(end - at);
            at += len;
            Some(Piece {
                column: column as u8,
                column_offset: stripe * u64::from(geometry.unit) + offset,
                len: len as u32,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry() -> impl Strategy<Value = Geometry> {
        (1u32..9, 1u32..7, 0u64..500).prop_map(|(align, times, len)| Geometry { len, unit: align * times, align })
    }

    /// The columns of bytes 0, 1, 2, …, cut the slow way.
    fn columns(geometry: &Geometry) -> [Vec<Option<u64>>; 3] {
        let mut columns: [Vec<Option<u64>>; 3] = Default::default();
        let mut next = 0;
        for stripe in 0..geometry.stripes() {
            for column in &mut columns {
                for _ in 0..geometry.unit_of(stripe) {
                    column.push((next < geometry.len).then_some(next));
                    next += 1;
                }
            }
        }
        columns
    }

    #[test]
    fn last_units() {
        let cases = [
            // len, unit, align, full stripes, last unit, column
            (0, 64, 16, 0, 0, 0),
            (1, 64, 16, 0, 16, 16),
            (48, 64, 16, 0, 16, 16),
            (49, 64, 16, 0, 32, 32),
            (191, 64, 16, 0, 64, 64),
            (192, 64, 16, 1, 0, 64),
            (193, 64, 16, 1, 16, 80),
            (30, 8, 4, 1, 4, 12),
        ];
        for (len, unit, align, full, last, column) in cases {
            let geometry = Geometry { len, unit, align };
            let got = (geometry.full_stripes(), geometry.last_unit(), geometry.column_len());
            assert_eq!(got, (full, last, column), "{geometry:?}");
        }
    }

    /// A damaged record gave a unit of 0, and locating a byte in it divided by that.
    #[test]
    fn geometries_that_make_no_sense_have_no_pieces() {
        for (unit, align) in [(0, 0), (0, 1), (1, 0), (3, 2)] {
            let geometry = Geometry { len: 100, unit, align };
            assert!(!geometry.is_valid());
            assert_eq!(geometry.locate(0..100).next(), None, "{geometry:?}");
        }
    }

    proptest! {
        #[test]
        fn no_numbers_make_it_panic(len: u64, unit: u32, align: u32, from: u64, to: u64) {
            let geometry = Geometry { len, unit, align };
            let all = (geometry.stripes(), geometry.column_len(), geometry.unit_of(from));
            prop_assert!(all.1 <= len.saturating_add(u64::from(unit)), "{all:?}");
            for piece in geometry.locate(from..to).take(5) {
                prop_assert!(piece.column_offset + u64::from(piece.len) <= geometry.column_len());
            }
        }

        #[test]
        fn pieces_name_the_bytes_asked_for(geometry in geometry(), a in 0u64..520, b in 0u64..520) {
            prop_assert!(geometry.is_valid());
            let columns = columns(&geometry);
            prop_assert!(columns.iter().all(|column| column.len() as u64 == geometry.column_len()));
            let mut got = Vec::new();
            for piece in geometry.locate(a..b) {
                let from = piece.column_offset as usize;
                prop_assert!(piece.len > 0);
                got.extend_from_slice(&columns[usize::from(piece.column)][from..from + piece.len as usize]);
            }
            let expected: Vec<Option<u64>> = (a..b.min(geometry.len)).map(Some).collect();
            prop_assert_eq!(got, expected);
        }
    }
}
