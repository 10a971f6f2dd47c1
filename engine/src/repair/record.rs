//! The record of a repair: what it found and what is lost, kept beside the files that it moved away. It is durable before
//! anything else is, under a name that says that the repair is not finished, so a repair that was interrupted does not
//! take the list of losses with it: the next one reads it and names them too.
//!
//! A text of lines, for people as well; fields are separated by tabs, and bytes that are not printable are escaped. `-`
//! stands for what is not known.
//!
//! ```text
//! damage\t<text>
//! keys\t<keyspace id>\t<its name>\t<file>\t<from>\t<through>\t<lowest seq>\t<highest seq>\t<gone, or unsure>
//! commits\t<from>\t<through>
//! unnamed\t<keyspace>
//! end
//! ```

use std::io;
use std::path::{Path, PathBuf};

use esker_base::{Error, KeyspaceId, Result, SeqNo};
use esker_vfs::{Fs, OpenMode, World};

use super::{LostCommits, LostKeys, RepairReport};
use crate::open::create_dir;

/// Where repairs put things: this and a number.
const DIRECTORY_PREFIX: &str = "lost-and-found-";

/// The record of a finished repair.
const FINISHED: &str = "REPORT";

/// The record of one that is under way, or was interrupted.
const UNFINISHED: &str = "REPORT.unfinished";

/// A longer one is not read (64 MiB).
const RECORD_LEN_MAX: u64 = 64 << 20;

/// Makes a new directory for what a repair moves away, with its record in it, durably.
pub(super) fn begin(world: &World, dir: &Path, report: &RepairReport) -> Result<PathBuf> {
    let fs = &*world.fs;
    let mut at = 1u64;
    let aside = loop {
        let path = dir.join(format!("{DIRECTORY_PREFIX}{at}"));
        match fs.exists(&path) {
            Ok(true) => at += 1,
            Ok(false) => break path,
            Err(error) => return Err(Error::io("look at", &path, error)),
        }
    };
    create_dir(world, &aside)?;
    let written = write(fs, &aside, report);
    if written.is_err() {
        give_up(fs, &aside);
    }
    written.map(|()| aside)
}

fn write(fs: &dyn Fs, aside: &Path, report: &RepairReport) -> Result<()> {
    let path = aside.join(UNFINISHED);
    let file = fs.create_new(&path).map_err(|error| Error::io("create", &path, error))?;
    let text = encode(report);
    file.write_all_at(text.as_bytes(), 0).map_err(|error| Error::io("write", &path, error))?;
    file.sync_all().map_err(|error| Error::io("sync", &path, error))?;
    fs.sync_dir(aside).map_err(|error| Error::io("sync", aside, error))
}

/// Removes the directory of a repair that failed before it moved anything. Best effort.
pub(super) fn give_up(fs: &dyn Fs, aside: &Path) {
    for name in fs.list(aside).unwrap_or_default() {
        let _ = fs.remove_file(&aside.join(name));
    }
    let _ = fs.remove_dir(aside);
}

/// The directories of repairs that were interrupted.
pub(super) fn interrupted(fs: &dyn Fs, dir: &Path) -> Result<Vec<PathBuf>> {
    let names = fs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let mut found = Vec::new();
    for name in names.iter().filter(|name| name.starts_with(DIRECTORY_PREFIX)) {
        let aside = dir.join(name);
        let path = aside.join(UNFINISHED);
        if fs.exists(&path).map_err(|error| Error::io("look at", &path, error))? {
            found.push(aside);
        }
    }
    Ok(found)
}

/// Adds to `report` what an interrupted repair recorded in `aside`. A power cut may have left a part of its record: then
/// it had not begun to change anything. If it had, nobody knows what it lost, and that is said.
pub(super) fn add(fs: &dyn Fs, aside: &Path, report: &mut RepairReport) -> Result<()> {
    let path = aside.join(UNFINISHED);
    let text = read(fs, &path).map_err(|error| Error::io("read", &path, error))?;
    report.damage.push(format!("the repair that made {} was interrupted", aside.display()));
    let Some(earlier) = decode(&text) else {
        let names = fs.list(aside).map_err(|error| Error::io("list", aside, error))?;
        if names.iter().any(|name| name != UNFINISHED) {
            let what = "cannot be read, so keys that it lost may not be named";
            report.damage.push(format!("{}, its record, {what}", path.display()));
        }
        return Ok(());
    };
    let add = |lost: LostKeys| {
        if !report.lost_keys.contains(&lost) {
            report.lost_keys.push(lost);
        }
    };
    earlier.lost_keys.into_iter().for_each(add);
    for lost in earlier.lost_commits {
        if !report.lost_commits.contains(&lost) {
            report.lost_commits.push(lost);
        }
    }
    for name in earlier.unnamed_keyspaces {
        if !report.unnamed_keyspaces.contains(&name) {
            report.unnamed_keyspaces.push(name);
        }
    }
    Ok(())
}

/// Notes that a repair is finished. If that fails, the next one says again what this one lost.
pub(super) fn finish(fs: &dyn Fs, aside: &Path) {
    if fs.rename(&aside.join(UNFINISHED), &aside.join(FINISHED)).is_ok() {
        let _ = fs.sync_dir(aside);
    }
}

fn read(fs: &dyn Fs, path: &Path) -> io::Result<String> {
    let file = fs.open(path, OpenMode::Read)?;
    let mut bytes = vec![0; file.len()?.min(RECORD_LEN_MAX) as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// The bytes that [`escape`] made `text` of.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next()? {
            b't' => b'\t',
            b'r' => b'\r',
            b'n' => b'\n',
            b'x' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    Some(bytes)
}

fn encode(report: &RepairReport) -> String {
    let number = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    // A key of the one byte `-` must not read as none.
    let key = |key: &Option<Vec<u8>>| match key.as_deref() {
        None => "-".to_owned(),
        Some(b"-") => "\\x2d".to_owned(),
        Some(key) => escape(key),
    };
    let mut lines = Vec::new();
    let damage = report.damage.iter().map(|text| format!("damage\t{}", escape(text.as_bytes())));
    lines.extend(damage);
    for lost in &report.lost_keys {
        let id = number(lost.keyspace.as_ref().map(|(id, _)| id.0));
        let name = lost.keyspace.as_ref().map_or("", |(_, name)| name);
        let (low, high) = lost.seqs.map_or((None, None), |(low, high)| (Some(low.0), Some(high.0)));
        lines.push(format!(
            "keys\t{id}\t{}\t{}\t{}\t{}\t{}\t{}\t{}",
            escape(name.as_bytes()),
            escape(lost.file.as_bytes()),
            key(&lost.from),
            key(&lost.through),
            number(low),
            number(high),
            if lost.is_deleted { "gone" } else { "unsure" },
        ));
    }
    for lost in &report.lost_commits {
        lines.push(format!("commits\t{}\t{}", lost.from, number(lost.through.map(|seq| seq.0))));
    }
    let unnamed = report.unnamed_keyspaces.iter();
    lines.extend(unnamed.map(|name| format!("unnamed\t{}", escape(name.as_bytes()))));
    lines.push("end\n".to_owned());
    lines.join("\n")
}

fn text(field: &str) -> Option<String> {
    String::from_utf8(unescape(field)?).ok()
}

/// The outer `None` is a line that is none of ours.
fn optional<T>(field: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Option<T>> {
    if field == "-" { Some(None) } else { parse(field).map(Some) }
}

fn number(field: &str) -> Option<u64> {
    field.parse().ok()
}

/// What [`encode`] wrote; `None` if it is not whole.
fn decode(record: &str) -> Option<RepairReport> {
    let mut report = RepairReport::default();
    let mut lines = record.lines();
    loop {
        let fields: Vec<&str> = lines.next()?.split('\t').collect();
        match fields[..] {
            ["damage", what] => report.damage.push(text(what)?),
            ["keys", id, name, file, from, through, low, high, certainty] => {
                let keyspace = match optional(id, number)? {
                    Some(id) => Some((KeyspaceId(id), text(name)?)),
                    None => None,
                };
                let (low, high) = (optional(low, number)?, optional(high, number)?);
                report.lost_keys.push(LostKeys {
                    keyspace,
                    file: text(file)?,
                    from: optional(from, unescape)?,
                    through: optional(through, unescape)?,
                    seqs: low.zip(high).map(|(low, high)| (SeqNo(low), SeqNo(high))),
                    is_deleted: match certainty {
                        "gone" => true,
                        "unsure" => false,
                        _ => return None,
                    },
                });
            }
            ["commits", from, through] => report.lost_commits.push(LostCommits {
                from: SeqNo(number(from)?),
                through: optional(through, number)?.map(SeqNo),
            }),
            ["unnamed", name] => report.unnamed_keyspaces.push(text(name)?),
            ["end"] => return Some(report),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_that_cannot_be_read_is_told_if_the_repair_had_begun() {
        let fs = esker_vfs::simulated::SimulatedFs::new();
        let aside = Path::new("/db/lost-and-found-1");
        fs.create_dir_all(aside).unwrap();
        let record = fs.create_new(&aside.join(UNFINISHED)).unwrap();
        let whole = encode(&RepairReport::default());
        let added = || {
            let mut report = RepairReport::default();
            add(&fs, aside, &mut report).unwrap();
            report.damage.len()
        };
        record.write_all_at(&whole.as_bytes()[1..], 0).unwrap();
        assert_eq!(added(), 1, "a power cut before it began");
        fs.create_new(&aside.join("0000000001.val")).unwrap();
        assert_eq!(added(), 2);
        record.write_all_at(whole.as_bytes(), 0).unwrap();
        assert_eq!(added(), 1);
    }

    #[test]
    fn a_record_reads_as_it_was_written_and_no_part_of_it_is_taken_for_the_whole() {
        let every: Vec<u8> = (0..=255).collect();
        let keys = |from: Option<&[u8]>, through: Option<&[u8]>| LostKeys {
            keyspace: Some((KeyspaceId(7), "a name\twith a tab, ü".to_owned())),
            file: "0000000003.sst".to_owned(),
            from: from.map(<[u8]>::to_vec),
            through: through.map(<[u8]>::to_vec),
            seqs: Some((SeqNo(1), SeqNo(9))),
            is_deleted: through.is_none(),
        };
        let report = RepairReport {
            damage: vec!["corruption: two\nlines".to_owned()],
            lost_keys: vec![
                keys(Some(&every), None),
                keys(Some(b"-"), Some(b"")),
                LostKeys { keyspace: None, seqs: None, ..keys(None, Some(b"\\x41")) },
            ],
            lost_commits: vec![
                LostCommits { from: SeqNo(4), through: None },
                LostCommits { from: SeqNo(5), through: Some(SeqNo(6)) },
            ],
            unnamed_keyspaces: vec!["recovered-3".to_owned()],
            ..RepairReport::default()
        };
        let record = encode(&report);
        assert_eq!(decode(&record).unwrap(), report);
        for len in 0..record.len() - 4 {
            assert_eq!(decode(&record[..len]), None, "{len}");
        }
        for bad in ["keys\t1\nend\n", "commits\tx\t-\nend\n", "damage\t\\\nend\n", "what\nend\n"] {
            assert_eq!(decode(bad), None);
        }
    }
}
