//! The thread that builds an ingest's files, and the pipe through which its chunks go there.
//!
//! The caller waits when the pipe is full, the thread when it is empty. A thread that waits looks from time to time
//! whether the database closes, because whoever closes waits for it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use esker_base::{Error, ErrorKind, Result, SeqNo};
use esker_compaction::Built;

use super::stream::Source;
use crate::core::Core;
use crate::keyspace::KeyspaceInner;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Condvar, Mutex};

/// The pipe holds this many bytes, or less where memory is scarce: as much as is brought while a file is completed.
const PIPE_BYTES_MAX: usize = 16 << 20;

/// How often a thread that waits for a chunk looks whether the database closes.
const CLOSING_POLL: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Pipe {
    /// A leaf lock.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Chunks that were read, for their memory.
    idle: Vec<Vec<u8>>,
    end: Option<End>,
    /// What the thread made of it; the thread takes no more chunks then.
    result: Option<Result<Built>>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Complete,
    Abandoned,
}

/// The caller's end. Dropped before [`Worker::finish`] it has the thread take back what it made, and waits for that.
pub(super) struct Worker {
    pipe: Arc<Pipe>,
    bytes_max: usize,
    handle: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(
        core: &Arc<Core>,
        keyspace: &Arc<KeyspaceInner>,
        stamp: SeqNo,
    ) -> Result<Worker> {
        let pipe = Arc::new(Pipe::default());
        let mut reader = Reader { pipe: Arc::clone(&pipe), core: Arc::clone(core) };
        let keyspace = Arc::clone(keyspace);
        let run = move || {
            let build = || {
                let core = Arc::clone(&reader.core);
                core.build_ingest(&keyspace, stamp, &mut reader)
            };
            let result = catch_unwind(AssertUnwindSafe(build)).unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::Io, "the thread that builds an ingest's files panicked"))
            });
            let mut state = reader.pipe.state.lock();
            state.result = Some(result);
            (state.chunks, state.idle) = Default::default();
            reader.pipe.changed.notify_all();
        };
        let spawned = thread::Builder::new().name("esker-ingest".to_string()).spawn(run);
        let handle = spawned.map_err(|error| Error::io("start a thread for", &core.dir, error))?;
        let bytes_max = PIPE_BYTES_MAX.min(core.options.memory_budget_bytes / 16);
        Ok(Worker { pipe, bytes_max, handle: Some(handle) })
    }

    /// Puts `chunk` into the pipe and leaves an empty one; fails if the thread has.
    pub(super) fn send(&mut self, chunk: &mut Vec<u8>) -> Result<()> {
        let mut state = self.pipe.state.lock();
        loop {
            match &state.result {
                Some(Err(error)) => return Err(error.clone()),
                Some(Ok(_)) => return Err(Error::invalid("the ingest is complete")),
                None => {}
            }
            if state.bytes == 0 || state.bytes + chunk.len() <= self.bytes_max {
                break;
            }
            self.pipe.changed.wait(&mut state);
        }
        state.bytes += chunk.len();
        let idle = state.idle.pop().unwrap_or_default();
        let was_empty = state.chunks.is_empty();
        state.chunks.push_back(std::mem::replace(chunk, idle));
        if was_empty {
            self.pipe.changed.notify_all();
        }
        Ok(())
    }

    /// What was built of all chunks.
    pub(super) fn finish(mut self) -> Result<Built> {
        self.end(End::Complete);
        let result = self.pipe.state.lock().result.take();
        result.unwrap_or_else(|| Err(Error::new(ErrorKind::Io, "an ingest's thread is gone")))
    }

    fn end(&mut self, end: End) {
        let Some(handle) = self.handle.take() else { return };
        self.pipe.state.lock().end = Some(end);
        self.pipe.changed.notify_all();
        // A panic is a result by now.
        let _ = handle.join();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end(End::Abandoned);
    }
}

/// The thread's end.
struct Reader {
    pipe: Arc<Pipe>,
    core: Arc<Core>,
}

impl Source for Reader {
    fn next_chunk(&mut self, mut read: Vec<u8>) -> Result<Option<Vec<u8>>> {
        let mut state = self.pipe.state.lock();
        state.bytes -= read.len();
        if read.capacity() > 0 {
            read.clear();
            state.idle.push(read);
            self.pipe.changed.notify_all();
        }
        loop {
            if matches!(state.end, Some(End::Abandoned)) {
                return Err(Error::new(ErrorKind::Closed, "the ingest was given up"));
            }
            if let Some(chunk) = state.chunks.pop_front() {
                return Ok(Some(chunk));
            }
            if state.end.is_some() {
                return Ok(None);
            }
            if self.core.background.cancelled.load(Ordering::Acquire) {
                return Err(Error::new(ErrorKind::Closed, "the database is closed"));
            }
            self.pipe.changed.wait_for(&mut state, CLOSING_POLL);
        }
    }
}
