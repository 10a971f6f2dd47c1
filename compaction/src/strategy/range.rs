//! A compaction that was asked for: everything in a range of keys into the bottom level, in one
//! task.

use super::{BOTTOM, Picture, Task, TaskKind, bounds_of};

/// The task that merges all files meeting the user keys from `low` to `high` (both included; `None`
/// is unbounded) into the bottom level. `None` if nothing meets them, if a file that does is busy,
/// or if they are in the bottom level already. Not for FIFO keyspaces.
pub fn pick_range(picture: &Picture<'_>, low: Option<&[u8]>, high: Option<&[u8]>) -> Option<Task> {
    let (mut low, mut high) = (low.map(<[u8]>::to_vec), high.map(<[u8]>::to_vec));
    loop {
        let meets = |file: &esker_manifest::FileMeta| {
            high.as_deref().is_none_or(|high| file.smallest_user_key() <= high)
                && low.as_deref().is_none_or(|low| low <= file.largest_user_key())
        };
        let inputs: Vec<_> = picture
            .levels
            .iter()
            .enumerate()
            .flat_map(|(level, files)| files.iter().map(move |file| (level, file)))
            .filter(|(_, file)| meets(file))
            .collect();
        // A file that is taken widens the range: what it overlaps elsewhere must come along, or an
        // older version of a key would end up above a newer one.
        let (lowest, highest) = bounds_of(inputs.iter().map(|(_, file)| *file))?;
        let wider_low = low.as_deref().is_some_and(|low| lowest < low);
        let wider_high = high.as_deref().is_some_and(|high| highest > high);
        if wider_low || wider_high {
            let (lowest, highest) = (lowest.to_vec(), highest.to_vec());
            low = low.map(|low| low.min(lowest));
            high = high.map(|high| high.max(highest));
            continue;
        }
        let settled = inputs.iter().all(|&(level, _)| level == BOTTOM);
        if settled || inputs.iter().any(|(_, file)| picture.is_busy(file)) {
            return None;
        }
        return Some(Task {
            inputs: inputs.into_iter().map(|(level, file)| (level, file.clone())).collect(),
            output_level: BOTTOM,
            kind: TaskKind::Merge,
            reason: "asked for",
        });
    }
}
