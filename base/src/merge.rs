//! The merging cursor: several sorted cursors read as one.
//!
//! A binary heap of child indices keeps the next entry on top. It also knows the runner-up, so that a child that owns a
//! stretch costs one comparison an entry, and none once the others are exhausted. The heap's order follows the direction
//! of travel; on a change of direction every other child is first moved to the far side of the current entry. Equal keys
//! come in the order of the children, the first child first, also backward-consistent (reversed).

use std::cmp::Ordering;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::key;

/// Several cursors in one order.
pub struct MergingCursor<C> {
    children: Vec<C>,
    /// Indices of the valid children, as a binary heap.
    heap: Vec<usize>,
    /// Where in `heap` the entry after the top one's stands: 1 or 2. Meaningless if there is only one.
    second: usize,
    direction: Direction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

impl<C: Cursor> MergingCursor<C> {
    /// Merges `children`. Where two hold an equal internal key, the earlier child's comes first.
    pub fn new(children: Vec<C>) -> MergingCursor<C> {
        let heap = Vec::with_capacity(children.len());
        MergingCursor { children, heap, second: 1, direction: Direction::Forward }
    }

    #[inline]
    fn before(&self, a: usize, b: usize) -> bool {
        let order = key::compare(self.children[a].key(), self.children[b].key()).then(a.cmp(&b));
        match self.direction {
            Direction::Forward => order == Ordering::Less,
            Direction::Backward => order == Ordering::Greater,
        }
    }

    fn rebuild(&mut self, direction: Direction) {
        self.direction = direction;
        self.heap.clear();
        self.heap.extend((0..self.children.len()).filter(|&index| self.children[index].valid()));
        for position in (0..self.heap.len() / 2).rev() {
            self.sift_down(position);
        }
        self.find_second();
    }

    fn find_second(&mut self) {
        let second_is_right = self.heap.len() > 2 && self.before(self.heap[2], self.heap[1]);
        self.second = if second_is_right { 2 } else { 1 };
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let child = if right < self.heap.len() && self.before(self.heap[right], self.heap[left])
            {
                right
            } else {
                left
            };
            if !self.before(self.heap[child], self.heap[position]) {
                return;
            }
            self.heap.swap(position, child);
            position = child;
        }
    }

    /// Runs `position` on every child and orders them for `direction`. On an error nothing is valid.
    fn seek_all(
        &mut self,
        direction: Direction,
        mut position: impl FnMut(&mut C) -> Result<()>,
    ) -> Result<()> {
        self.heap.clear();
        for child in &mut self.children {
            position(child)?;
        }
        self.rebuild(direction);
        Ok(())
    }

    /// Moves the top child and restores the heap.
    #[inline]
    fn step(&mut self, advance: impl FnOnce(&mut C) -> Result<()>) -> Result<()> {
        let top = self.heap[0];
        let child = &mut self.children[top];
        if let Err(error) = advance(child) {
            self.heap.clear();
            return Err(error);
        }
        if child.valid() && (self.heap.len() == 1 || self.before(top, self.heap[self.second])) {
            return Ok(());
        }
        self.replace_top();
        Ok(())
    }

    /// Restores the heap when the top child is no longer the first, or exhausted.
    fn replace_top(&mut self) {
        if self.children[self.heap[0]].valid() {
            // The runner-up is the new top; which of its siblings is the better one is known.
            self.heap.swap(0, self.second);
            self.sift_down(self.second);
        } else {
            self.heap.swap_remove(0);
            self.sift_down(0);
        }
        if !crate::mutant!("cursor_runner_up_kept") {
            self.find_second();
        }
    }

    /// Puts every child but the current one on the other side of the current entry.
    fn turn(&mut self, direction: Direction) -> Result<()> {
        let top = self.heap[0];
        let here = self.children[top].key().to_vec();
        self.heap.clear();
        for (index, child) in self.children.iter_mut().enumerate() {
            if index == top {
                continue;
            }
            match direction {
                Direction::Forward => {
                    child.seek(&here)?;
                    // An equal entry of an earlier child was passed already.
                    if index < top && child.valid() && child.key() == here {
                        child.next()?;
                    }
                }
                Direction::Backward => {
                    child.seek_for_prev(&here)?;
                    if index > top && child.valid() && child.key() == here {
                        child.prev()?;
                    }
                }
            }
        }
        self.rebuild(direction);
        Ok(())
    }
}

impl<C: Cursor> Cursor for MergingCursor<C> {
    #[inline]
    fn valid(&self) -> bool {
        !self.heap.is_empty()
    }

    fn seek_to_first(&mut self) -> Result<()> {
        self.seek_all(Direction::Forward, C::seek_to_first)
    }

    fn seek_to_last(&mut self) -> Result<()> {
        self.seek_all(Direction::Backward, C::seek_to_last)
    }

    fn seek(&mut self, target: &[u8]) -> Result<()> {
        // What the children will look at arrives while the others search.
        self.children.iter_mut().for_each(|child| child.announce_seek(target));
        self.seek_all(Direction::Forward, |child| child.seek(target))
    }

    fn seek_for_prev(&mut self, target: &[u8]) -> Result<()> {
        self.seek_all(Direction::Backward, |child| child.seek_for_prev(target))
    }

    #[inline]
    fn next(&mut self) -> Result<()> {
        if self.direction == Direction::Backward {
            self.turn(Direction::Forward)?;
        }
        self.step(C::next)
    }

    #[inline]
    fn prev(&mut self) -> Result<()> {
        if self.direction == Direction::Forward {
            self.turn(Direction::Backward)?;
        }
        self.step(C::prev)
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.children[self.heap[0]].key()
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.children[self.heap[0]].value()
    }
}

#[cfg(test)]
mod tests;
