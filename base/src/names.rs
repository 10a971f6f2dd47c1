//! File names in a database directory. The only place that builds or parses them.
//!
//! | name | what it is |
//! |---|---|
//! | `LOCK` | held by flock while the database is open; never removed |
//! | `CURRENT` | names the live manifest |
//! | `RESERVE` | preallocated space, given up so that opening works on a full disk |
//! | `0000000001.manifest` | a manifest |
//! | `0000000002.wal` | a segment of the write-ahead log |
//! | `0000000003.sst` | an sstable |
//! | `0000000004.val` | a value file: large values that sstables point to |
//! | `*.tmp` | unfinished, or not yet part of the database; removed by the next writable open |

use crate::ids::FileNumber;
use crate::limits::COUNTER_MAX;

/// The lock file.
pub const LOCK: &str = "LOCK";
/// The file that names the live manifest.
pub const CURRENT: &str = "CURRENT";
/// Space given up when the disk is full.
pub const RESERVE: &str = "RESERVE";
/// The suffix of unfinished files.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

/// The kinds of numbered files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A manifest.
    Manifest,
    /// A segment of the write-ahead log.
    Wal,
    /// An sstable.
    Sstable,
    /// Large values, apart from the sstables that point to them.
    Values,
}

impl FileKind {
    const ALL: [FileKind; 4] =
        [FileKind::Manifest, FileKind::Wal, FileKind::Sstable, FileKind::Values];

    fn extension(self) -> &'static str {
        match self {
            FileKind::Manifest => "manifest",
            FileKind::Wal => "wal",
            FileKind::Sstable => "sst",
            FileKind::Values => "val",
        }
    }

    /// The name of the file of this kind with `number`.
    pub fn name(self, number: FileNumber) -> String {
        format!("{:010}.{}", number.0, self.extension())
    }
}

/// The kind and number of a numbered file's name; `None` for every other name, also for one that [`FileKind::name`]
/// would not have written that way, and for a number over [`COUNTER_MAX`], which no database reaches.
pub fn parse(name: &str) -> Option<(FileKind, FileNumber)> {
    let (digits, extension) = name.split_once('.')?;
    let kind = FileKind::ALL.into_iter().find(|kind| kind.extension() == extension)?;
    let number = FileNumber(digits.parse().ok()?);
    (number.0 <= COUNTER_MAX && kind.name(number) == name).then_some((kind, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(FileKind::Sstable.name(FileNumber(3)), "0000000003.sst");
        for kind in FileKind::ALL {
            for number in [0, 1, 9_999_999_999, COUNTER_MAX] {
                let name = kind.name(FileNumber(number));
                assert_eq!(parse(&name), Some((kind, FileNumber(number))));
            }
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in ["3.sst", "+000000003.sst", "0000000003.sst.tmp", "LOCK", "0000000003.ldb", ""]
        {
            assert_eq!(parse(name), None, "{name}");
        }
        // Numbers that leave no room to count on.
        for number in [COUNTER_MAX + 1, u64::MAX] {
            assert_eq!(parse(&FileKind::Sstable.name(FileNumber(number))), None);
        }
        assert_eq!(parse("18446744073709551616.sst"), None);
    }
}
