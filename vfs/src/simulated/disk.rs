//! The state of a simulated disk: every node as it is durable and as it is cached, and the changes
//! in between.
//!
//! Guarded by the one mutex of [`super::SimulatedFs`]; `fs` and `file` translate calls into the
//! steps here, `crash` reads it to build images. Cached state must always equal durable state plus
//! all pending changes, unless a sync was made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Component, Path};
use std::sync::Arc;

use rustix::io::Errno;

use super::SyncFailure;
use super::hash::RunningHash;
use super::pending::{Body, Change, NodeId};
use crate::{Call, LockMode};

/// The root directory.
pub(super) const ROOT: NodeId = NodeId(0);

/// No simulated file grows past this: a wild offset shall be an error, not the end of the test's
/// memory.
const FILE_LEN_MAX: u64 = 1 << 36;

/// One file or directory.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) durable: Body,
    pub(super) cached: Body,
    /// How many cached directory entries name it.
    links: u32,
    /// How many open files and locks keep it.
    handles: u32,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug)]
enum Held {
    Exclusive,
    Shared(u32),
}

/// Syncs that shall fail.
#[derive(Clone, Debug)]
pub(super) struct SyncRule {
    pub(super) suffix: String,
    pub(super) failure: SyncFailure,
    /// How many more times; `None` for ever.
    pub(super) remaining: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) pending: Vec<Change>,
    pub(super) next_node: u64,
    pub(super) capacity: u64,
    pub(super) sync_rules: Vec<SyncRule>,
    pub(super) cut_at: Option<u64>,
    pub(super) power_is_off: bool,
    /// The disk before each mutating call, with the call's number.
    pub(super) states: Option<Vec<(u64, Disk)>>,
    locks: BTreeMap<NodeId, Held>,
    used: u64,
    ops: u64,
    trace: RunningHash,
}

impl Disk {
    pub(super) fn new() -> Disk {
        let root = Body::directory();
        let bodies = BTreeMap::from([(ROOT, root)]);
        Disk::from_durable(bodies, ROOT.0 + 1, u64::MAX)
    }

    /// A disk after a power cut: what is there is durable, nobody has anything open.
    pub(super) fn from_durable(
        bodies: BTreeMap<NodeId, Body>,
        next_node: u64,
        capacity: u64,
    ) -> Disk {
        let node = |body: Body| Node { cached: body.clone(), durable: body, links: 0, handles: 0 };
        let nodes = bodies.into_iter().map(|(id, body)| (id, node(body))).collect();
        Disk::assemble(nodes, Vec::new(), next_node, capacity)
    }

    /// A copy of the state, pending changes included; with nothing open, locked or scripted.
    pub(super) fn fork(&self) -> Disk {
        let mut nodes = self.nodes.clone();
        nodes.values_mut().for_each(|node| node.handles = 0);
        Disk::assemble(nodes, self.pending.clone(), self.next_node, self.capacity)
    }

    fn assemble(
        nodes: BTreeMap<NodeId, Node>,
        pending: Vec<Change>,
        next_node: u64,
        capacity: u64,
    ) -> Disk {
        let mut disk = Disk {
            nodes,
            pending,
            next_node,
            capacity,
            sync_rules: Vec::new(),
            cut_at: None,
            power_is_off: false,
            states: None,
            locks: BTreeMap::new(),
            used: 0,
            ops: 0,
            trace: RunningHash::new(),
        };
        disk.recount();
        disk.collect_garbage();
        disk
    }

    /// Every call begins here: counted, traced, refused when the power is off.
    pub(super) fn enter(
        &mut self,
        call: Call,
        path: &Path,
        offset: u64,
        len: u64,
        content: &[u8],
    ) -> io::Result<()> {
        if self.power_is_off || self.cut_at.is_some_and(|at| self.ops >= at) {
            self.power_is_off = true;
            return Err(io::Error::other("the simulated power is off"));
        }
        if call.is_mutation() && self.states.is_some() {
            let before = (self.ops, self.fork());
            self.states.get_or_insert_default().push(before);
        }
        self.ops += 1;
        self.trace.number(call as u64);
        self.trace.bytes(path.as_os_str().as_encoded_bytes());
        self.trace.number(offset);
        self.trace.number(len);
        self.trace.bytes(content);
        Ok(())
    }

    pub(super) fn ops(&self) -> u64 {
        self.ops
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.finish()
    }

    pub(super) fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&id).expect("invariant: a node that is named or open is never collected")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("invariant: a node that is named or open is never collected")
    }

    /// How many names a file has, as cached.
    pub(super) fn links(&self, id: NodeId) -> u64 {
        self.node(id).links.into()
    }

    pub(super) fn is_dir(&self, id: NodeId) -> bool {
        matches!(self.node(id).cached, Body::Directory(_))
    }

    /// The node a name in a directory stands for, as cached.
    pub(super) fn entry(&self, dir: NodeId, name: &str) -> io::Result<Option<NodeId>> {
        match &self.node(dir).cached {
            Body::Directory(entries) => Ok(entries.get(name).copied()),
            Body::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    /// The node at a path.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<NodeId> {
        let mut at = ROOT;
        for name in names(path)? {
            at = self.entry(at, name)?.ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    /// The directory and the name that a path ends in; the name need not exist.
    pub(super) fn lookup_parent(&self, path: &Path) -> io::Result<(NodeId, Arc<str>)> {
        let names = names(path)?;
        let (last, dirs) = names.split_last().ok_or(Errno::BUSY)?;
        let mut at = ROOT;
        for name in dirs {
            at = self.entry(at, name)?.ok_or(Errno::NOENT)?;
        }
        self.entry(at, last)?;
        Ok((at, Arc::from(*last)))
    }

    /// Adds a node that nothing names yet.
    pub(super) fn add(&mut self, body: Body) -> NodeId {
        let id = NodeId(self.next_node);
        self.next_node += 1;
        self.nodes.insert(id, Node { durable: body.clone(), cached: body, links: 0, handles: 0 });
        id
    }

    /// Applies a change to what is cached and remembers it as not durable.
    pub(super) fn change(&mut self, change: Change) -> io::Result<()> {
        let target = change.target();
        let before = self.node(target).cached.len();
        let after = match &change {
            Change::Write { offset, bytes, .. } => {
                before.max(offset.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?)
            }
            Change::Extend { len, .. } => before.max(*len),
            Change::Truncate { len, .. } => *len,
            Change::Link { .. } | Change::Unlink { .. } | Change::Rename { .. } => before,
        };
        if after > FILE_LEN_MAX {
            return Err(Errno::FBIG.into());
        }
        if after > before && after - before > self.free() {
            return Err(Errno::NOSPC.into());
        }
        self.used = self.used.saturating_sub(before).saturating_add(after);
        match &change {
            Change::Link { dir, name, node } => {
                self.node_mut(*node).links += 1;
                self.unlink_replaced(*dir, name)?;
            }
            Change::Unlink { node, .. } => self.unlink(*node),
            Change::Rename { dir, to, .. } => self.unlink_replaced(*dir, to)?,
            Change::Write { .. } | Change::Truncate { .. } | Change::Extend { .. } => {}
        }
        self.node_mut(target).cached.apply(&change);
        self.pending.push(change);
        Ok(())
    }

    fn unlink_replaced(&mut self, dir: NodeId, name: &str) -> io::Result<()> {
        if let Some(replaced) = self.entry(dir, name)? {
            self.unlink(replaced);
        }
        Ok(())
    }

    fn unlink(&mut self, id: NodeId) {
        self.node_mut(id).links -= 1;
        self.give_back_space(id);
    }

    /// Space is in use while a file has a name or is open.
    fn give_back_space(&mut self, id: NodeId) {
        let node = self.node(id);
        if node.links == 0 && node.handles == 0 {
            self.used = self.used.saturating_sub(node.cached.len());
        }
    }

    pub(super) fn retain_handle(&mut self, id: NodeId) {
        self.node_mut(id).handles += 1;
    }

    pub(super) fn release_handle(&mut self, id: NodeId) {
        self.node_mut(id).handles -= 1;
        self.give_back_space(id);
    }

    pub(super) fn try_lock(&mut self, id: NodeId, mode: LockMode) -> io::Result<()> {
        let held = match (self.locks.get(&id), mode) {
            (None, LockMode::Exclusive) => Held::Exclusive,
            (None, LockMode::Shared) => Held::Shared(1),
            (Some(Held::Shared(count)), LockMode::Shared) => Held::Shared(count + 1),
            (Some(_), _) => {
                let reason = "the lock is held elsewhere";
                return Err(io::Error::new(io::ErrorKind::WouldBlock, reason));
            }
        };
        self.locks.insert(id, held);
        self.retain_handle(id);
        Ok(())
    }

    pub(super) fn unlock(&mut self, id: NodeId) {
        match self.locks.remove(&id) {
            Some(Held::Shared(count)) if count > 1 => {
                self.locks.insert(id, Held::Shared(count - 1));
            }
            _ => {}
        }
        self.release_handle(id);
    }

    /// Makes a node's pending changes durable, or fails the way a rule says.
    pub(super) fn sync(&mut self, id: NodeId, path: &Path) -> io::Result<()> {
        let failure = self.take_sync_failure(path);
        match failure {
            None | Some(SyncFailure::PersistedAnyway) => {
                let node =
                    self.nodes.get_mut(&id).expect("invariant: a node being synced is in use");
                self.pending.retain(|change| {
                    if change.target() == id {
                        node.durable.apply(change);
                    }
                    change.target() != id
                });
            }
            Some(SyncFailure::LostStillCached) => {
                // The pages are gone from the list of what must be written; a length is not a page.
                self.pending.retain_mut(|change| match change {
                    Change::Write { file, offset, bytes } if *file == id => {
                        let len = *offset + bytes.len() as u64;
                        *change = Change::Extend { file: id, len };
                        true
                    }
                    Change::Truncate { .. } | Change::Extend { .. } => true,
                    _ => change.target() != id,
                });
            }
            Some(SyncFailure::LostReverted) => {
                self.pending.retain(|change| change.target() != id);
                let node = self.node_mut(id);
                node.cached = node.durable.clone();
                self.recount();
            }
        }
        if self.is_dir(id) {
            self.collect_garbage();
        }
        if failure.is_some() { Err(Errno::IO.into()) } else { Ok(()) }
    }

    /// Makes what pending writes have in `range` durable, and leaves what they have beside it pending. Where a rule makes
    /// it fail, it fails as a sync of the whole file does.
    ///
    /// # Panics
    /// If an earlier sync has not made the file that long: a length is not written with a range.
    pub(super) fn sync_range(
        &mut self,
        id: NodeId,
        path: &Path,
        range: Range<u64>,
    ) -> io::Result<()> {
        let synced_len = self.node(id).durable.len();
        assert!(range.end <= synced_len, "{range:?} of {path:?} is past its durable {synced_len}");
        let name = path.to_string_lossy();
        if self.sync_rules.iter().any(|rule| name.ends_with(&rule.suffix)) {
            return self.sync(id, path);
        }
        let node = self.nodes.get_mut(&id).expect("invariant: a node being synced is in use");
        let mut left = Vec::with_capacity(self.pending.len());
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { file, offset, bytes } if file == id => {
                    // Where the range begins and ends, as a count of the write's bytes.
                    let at =
                        |place: u64| place.saturating_sub(offset).min(bytes.len() as u64) as usize;
                    let (start, end) = (at(range.start), at(range.end));
                    let part = |from: usize, to: usize| Change::Write {
                        file,
                        offset: offset + from as u64,
                        bytes: bytes.slice(from..to),
                    };
                    if start < end {
                        node.durable.apply(&part(start, end));
                    }
                    let beside = [(0, start), (end, bytes.len())];
                    let beside = if start < end { beside } else { [(0, bytes.len()), (0, 0)] };
                    let beside = beside.into_iter().filter(|(from, to)| from < to);
                    left.extend(beside.map(|(from, to)| part(from, to)));
                }
                other => left.push(other),
            }
        }
        self.pending = left;
        Ok(())
    }

    fn take_sync_failure(&mut self, path: &Path) -> Option<SyncFailure> {
        let path = path.to_string_lossy();
        let index = self.sync_rules.iter().position(|rule| path.ends_with(&rule.suffix))?;
        let rule = &mut self.sync_rules[index];
        let failure = rule.failure;
        if let Some(remaining) = &mut rule.remaining {
            *remaining = remaining.saturating_sub(1);
            if *remaining == 0 {
                self.sync_rules.remove(index);
            }
        }
        Some(failure)
    }

    /// Counts names and space afresh.
    fn recount(&mut self) {
        let mut links: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (_, named) in self.nodes.values().flat_map(|node| node.cached.entries()) {
            *links.entry(named).or_default() += 1;
        }
        self.used = 0;
        for (id, node) in &mut self.nodes {
            node.links = links.get(id).copied().unwrap_or(0);
            if node.links > 0 || node.handles > 0 {
                self.used = self.used.saturating_add(node.cached.len());
            }
        }
    }

    /// Drops the nodes that no name, durable, cached or pending, and no handle can reach any more,
    /// and the changes that only they would have seen.
    fn collect_garbage(&mut self) {
        loop {
            let nodes = self.nodes.values();
            let named = nodes.flat_map(|node| node.durable.entries().chain(node.cached.entries()));
            let mut alive: BTreeSet<NodeId> = named.map(|(_, id)| id).collect();
            alive.insert(ROOT);
            alive.extend(self.pending.iter().filter_map(Change::named));
            let before = self.nodes.len();
            self.nodes.retain(|id, node| node.handles > 0 || alive.contains(id));
            if self.nodes.len() == before {
                return;
            }
            let nodes = &self.nodes;
            self.pending.retain(|change| nodes.contains_key(&change.target()));
        }
    }
}

/// The names along a path from the root, `.` and `..` resolved by their spelling.
pub(super) fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                let reason = "a simulated path is UTF-8";
                let error = || io::Error::new(io::ErrorKind::InvalidInput, reason);
                names.push(name.to_str().ok_or_else(error)?);
            }
            Component::ParentDir => {
                names.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Ok(names)
}
