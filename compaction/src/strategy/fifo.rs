//! FIFO: files stay in level 0 as they were flushed, and the oldest go when the total is over the
//! limit.

use super::{Picture, Strategy, Task, TaskKind, bytes_of};

/// A log of bounded size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fifo;

impl Strategy for Fifo {
    fn pick(&self, picture: &Picture<'_>) -> Option<Task> {
        let files = picture.level(0);
        let mut total = bytes_of(files);
        let mut keep = files.len();
        while total > picture.options.fifo_max_bytes && keep > 0 {
            keep -= 1;
            total -= files[keep].len;
        }
        let inputs: Vec<_> = files[keep..]
            .iter()
            .filter(|file| !picture.is_busy(file))
            .map(|file| (0, file.clone()))
            .collect();
        let reason = "the oldest files are over the limit";
        (!inputs.is_empty()).then_some(Task {
            inputs,
            output_level: 0,
            kind: TaskKind::Drop,
            reason,
        })
    }

    /// Nothing is ever rewritten.
    fn debt_bytes(&self, _picture: &Picture<'_>) -> u64 {
        0
    }
}
