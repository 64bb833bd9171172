//! What is known of a file without its name.

use crate::le::{u16_at, u32_at, u64_of};

const EXTENTS: u32 = 0x8_0000;
const ENCRYPTED: u32 = 0x800;
const INLINE: u32 = 0x1000_0000;
/// Values of attributes that are kept in the inode itself.
const ATTRIBUTES: u32 = 0xea02_0000;
/// Of inline data: the name `data` in the name space of the system.
const SYSTEM: u8 = 7;

/// What sort of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A plain file.
    File,
    /// A directory.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Special,
}

/// An inode as it is on the disk.
#[derive(Debug, Clone)]
pub struct Inode {
    /// Its number, from 1 on.
    pub number: u32,
    bytes: Vec<u8>,
}

impl Inode {
    pub(crate) fn parse(number: u32, bytes: Vec<u8>) -> Self {
        Self { number, bytes }
    }

    /// What it is; `None`: nothing is in use here.
    pub fn kind(&self) -> Option<Kind> {
        Some(match u16_at(&self.bytes, 0x00) >> 12 {
            0x8 => Kind::File,
            0x4 => Kind::Folder,
            0xa => Kind::Link,
            0x1 | 0x2 | 0x6 | 0xc => Kind::Special,
            _ => return None,
        })
    }

    /// Permissions.
    pub fn mode(&self) -> u16 {
        u16_at(&self.bytes, 0x00) & 0o7777
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        u64_of(u32_at(&self.bytes, 0x04), u32_at(&self.bytes, 0x6c))
    }

    /// Names.
    pub fn links(&self) -> u16 {
        u16_at(&self.bytes, 0x1a)
    }

    /// Seconds since the epoch at which its bytes were changed last.
    pub fn modified_s(&self) -> u32 {
        u32_at(&self.bytes, 0x10)
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.flags() & ENCRYPTED != 0
    }

    pub(crate) fn has_extents(&self) -> bool {
        self.flags() & EXTENTS != 0
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.flags() & INLINE != 0
    }

    /// Sixty bytes that say where the others are, or are the first ones themselves.
    pub(crate) fn map(&self) -> &[u8] {
        &self.bytes[0x28..0x64]
    }

    /// Whether it is a symbolic link whose target is in the inode.
    pub(crate) fn is_short_link(&self) -> bool {
        self.kind() == Some(Kind::Link) && self.size() < 60 && !self.has_extents() && !self.is_inline()
    }

    /// Bytes that are kept in the inode: the first sixty, and behind them those of its attribute.
    pub(crate) fn inline(&self) -> Vec<u8> {
        let mut bytes = self.map().to_vec();
        bytes.extend_from_slice(self.inline_rest().unwrap_or_default());
        bytes
    }

    fn inline_rest(&self) -> Option<&[u8]> {
        let body = self.bytes.get(0x80 + usize::from(u16_at(&self.bytes, 0x80))..)?;
        if u32_at(body, 0) != ATTRIBUTES {
            return None;
        }
        let body = &body[4..];
        let mut at = 0;
        while let Some(entry) = body.get(at..at + 16) {
            let name_len = usize::from(entry[0]);
            // Four zeros end the list.
            if name_len == 0 && entry[1] == 0 {
                return None;
            }
            let name = body.get(at + 16..at + 16 + name_len)?;
            if entry[1] == SYSTEM && name == b"data" {
                let start = usize::from(u16_at(entry, 2));
                let len = u32_at(entry, 8) as usize;
                return body.get(start..start.checked_add(len)?);
            }
            at += (16 + name_len).next_multiple_of(4);
        }
        None
    }

    fn flags(&self) -> u32 {
        u32_at(&self.bytes, 0x20)
    }
}
