//! Building the image that a power cut leaves: a fate for every pending change, then the durable
//! state with those that arrived.
//!
//! Called by [`super::SimulatedFs::image`] only. Must depend on nothing but the disk, the policy
//! and the seed, and never damage bytes outside the range of an un-synced write.

use std::collections::BTreeMap;
use std::ops::Range;

use super::CrashPolicy;
use super::disk::{Disk, ROOT};
use super::hash::{Chooser, RunningHash};
use super::pending::{Body, Change, NodeId};

/// The unit that reaches the disk whole.
pub(super) const SECTOR: u64 = 512;

/// What became of a pending change.
#[derive(Clone, Debug)]
enum Fate {
    Keep,
    Drop,
    Part(Part),
}

/// What became of a write that arrived in parts, or of a rename that left both names.
#[derive(Clone, Debug, Default)]
struct Part {
    /// Which of its bytes arrived.
    kept: Vec<Range<usize>>,
    /// Which of its bytes were replaced, and by what.
    replaced: Vec<(Range<usize>, Filler)>,
    /// How many of its bytes the file's length covers.
    length: usize,
}

#[derive(Clone, Copy, Debug)]
enum Filler {
    Zeros,
    Garbage(u64),
}

/// The disk as the next boot finds it.
pub(super) fn image(disk: &Disk, policy: CrashPolicy, seed: u64) -> Disk {
    let fates = match policy {
        CrashPolicy::Ordered => ordered(disk, &mut Chooser::new(seed)),
        CrashPolicy::Posix => any_subset(disk, &mut Chooser::new(seed), false),
        CrashPolicy::Hostile => any_subset(disk, &mut Chooser::new(seed), true),
        explicit => (0..disk.pending.len())
            .map(|index| explicit_fate(explicit, index, &disk.pending[index]))
            .collect(),
    };
    let durable = disk.nodes.iter().map(|(id, node)| (*id, node.durable.clone()));
    let mut bodies: BTreeMap<NodeId, Body> = durable.collect();
    let mut in_parts = Vec::new();
    for (change, fate) in disk.pending.iter().zip(&fates) {
        // A change of a node that is gone has nobody to see it.
        if let Some(body) = bodies.get_mut(&change.target()) {
            apply(body, change, fate);
            if let Fate::Part(_) = fate {
                in_parts.push(change.target());
            }
        }
    }
    // Only where a write arrived in parts can there be data past the length.
    for id in in_parts {
        if let Some(Body::File(content)) = bodies.get_mut(&id) {
            content.settle();
        }
    }
    Disk::from_durable(bodies, disk.next_node, disk.capacity)
}

fn apply(body: &mut Body, change: &Change, fate: &Fate) {
    match (fate, change) {
        (Fate::Drop, _) => {}
        (Fate::Part(part), Change::Write { offset, bytes, .. }) => {
            let Body::File(content) = body else { return };
            for range in &part.kept {
                content.poke(&bytes[range.clone()], offset + range.start as u64);
            }
            for (range, filler) in &part.replaced {
                let mut noise = vec![0; range.len()];
                if let Filler::Garbage(seed) = filler {
                    Chooser::new(*seed).fill(&mut noise);
                }
                content.poke(&noise, offset + range.start as u64);
            }
            if part.length > 0 {
                content.extend(offset + part.length as u64);
            }
        }
        (Fate::Part(_), Change::Rename { dir, to, node, .. }) => {
            let (dir, name, node) = (*dir, to.clone(), *node);
            body.apply(&Change::Link { dir, name, node });
        }
        (Fate::Keep | Fate::Part(_), _) => body.apply(change),
    }
}

fn explicit_fate(policy: CrashPolicy, index: usize, change: &Change) -> Fate {
    let keep_if = |keep: bool| if keep { Fate::Keep } else { Fate::Drop };
    match policy {
        CrashPolicy::DropAll => Fate::Drop,
        CrashPolicy::Prefix(count) => keep_if(index < count),
        CrashPolicy::DropOne(dropped) => keep_if(index != dropped),
        CrashPolicy::Tear(torn, _) if index != torn => keep_if(index < torn),
        CrashPolicy::Tear(_, count) => match change {
            Change::Write { bytes, .. } => {
                let count = count.min(bytes.len());
                Fate::Part(Part { kept: vec![0..count; 1], length: count, ..Part::default() })
            }
            _ => Fate::Drop,
        },
        CrashPolicy::Hole(torn, count) if index == torn => match change {
            Change::Write { bytes, .. } => {
                let kept = vec![0..count.min(bytes.len()); 1];
                Fate::Part(Part { kept, length: bytes.len(), ..Part::default() })
            }
            _ => Fate::Keep,
        },
        CrashPolicy::KeepAll
        | CrashPolicy::Hole(..)
        | CrashPolicy::Ordered
        | CrashPolicy::Posix
        | CrashPolicy::Hostile => Fate::Keep,
    }
}

/// How likely things arrive: all, none and nearly all are as interesting as the middle.
fn percent(chooser: &mut Chooser) -> u64 {
    [0, 10, 50, 90, 100][chooser.below(5) as usize]
}

fn ordered(disk: &Disk, chooser: &mut Chooser) -> Vec<Fate> {
    /// What has been decided about a file.
    struct Progress {
        len: u64,
        /// An append was lost, so the later ones are.
        stopped: bool,
        percent: u64,
    }
    let journalled = disk.pending.iter().filter(|c| !matches!(c, Change::Write { .. })).count();
    let mut journal_left = chooser.below(journalled as u64 + 1);
    let mut files: BTreeMap<NodeId, Progress> = BTreeMap::new();
    let mut fates = Vec::with_capacity(disk.pending.len());
    for change in &disk.pending {
        let id = change.target();
        let len = disk.nodes.get(&id).map_or(0, |node| node.durable.len());
        let file = files.entry(id).or_insert_with(|| Progress {
            len,
            stopped: false,
            percent: percent(chooser),
        });
        let Change::Write { offset, bytes, .. } = change else {
            if journal_left == 0 {
                fates.push(Fate::Drop);
                continue;
            }
            journal_left -= 1;
            match change {
                Change::Truncate { len, .. } => file.len = *len,
                Change::Extend { len, .. } => file.len = file.len.max(*len),
                _ => {}
            }
            fates.push(Fate::Keep);
            continue;
        };
        let end = offset + bytes.len() as u64;
        let appends = end > file.len;
        if appends && !file.stopped && !chooser.chance(file.percent) {
            file.stopped = true;
            // The append that did not make it may have made it up to a sector border.
            let borders = borders(*offset, bytes.len(), SECTOR);
            let pick = chooser.below(borders.len() as u64 + 1) as usize;
            let count = borders.get(pick).copied().unwrap_or(0);
            file.len = file.len.max(offset + count as u64);
            fates.push(Fate::Part(Part {
                kept: vec![0..count; 1],
                length: count,
                ..Part::default()
            }));
        } else if appends && file.stopped {
            fates.push(Fate::Drop);
        } else if appends {
            file.len = end;
            fates.push(Fate::Keep);
        } else {
            let kept = sectors(*offset, bytes.len())
                .filter(|_| chooser.chance(file.percent))
                .collect::<Vec<_>>();
            fates.push(Fate::Part(Part { kept, length: 0, replaced: Vec::new() }));
        }
    }
    fates
}

/// Any subset of the changes; writes that are neither kept nor dropped arrive in parts.
fn any_subset(disk: &Disk, chooser: &mut Chooser, hostile: bool) -> Vec<Fate> {
    let (names, data) = (percent(chooser), percent(chooser));
    let mut fates = Vec::with_capacity(disk.pending.len());
    for change in &disk.pending {
        fates.push(match change {
            Change::Write { offset, bytes, .. } => match chooser.below(4) {
                0 if hostile => Fate::Part(tear_at_bytes(chooser, bytes.len())),
                0 => Fate::Part(tear_at_sectors(chooser, *offset, bytes.len())),
                _ if chooser.chance(data) => Fate::Keep,
                _ => Fate::Drop,
            },
            Change::Rename { .. } if hostile && chooser.chance(25) => Fate::Part(Part::default()),
            _ if chooser.chance(names) => Fate::Keep,
            _ => Fate::Drop,
        });
    }
    fates
}

fn tear_at_sectors(chooser: &mut Chooser, offset: u64, len: usize) -> Part {
    let percent = percent(chooser);
    let kept = sectors(offset, len).filter(|_| chooser.chance(percent)).collect::<Vec<_>>();
    let reach = kept.last().map_or(0, |range| range.end);
    let length = [0, reach, len][chooser.below(3) as usize];
    Part { kept, replaced: Vec::new(), length }
}

fn tear_at_bytes(chooser: &mut Chooser, len: usize) -> Part {
    let cut = chooser.below(len as u64 + 1) as usize;
    let other = chooser.below(len as u64 + 1) as usize;
    let (low, high) = (cut.min(other), cut.max(other));
    let (kept, lost) = match chooser.below(4) {
        0 => (vec![0..low; 1], vec![low..len; 1]),
        1 => (vec![low..len; 1], vec![0..low; 1]),
        2 => (vec![low..high; 1], vec![0..low, high..len]),
        _ => (vec![0..low, high..len], vec![low..high; 1]),
    };
    let filler = match chooser.below(3) {
        0 => None,
        1 => Some(Filler::Zeros),
        _ => Some(Filler::Garbage(chooser.below(u64::MAX))),
    };
    let replaced =
        filler.map_or_else(Vec::new, |filler| lost.into_iter().map(|r| (r, filler)).collect());
    let reach = kept.last().map_or(0, |range| range.end);
    let length = [0, reach, cut, len][chooser.below(4) as usize];
    Part { kept, replaced, length }
}

/// The places strictly inside a write where a tear can be, as counts of its bytes.
pub(super) fn borders(offset: u64, len: usize, unit: u64) -> Vec<usize> {
    let first = (unit - offset % unit) as usize;
    (first..len).step_by(unit as usize).collect()
}

/// A write's bytes cut at sector borders.
fn sectors(offset: u64, len: usize) -> impl Iterator<Item = Range<usize>> {
    let mut starts = borders(offset, len, SECTOR);
    starts.insert(0, 0);
    let ends = starts.clone().into_iter().skip(1).chain([len]);
    starts.into_iter().zip(ends).map(|(start, end)| start..end)
}

/// A number for everything that can be seen on the disk: names, lengths and bytes.
pub(super) fn hash(disk: &Disk) -> u64 {
    let mut hash = RunningHash::new();
    hash_node(disk, ROOT, &mut hash);
    hash.finish()
}

fn hash_node(disk: &Disk, id: NodeId, hash: &mut RunningHash) {
    match &disk.node(id).cached {
        Body::File(content) => {
            hash.number(1);
            hash.number(content.len());
            for (number, page) in content.page_hashes() {
                hash.number(number);
                hash.number(page);
            }
        }
        Body::Directory(entries) => {
            hash.number(2);
            for (name, id) in entries.iter() {
                hash.bytes(name.as_bytes());
                hash_node(disk, *id, hash);
            }
            hash.number(3);
        }
    }
}
