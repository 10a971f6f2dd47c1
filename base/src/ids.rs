//! The numbers that name things on disk. Newtypes, so that a file number is never taken for a sequence number.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The number that follows this one.
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a 64-bit counter cannot be exhausted"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A position in the database's one commit sequence. 0 comes before every write. At most
    /// [`crate::limits::SEQNO_MAX`].
    SeqNo
);
number!(
    /// The number in a file's name. One counter serves every kind of file, and no number is used twice.
    FileNumber
);
number!(
    /// A keyspace's number. Never reused, so that a replayed write cannot reach a younger keyspace.
    KeyspaceId
);
number!(
    /// Which writable open of the database wrote something. Each open takes a higher one.
    Epoch
);

impl SeqNo {
    /// The highest sequence number there can be: a read at this number sees everything.
    pub const MAX: SeqNo = SeqNo(crate::limits::SEQNO_MAX);
}

/// The random 128-bit identity that a file is born with; every checksum in the file covers it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub [u8; 16]);

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A place in a log: the file (segment) and the byte offset in it. Ordered by file number, then offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The file the offset counts in.
    pub file: FileNumber,
    /// Bytes from the start of that file.
    pub offset: u64,
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_ordered_by_file_first() {
        let position = |file, offset| LogPosition { file: FileNumber(file), offset };
        assert!(position(1, 900) < position(2, 64) && position(2, 64) < position(2, 72));
        assert_eq!(position(2, 64).to_string(), "2:64");
        assert_eq!(format!("{:?}", FileId([0xab; 16])), "ab".repeat(16));
    }
}
