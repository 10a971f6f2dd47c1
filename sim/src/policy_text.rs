//! Crash policies as words, for replay files.

use esker::vfs::simulated::CrashPolicy;

/// The policy as one word.
pub(crate) fn write(policy: CrashPolicy) -> String {
    match policy {
        CrashPolicy::Ordered => "ordered".to_string(),
        CrashPolicy::Posix => "posix".to_string(),
        CrashPolicy::Hostile => "hostile".to_string(),
        CrashPolicy::KeepAll => "all".to_string(),
        CrashPolicy::DropAll => "none".to_string(),
        CrashPolicy::Prefix(count) => format!("prefix:{count}"),
        CrashPolicy::DropOne(index) => format!("drop:{index}"),
        CrashPolicy::Tear(index, count) => format!("tear:{index}:{count}"),
        CrashPolicy::Hole(index, count) => format!("hole:{index}:{count}"),
    }
}

/// The policy that a word names.
pub(crate) fn read(word: &str) -> Option<CrashPolicy> {
    let mut parts = word.split(':');
    let name = parts.next()?;
    let numbers: Vec<usize> = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(match (name, numbers.as_slice()) {
        ("ordered", []) => CrashPolicy::Ordered,
        ("posix", []) => CrashPolicy::Posix,
        ("hostile", []) => CrashPolicy::Hostile,
        ("all", []) => CrashPolicy::KeepAll,
        ("none", []) => CrashPolicy::DropAll,
        ("prefix", [count]) => CrashPolicy::Prefix(*count),
        ("drop", [index]) => CrashPolicy::DropOne(*index),
        ("tear", [index, count]) => CrashPolicy::Tear(*index, *count),
        ("hole", [index, count]) => CrashPolicy::Hole(*index, *count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_comes_back_from_its_word() {
        for policy in [
            CrashPolicy::Ordered,
            CrashPolicy::Posix,
            CrashPolicy::Hostile,
            CrashPolicy::KeepAll,
            CrashPolicy::DropAll,
            CrashPolicy::Prefix(3),
            CrashPolicy::DropOne(0),
            CrashPolicy::Tear(2, 512),
            CrashPolicy::Hole(9, 1),
        ] {
            assert_eq!(read(&write(policy)), Some(policy));
        }
        assert_eq!(read("prefix"), None);
        assert_eq!(read("tear:1:x"), None);
    }
}
