//! All files, by all their names.

use std::collections::HashSet;

use super::{Ext4, Inode, Kind, ROOT};
use crate::blocks::Blocks;
use crate::problem::Problem;

/// Bytes of a path that is followed: the kernel takes 4,096.
const PATH_MAX: usize = 64 << 10;
/// Bytes of paths of directories that are to be entered.
const LEFT_MAX: usize = 64 << 20;

/// A name that was come by.
#[derive(Debug)]
pub struct Entry {
    /// From the root on, with `/` between names and none at the beginning. Names are bytes.
    pub path: Vec<u8>,
    /// What it names.
    pub inode: Result<Inode, Problem>,
}

impl<B: Blocks> Ext4<B> {
    /// Shows all names, a directory before what is in it; and what could not be read, with its path. A directory that several names lead to, as
    /// only a damaged or a hostile file system has, is entered once.
    pub fn walk(&self, mut see: impl FnMut(Entry)) {
        let mut entered = HashSet::from([ROOT]);
        let mut left = vec![Folder { path: Vec::new(), number: ROOT }];
        let mut left_bytes = 0;
        while let Some(folder) = left.pop() {
            left_bytes -= folder.path.len();
            let listed = self.inode(folder.number).and_then(|inode| {
                self.names(&inode, |name, number| {
                    let path = join(&folder.path, name);
                    let mut inode = self.named(number, &path);
                    if inode.as_ref().is_ok_and(|inode| inode.kind() == Some(Kind::Folder)) {
                        if !entered.insert(number) {
                            inode = Err(Problem::Damaged("a directory with two names"));
                        } else if left_bytes + path.len() > LEFT_MAX {
                            inode = Err(Problem::Limit("directories that are not entered yet"));
                        } else {
                            left_bytes += path.len();
                            left.push(Folder { path: path.clone(), number });
                        }
                    }
                    see(Entry { path, inode });
                })
            });
            if let Err(problem) = listed {
                see(Entry { path: folder.path, inode: Err(problem) });
            }
        }
    }

    fn named(&self, number: u32, path: &[u8]) -> Result<Inode, Problem> {
        if path.len() > PATH_MAX {
            return Err(Problem::Limit("a path"));
        }
        let inode = self.inode(number)?;
        if inode.kind().is_none() { Err(Problem::Damaged("a name of a file that there is not")) } else { Ok(inode) }
    }
}

/// A directory that is to be entered.
struct Folder {
    path: Vec<u8>,
    number: u32,
}

fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}
