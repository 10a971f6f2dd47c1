//! What the system has been told but the disk does not hold yet: one entry per change, in the order
//! of the calls.
//!
//! The disk keeps one log of these for everything; a sync takes its file's or directory's changes
//! out of it, a power cut decides about each that is left. A change must be applicable whether or
//! not those before it were.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Content;

/// A file or directory, whatever it is called; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeId(pub(super) u64);

/// The names in a directory.
pub(super) type Entries = BTreeMap<Arc<str>, NodeId>;

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Body {
    File(Content),
    Directory(Arc<Entries>),
}

impl Body {
    pub(super) fn file() -> Body {
        Body::File(Content::default())
    }

    pub(super) fn directory() -> Body {
        Body::Directory(Arc::default())
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Body::File(content) => content.len(),
            Body::Directory(_) => 0,
        }
    }

    /// The names, none for a file.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Arc<str>, NodeId)> {
        let entries = match self {
            Body::File(_) => None,
            Body::Directory(entries) => Some(entries),
        };
        entries.into_iter().flat_map(|entries| entries.iter().map(|(name, node)| (name, *node)))
    }

    /// Applies a change that names this node as its target.
    pub(super) fn apply(&mut self, change: &Change) {
        match (self, change) {
            (Body::File(content), Change::Write { offset, bytes, .. }) => {
                content.write(bytes, *offset);
            }
            (Body::File(content), Change::Truncate { len, .. }) => content.truncate(*len),
            (Body::File(content), Change::Extend { len, .. }) => content.extend(*len),
            (Body::Directory(entries), Change::Link { name, node, .. }) => {
                Arc::make_mut(entries).insert(Arc::clone(name), *node);
            }
            (Body::Directory(entries), Change::Unlink { name, node, .. }) => {
                remove(Arc::make_mut(entries), name, *node);
            }
            (Body::Directory(entries), Change::Rename { from, to, node, .. }) => {
                let entries = Arc::make_mut(entries);
                remove(entries, from, *node);
                entries.insert(Arc::clone(to), *node);
            }
            _ => unreachable!("a change is applied to the kind of node it was made for"),
        }
    }
}

/// Removes a name if it still stands for the node that the caller saw there.
fn remove(entries: &mut Entries, name: &str, node: NodeId) {
    if entries.get(name) == Some(&node) {
        entries.remove(name);
    }
}

/// One change of one file or directory.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        file: NodeId,
        offset: u64,
        bytes: Bytes,
    },
    Truncate {
        file: NodeId,
        len: u64,
    },
    Extend {
        file: NodeId,
        len: u64,
    },
    Link {
        dir: NodeId,
        name: Arc<str>,
        node: NodeId,
    },
    Unlink {
        dir: NodeId,
        name: Arc<str>,
        node: NodeId,
    },
    /// Within one directory, where it is atomic; across directories it is a link and an unlink.
    Rename {
        dir: NodeId,
        from: Arc<str>,
        to: Arc<str>,
        node: NodeId,
    },
}

impl Change {
    /// Whose sync makes it durable.
    pub(super) fn target(&self) -> NodeId {
        match self {
            Change::Write { file, .. }
            | Change::Truncate { file, .. }
            | Change::Extend { file, .. } => *file,
            Change::Link { dir, .. } | Change::Unlink { dir, .. } | Change::Rename { dir, .. } => {
                *dir
            }
        }
    }

    /// The node that a directory's change speaks of.
    pub(super) fn named(&self) -> Option<NodeId> {
        match self {
            Change::Link { node, .. }
            | Change::Unlink { node, .. }
            | Change::Rename { node, .. } => Some(*node),
            Change::Write { .. } | Change::Truncate { .. } | Change::Extend { .. } => None,
        }
    }
}
