//! Holds the house rules that no compiler checks: which crate may import which, and what every source file looks
//! like. Run by `cargo test`; reads the work tree and must never write to it.

#![allow(clippy::unwrap_used)]
// The rule that only `vfs` opens files is for the product; this test reads the sources it judges.
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The doors: what each crate of the product may import, by folder. Nothing may import `tests`, `benches` or `fuzz`,
/// which may import anything and so do not stand here.
const DOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("vfs", &["base"]),
    ("memtable", &["base"]),
    ("wal", &["base", "vfs"]),
    ("sstable", &["base", "vfs"]),
    ("manifest", &["base", "vfs"]),
    ("compaction", &["base", "vfs", "sstable", "manifest"]),
    ("engine", &["base", "vfs", "memtable", "wal", "sstable", "manifest", "compaction"]),
    ("table", &["engine"]),
    ("console", &[]),
    ("server", &["table", "console", "engine"]),
    ("sim", &["engine", "table"]),
];

/// Crates that stand beside the product.
const OUTSIDE: &[&str] = &["tests", "benches", "compare", "fuzz"];

/// Lines, beyond which a file's header has to give the reason.
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A package's folder in the house, from its name.
fn folder(package: &str) -> &str {
    if package == "esker" { "engine" } else { package.strip_prefix("esker-").unwrap_or(package) }
}

/// Workspace packages with their dependencies on one another: (folder, kind of dependency).
fn edges() -> BTreeMap<String, BTreeSet<(String, String)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> =
        packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    let mut edges = BTreeMap::new();
    for package in packages {
        let mut imports = BTreeSet::new();
        for dependency in package["dependencies"].as_array().unwrap() {
            let name = dependency["name"].as_str().unwrap();
            if ours.contains(name) {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                imports.insert((folder(name).to_string(), kind.to_string()));
            }
        }
        edges.insert(folder(package["name"].as_str().unwrap()).to_string(), imports);
    }
    edges
}

/// What is wrong with these dependencies, one sentence each.
fn violations(edges: &BTreeMap<String, BTreeSet<(String, String)>>) -> Vec<String> {
    let doors: BTreeMap<&str, &[&str]> = DOORS.iter().copied().collect();
    let mut found = Vec::new();
    for (importer, imports) in edges {
        for (imported, _) in imports {
            if OUTSIDE.contains(&imported.as_str()) {
                found.push(format!("{importer} imports {imported}, which nobody may"));
            }
        }
        if OUTSIDE.contains(&importer.as_str()) {
            continue;
        }
        let Some(allowed) = doors.get(importer.as_str()) else {
            found.push(format!("{importer} has no row in the table of doors"));
            continue;
        };
        for (imported, kind) in imports {
            // A crate's own tests may borrow from the side, but not so that wal, memtable and sstable meet.
            let engine_parts = ["wal", "memtable", "sstable"];
            let meet = engine_parts.contains(&importer.as_str())
                && engine_parts.contains(&imported.as_str());
            if (kind == "normal" || meet) && !allowed.contains(&imported.as_str()) {
                found
                    .push(format!("{importer} imports {imported} ({kind}): there is no such door"));
            }
        }
    }
    found
}

#[test]
fn every_crate_imports_only_through_its_doors() {
    let edges = edges();
    assert!(edges.contains_key("engine") && edges.contains_key("base"), "{edges:?}");
    let found = violations(&edges);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A check that cannot fail is no check: plant each kind of violation.
#[test]
fn a_wrong_door_is_noticed() {
    for (importer, imported, kind) in [
        ("wal", "memtable", "normal"),
        ("sstable", "wal", "dev"),
        ("base", "vfs", "normal"),
        ("table", "sstable", "normal"),
        ("engine", "table", "normal"),
        ("server", "tests", "normal"),
        ("attic", "base", "normal"),
    ] {
        let imports = BTreeSet::from([(imported.to_string(), kind.to_string())]);
        let edges = BTreeMap::from([(importer.to_string(), imports)]);
        assert!(!violations(&edges).is_empty(), "{importer} -> {imported}");
    }
    let allowed = BTreeSet::from([("base".to_string(), "normal".to_string())]);
    assert!(violations(&BTreeMap::from([("wal".to_string(), allowed)])).is_empty());
}

/// Planted bugs are for `esker-sim mutants` alone: nothing that the server is built from may turn them on by default.
#[test]
fn the_server_is_built_without_planted_bugs() {
    // The features that the vocabulary's crate is built with.
    let features = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--prefix", "none", "--edges", "normal,build"])
            .args(["--format", "{p}|{f}"])
            .args(arguments)
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("esker-base v")).unwrap();
        line.split_once('|').unwrap().1.to_string()
    };
    assert!(!features(&["--package", "esker-server"]).contains("mutants"));
    // A check that cannot fail is no check.
    assert!(features(&["--package", "esker-sim", "--features", "mutants"]).contains("mutants"));
}

/// A mutant without a call site would live for ever.
#[test]
fn every_planted_bug_is_planted() {
    let list = std::fs::read_to_string(root().join("base/src/mutants.rs")).unwrap();
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.strip_prefix("    (\"")?.split_once("\", \"").map(|(name, _)| name))
        .collect();
    assert!(names.len() >= 40, "{names:?}");
    let sources: Vec<String> =
        sources().iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for name in names {
        let call = format!("mutant!(\"{name}\")");
        assert!(sources.iter().any(|text| text.contains(&call)), "{name} has no call site");
    }
}

/// The sources of the work tree: every `.rs` file outside build output and hidden folders.
fn sources() -> Vec<PathBuf> {
    files(|name| name.ends_with(".rs"))
}

/// The files of the work tree with such names.
fn files(is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !name.starts_with("target") && name != "esker-data" {
                    folders.push(path);
                }
            } else if is_wanted(&name) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Whether a text has `mod name;`.
fn declares(text: &str, name: &str) -> bool {
    let line = format!("mod {name};");
    let is_visibility = |before: &str| before.is_empty() || before.starts_with("pub");
    text.lines().any(|text| text.trim().strip_suffix(&line).is_some_and(is_visibility))
}

/// The sources, of these and their texts, that no other names: what is in them is never compiled. `named` are the texts of
/// the manifests.
fn orphans<'s>(sources: &'s BTreeMap<PathBuf, String>, named: &str) -> Vec<&'s Path> {
    let is_named = |path: &Path| {
        let file = path.file_name().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let folder_name = folder.file_name().unwrap_or_default();
        // Cargo finds these by itself; the tests of the whole product are named one by one.
        let is_found = ["main.rs", "lib.rs", "build.rs"].contains(&file)
            || ["bin", "examples"].iter().any(|name| folder_name == *name)
            || folder_name == "tests"
                && folder != root().join("tests")
                && folder.with_file_name("Cargo.toml").exists();
        let (home, name, file) = match file.strip_suffix(".rs").unwrap() {
            "mod" => {
                let name = folder_name.to_str().unwrap();
                (folder.parent().unwrap(), name, format!("{name}/mod.rs"))
            }
            name => (folder, name, file.to_owned()),
        };
        let beside = home.with_extension("rs");
        let by_path = [format!("/{file}\""), format!("\"{file}\"")];
        let has_path = |line: &str| {
            line.contains("path = ") && by_path.iter().any(|text| line.contains(text.as_str()))
        };
        is_found
            || named.lines().any(has_path)
            || sources.iter().any(|(other, text)| {
                (other.parent() == Some(home) || *other == beside) && declares(text, name)
                    || text.lines().any(has_path)
            })
    };
    sources.keys().map(PathBuf::as_path).filter(|path| !is_named(path)).collect()
}

#[test]
fn every_source_file_is_compiled() {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    let manifests = files(|name| name == "Cargo.toml").into_iter().map(|path| read(path).1);
    let (manifests, mut sources) =
        (manifests.collect::<String>(), sources().into_iter().map(read).collect());
    assert_eq!(orphans(&sources, &manifests), Vec::<&Path>::new(), "nothing has a `mod` for these");
    // A check that cannot fail is no check.
    let mut lost = ["server/tests/acceptance/lost.rs", "table/src/lost/mod.rs"]
        .into_iter()
        .chain(["table/src/tests/lost.rs", "tests/lost.rs"])
        .map(|path| root().join(path))
        .collect::<Vec<_>>();
    sources.extend(lost.iter().map(|path| (path.clone(), "mod lost_too;".to_owned())));
    lost.sort();
    assert_eq!(orphans(&sources, &manifests), lost);
}

#[test]
fn every_source_file_says_what_it_is() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} files found", sources.len());
    let bare: Vec<String> = sources
        .iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().starts_with("//! "))
        .map(|path| path.display().to_string())
        .collect();
    assert!(bare.is_empty(), "files that do not open with a `//!` header:\n{}", bare.join("\n"));
}

#[test]
fn no_file_grows_beyond_reading_without_a_reason() {
    let mut long = Vec::new();
    for path in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        let mut header = text.lines().take_while(|line| line.starts_with("//!"));
        if lines > FILE_LINES_MAX && !header.any(|line| line.contains("Why this file is long:")) {
            long.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(
        long.is_empty(),
        "split these, or say `Why this file is long:` in the header:\n{}",
        long.join("\n")
    );
}

/// What would be noise in the product's history: unfinished work, and tests that do not run.
#[test]
fn nothing_is_left_unfinished() {
    // Spelled in halves, so that this file passes its own check.
    let words = [["TO", "DO"], ["FIX", "ME"], ["unimple", "mented!("], ["#[ig", "nore"]]
        .map(|w| w.concat());
    let mut found = Vec::new();
    for path in sources() {
        for (index, line) in std::fs::read_to_string(&path).unwrap().lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
