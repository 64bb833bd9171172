//! The Merkle tree of RFC 6962: its root from the right edge, proofs, and their verification. Pure.

use aws_lc_rs::digest;

use crate::AuditError;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a full tile, and the factor between levels of tiles (C2SP tlog-tiles: height 8).
pub(crate) const TILE_WIDTH: usize = 256;
/// Levels between two tiles.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// Hashes in the longest proof: two a level of a tree of 2^64 leaves.
pub(crate) const PROOF_MAX: usize = 128;

pub(crate) fn finish(context: digest::Context) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash of a leaf.
pub(crate) fn leaf_hash(leaf: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[0]);
    context.update(leaf);
    finish(context)
}

/// The hash of a node above two others.
pub(crate) fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&[1]);
    context.update(left);
    context.update(right);
    finish(context)
}

/// The root of a tree without leaves.
pub(crate) fn empty_root() -> Hash {
    finish(digest::Context::new(&digest::SHA256))
}

/// The hash above `hashes`, whose number is a power of two.
pub(crate) fn perfect(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty_root(),
        [one] => *one,
        many => {
            let (left, right) = many.split_at(many.len() / 2);
            node_hash(&perfect(left), &perfect(right))
        }
    }
}

/// A tile that has become full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) level: u8,
    pub(crate) index: u64,
    pub(crate) hashes: Vec<Hash>,
}

/// The right edge of a growing tree: at every level the hashes of the tile that is not full. At most 256 hashes of 32
/// bytes at 8 levels, whatever the tree's size.
#[derive(Debug, Default)]
pub(crate) struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

impl Edge {
    /// Leaves so far.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the level's tile that is not full.
    pub(crate) fn partial(&self, level: u8) -> &[Hash] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    /// Levels that have had a hash.
    pub(crate) fn levels(&self) -> u8 {
        u8::try_from(self.levels.len()).unwrap_or(u8::MAX)
    }

    /// Appends a leaf; returns the tiles that it fills, lowest level first.
    pub(crate) fn push(&mut self, leaf: Hash) -> Vec<Filled> {
        self.size += 1;
        let mut filled = Vec::new();
        let mut hash = leaf;
        let mut above = self.size;
        for level in 0..=u8::MAX {
            let at = usize::from(level);
            if self.levels.len() == at {
                self.levels.push(Vec::new());
            }
            self.levels[at].push(hash);
            if self.levels[at].len() < TILE_WIDTH {
                break;
            }
            let hashes = std::mem::take(&mut self.levels[at]);
            hash = perfect(&hashes);
            above >>= TILE_HEIGHT;
            filled.push(Filled { level, index: above - 1, hashes });
        }
        filled
    }

    /// The tree's root.
    pub(crate) fn root(&self) -> Hash {
        let mut root = None;
        for hashes in &self.levels {
            let mut rest = hashes.as_slice();
            // The smallest perfect subtrees are the rightmost.
            while !rest.is_empty() {
                let (left, last) = rest.split_at(rest.len() - (1 << rest.len().trailing_zeros()));
                let subtree = perfect(last);
                root = Some(root.map_or(subtree, |right| node_hash(&subtree, &right)));
                rest = left;
            }
        }
        root.unwrap_or_else(empty_root)
    }
}

/// Where a proof's hashes come from.
pub(crate) trait Nodes {
    /// The hash above the leaves from `index << height` on, 2^`height` of them; all are in the tree.
    fn node(&mut self, height: u32, index: u64) -> Result<Hash, AuditError>;
}

/// The largest power of two below `count`, which is at least 2.
fn split(count: u64) -> u64 {
    1 << (u64::BITS - 1 - (count - 1).leading_zeros())
}

/// The hash above the leaves `from..to`, where `from..to` is a subtree of RFC 6962's recursion.
pub(crate) fn range_root(nodes: &mut impl Nodes, from: u64, to: u64) -> Result<Hash, AuditError> {
    let count = to - from;
    if count.is_power_of_two() {
        let height = count.trailing_zeros();
        return nodes.node(height, from >> height);
    }
    let middle = from + split(count);
    Ok(node_hash(&range_root(nodes, from, middle)?, &range_root(nodes, middle, to)?))
}

/// RFC 6962, 2.1.1: the hashes beside the way from leaf `index` to the root of the first `size` leaves, lowest first.
/// `index` is below `size`.
pub(crate) fn inclusion(nodes: &mut impl Nodes, index: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(range_root(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(nodes, from, middle)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 6962, 2.1.2: what shows that the tree of `size` leaves begins with the tree of `old`, which is at least 1 and
/// at most `size`.
pub(crate) fn consistency(nodes: &mut impl Nodes, old: u64, size: u64) -> Result<Vec<Hash>, AuditError> {
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(range_root(nodes, middle, to)?);
            to = middle;
        } else {
            path.push(range_root(nodes, from, middle)?);
            from = middle;
        }
    }
    // From 0 on it is the old root itself, which the verifier has.
    if from > 0 {
        path.push(range_root(nodes, from, to)?);
    }
    path.reverse();
    Ok(path)
}

/// RFC 9162, 2.1.3.2: whether `path` leads from the leaf to the root.
pub(crate) fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, *leaf);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node_hash(beside, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// RFC 9162, 2.1.4.2: whether `path` shows that the new tree begins with the old one.
pub(crate) fn verify_consistency(old: u64, old_root: &Hash, size: u64, root: &Hash, path: &[Hash]) -> bool {
    if old == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    if old >= size {
        return old == size && path.is_empty() && old_root == root;
    }
    let mut path = path.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { path.next() };
    let Some(first) = first else { return false };
    let (mut at, mut last) = (old - 1, size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut old_hash, mut hash) = (*first, *first);
    for beside in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old_hash = node_hash(beside, &old_hash);
            hash = node_hash(beside, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, beside);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old_hash == *old_root && hash == *root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, 2.1, word for word.
    fn brute(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let (left, right) = many.split_at(split(many.len() as u64) as usize);
                node_hash(&brute(left), &brute(right))
            }
        }
    }

    struct Leaves(Vec<Hash>);

    impl Nodes for Leaves {
        fn node(&mut self, height: u32, index: u64) -> Result<Hash, AuditError> {
            let from = (index << height) as usize;
            Ok(brute(&self.0[from..from + (1 << height)]))
        }
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|at| leaf_hash(&at.to_be_bytes())).collect()
    }

    #[test]
    fn roots_of_rfc_6962() {
        // The leaves and roots of Certificate Transparency's own tests.
        let leaves =
            ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let roots = [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ];
        for (count, root) in roots {
            let mut edge = Edge::default();
            for leaf in &leaves[..count] {
                edge.push(leaf_hash(&hex::decode(leaf).unwrap()));
            }
            assert_eq!(hex::encode(edge.root()), root, "{count} leaves");
        }
    }

    #[test]
    fn tiles_are_those_of_the_specification() {
        // C2SP tlog-tiles' example: a tree of 70,000.
        let mut edge = Edge::default();
        let mut filled = Vec::new();
        for leaf in leaves(70_000) {
            filled.extend(edge.push(leaf));
        }
        assert_eq!(filled.iter().filter(|tile| tile.level == 0).count(), 273);
        assert_eq!(filled.iter().filter(|tile| tile.level == 1).count(), 1);
        assert_eq!([0, 1, 2, 3].map(|level| edge.partial(level).len()), [112, 17, 1, 0]);
        assert_eq!(edge.levels(), 3);
        let places: Vec<_> = filled[254..257].iter().map(|tile| (tile.level, tile.index)).collect();
        assert_eq!(places, [(0, 254), (0, 255), (1, 0)]);
    }

    #[test]
    fn roots_around_full_tiles() {
        let all = leaves(1030);
        let mut edge = Edge::default();
        for (count, leaf) in all.iter().enumerate() {
            if count % 256 < 4 || count % 256 > 253 {
                assert_eq!(edge.root(), brute(&all[..count]), "{count} leaves");
            }
            edge.push(*leaf);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn inclusion_is_proven_and_nothing_else(
            size in 1u64..600,
            at: prop::sample::Index,
            other: prop::sample::Index,
        ) {
            let all = leaves(size);
            let root = brute(&all);
            let index = at.index(all.len());
            let path = inclusion(&mut Leaves(all.clone()), index as u64, size).unwrap();
            prop_assert!(verify_inclusion(&all[index], index as u64, size, &path, &root));
            let wrong = other.index(all.len());
            if wrong != index {
                prop_assert!(!verify_inclusion(&all[wrong], index as u64, size, &path, &root));
                prop_assert!(!verify_inclusion(&all[index], wrong as u64, size, &path, &root));
            }
            prop_assert!(!verify_inclusion(&all[index], index as u64, size, &path, &[7; 32]));
            prop_assert!(!verify_inclusion(&all[index], size, size, &path, &root));
            for at in 0..path.len() {
                let mut bent = path.clone();
                bent[at][0] ^= 1;
                prop_assert!(!verify_inclusion(&all[index], index as u64, size, &bent, &root));
                prop_assert!(!verify_inclusion(&all[index], index as u64, size, &path[..at], &root));
            }
            let longer = [&path[..], &[[0; 32]]].concat();
            prop_assert!(!verify_inclusion(&all[index], index as u64, size, &longer, &root));
        }

        #[test]
        fn consistency_is_proven_and_nothing_else(size in 1u64..600, at: prop::sample::Index) {
            let all = leaves(size);
            let root = brute(&all);
            let old = 1 + at.index(all.len());
            let old_root = brute(&all[..old]);
            let path = consistency(&mut Leaves(all), old as u64, size).unwrap();
            prop_assert!(verify_consistency(old as u64, &old_root, size, &root, &path));
            prop_assert!(!verify_consistency(old as u64, &[7; 32], size, &root, &path));
            prop_assert!(!verify_consistency(old as u64, &old_root, size, &[7; 32], &path));
            prop_assert!(!verify_consistency(size + 1, &root, size, &root, &path));
            for at in 0..path.len() {
                let mut bent = path.clone();
                bent[at][0] ^= 1;
                prop_assert!(!verify_consistency(old as u64, &old_root, size, &root, &bent));
                prop_assert!(!verify_consistency(old as u64, &old_root, size, &root, &path[..at]));
            }
        }
    }
}
