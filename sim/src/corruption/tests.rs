//! The matrix finds nothing in the engine, and would: a planted wrong answer, a damage that nobody reports, a panic's
//! text and an open that changes what it refuses are each told apart.
#![allow(clippy::unwrap_used)]

use esker::vfs::{Fs, OpenMode};

use super::*;

#[test]
fn a_sample_of_the_matrix_finds_nothing() {
    let report = check(&Budget::test(1));
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(report.figure("bit flips, CURRENT, harmless"), 0);
    assert_eq!(report.figure("bit flips, sst, harmless"), 0);
    assert_eq!(report.figure("bit flips, val, harmless"), 0);
    assert!(report.figure("bit flips, detected") > 500, "{report:?}");
    assert!(report.figure("bytes of the closed databases") >= 65_536, "{report:?}");
}

#[test]
fn the_corpus_has_every_kind_of_file_and_is_the_same_for_the_same_seed() {
    let (one, two) = (corpus::closed(3).unwrap(), corpus::closed(3).unwrap());
    let bytes = |corpus: &Corpus| -> Vec<_> {
        corpus.files.iter().map(|file| (file.name.clone(), file.bytes.clone())).collect()
    };
    assert!(bytes(&one) == bytes(&two));
    for wanted in ["CURRENT", "LOCK", "RESERVE", "manifest", "wal", "sst", "val"] {
        assert!(one.files.iter().any(|file| kind(&file.name) == wanted), "{wanted}");
    }
    assert!(one.files.iter().filter(|file| kind(&file.name) == "sst").count() >= 5);
    let live = corpus::live(3).unwrap();
    let (name, start, end) = live.last_group.unwrap();
    assert!(kind(&name) == "wal" && start < end, "{name} {start} {end}");
}

#[test]
fn a_wrong_answer_is_told_from_a_right_one() {
    let mut corpus = corpus::closed(1).unwrap();
    assert_eq!(trial::run(&corpus, corpus.disk.fork()).0, Outcome::Harmless);
    let entries = corpus.content.get_mut("a").unwrap();
    entries.values_mut().next().unwrap()[0] ^= 1;
    let (outcome, _) = trial::run(&corpus, corpus.disk.fork());
    assert!(matches!(outcome, Outcome::Broken(_)), "{outcome:?}");
}

#[test]
fn lost_entries_and_lost_keyspaces_are_wrong_answers() {
    for lose_keyspace in [false, true] {
        let mut corpus = corpus::closed(1).unwrap();
        if lose_keyspace {
            corpus.content.insert("c".to_owned(), Default::default());
        } else {
            corpus.content.get_mut("b").unwrap().insert(b"zz".to_vec(), b"1".to_vec());
        }
        let (outcome, _) = trial::run(&corpus, corpus.disk.fork());
        assert!(matches!(outcome, Outcome::Broken(_)), "{outcome:?}");
    }
}

fn matrix_of(corpus: Corpus) -> Matrix {
    let (closed, live) = (corpus.clone(), corpus);
    Matrix { closed, live, damages: Vec::new(), stride: 1, memory_max: u64::MAX }
}

#[test]
fn memory_beyond_the_bound_is_a_finding() {
    let corpus = corpus::closed(1).unwrap();
    let mut matrix = matrix_of(corpus.clone());
    let flip = Damage::Flip { file: 0, offset: 3, bit: 1 };
    let mut report = CheckReport::new(NAME);
    matrix.try_damage(&corpus, &flip, &mut report);
    assert!(report.findings.is_empty(), "{report:?}");
    matrix.memory_max = 1000;
    matrix.try_damage(&corpus, &flip, &mut report);
    assert!(report.findings[0].message.contains("bytes of memory"), "{report:?}");
}

#[test]
fn durable_commits_that_are_lost_are_no_tear() {
    let live = corpus::live(1).unwrap();
    let matrix = matrix_of(live);
    let (name, start, end) = matrix.live.last_group.clone().unwrap();
    let file = matrix.live.files.iter().position(|file| file.name == name).unwrap();
    let mut report = CheckReport::new(NAME);
    let inside = Damage::Flip { file, offset: start + 40, bit: 0 };
    matrix.try_damage(&matrix.live, &inside, &mut report);
    assert_eq!(report.figure("live: bit flips, taken for a tear"), 1, "{report:?}");
    // The same loss, but said to be of bytes that were known to be synced.
    let mut shifted = matrix.live.clone();
    shifted.last_group = Some((name, end, end + 8));
    matrix.try_damage(&shifted, &inside, &mut report);
    assert_eq!(report.findings.len(), 1, "{report:?}");
}

#[test]
fn every_damage_changes_the_directory() {
    let (corpus, foreign) = (corpus::closed(1).unwrap(), corpus::closed(1 + (1 << 32)).unwrap());
    let before = corpus.disk.fork().image_hash();
    for damage in damage::all_but_flips(&corpus, &foreign).iter().step_by(97) {
        let disk = corpus.disk.fork();
        damage.apply(&corpus, &disk).unwrap();
        assert_ne!(disk.image_hash(), before, "{}", damage.describe(&corpus));
    }
    let file = corpus.disk.open(&corpus::path("CURRENT"), OpenMode::Read).unwrap();
    assert_eq!(file.len().unwrap(), 64);
}
