//! The names of the calls a file system takes.
//!
//! The simulated disk names them in its trace, the fault injector in its rules. A call added to [`crate::Fs`] or
//! [`crate::File`] gets its name here, or neither sees it. A [`crate::WriteMap::store`] is a `Store` to the rules, so that a
//! write that fails can be told from it, and a `WriteAllAt` in the trace.

/// One kind of call on a [`crate::Fs`] or a [`crate::File`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is the method of the same name")]
pub enum Call {
    Open,
    CreateNew,
    Rename,
    RemoveFile,
    HardLink,
    List,
    Metadata,
    CreateDirAll,
    RemoveDir,
    SyncDir,
    Lock,
    FreeSpace,
    ReadAt,
    WriteAllAt,
    Truncate,
    Allocate,
    SyncData,
    SyncAll,
    StartWriteback,
    Len,
    Map,
    MapForWrites,
    Store,
}

impl Call {
    /// Every call, in the order of the declaration.
    pub const ALL: [Call; 23] = [
        Call::Open,
        Call::CreateNew,
        Call::Rename,
        Call::RemoveFile,
        Call::HardLink,
        Call::List,
        Call::Metadata,
        Call::CreateDirAll,
        Call::RemoveDir,
        Call::SyncDir,
        Call::Lock,
        Call::FreeSpace,
        Call::ReadAt,
        Call::WriteAllAt,
        Call::Truncate,
        Call::Allocate,
        Call::SyncData,
        Call::SyncAll,
        Call::StartWriteback,
        Call::Len,
        Call::Map,
        Call::MapForWrites,
        Call::Store,
    ];

    /// The calls that make something durable.
    pub const SYNCS: [Call; 3] = [Call::SyncDir, Call::SyncData, Call::SyncAll];

    /// Whether the call may change what a power cut leaves behind.
    pub fn is_mutation(self) -> bool {
        match self {
            Call::CreateNew
            | Call::Rename
            | Call::RemoveFile
            | Call::HardLink
            | Call::CreateDirAll
            | Call::RemoveDir
            | Call::SyncDir
            | Call::Lock
            | Call::WriteAllAt
            | Call::Store
            | Call::Truncate
            | Call::Allocate
            | Call::SyncData
            | Call::SyncAll => true,
            Call::Open
            | Call::List
            | Call::Metadata
            | Call::FreeSpace
            | Call::ReadAt
            | Call::StartWriteback
            | Call::Len
            | Call::Map
            | Call::MapForWrites => false,
        }
    }
}
