//! A child process with a deadline: started, read line by line, and killed when it takes too long. Used by `run.rs`. No
//! child may outlive the value that stands for it.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::engine::{Failure, Result};

/// What a child that fails says on standard output before it ends.
pub const ERROR: &str = "error: ";

/// A running child.
pub struct Running {
    child: Child,
    /// Open until the end: a child whose standard input ends ends too, should this process be killed.
    _stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    started: Instant,
    timeout: Duration,
}

impl Running {
    /// Starts `command`, which has to be done within `timeout`.
    pub fn start(command: &mut Command, timeout: Duration) -> Result<Running> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take();
        let (sender, lines) = mpsc::channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Running { child, _stdin: stdin, lines, started: Instant::now(), timeout })
    }

    /// Its next line, none at its end. Fails when the time is over; dropping it then kills it.
    pub fn line(&mut self) -> Result<Option<String>> {
        let left = self.timeout.saturating_sub(self.started.elapsed());
        match self.lines.recv_timeout(left) {
            Ok(line) => Ok(Some(line)),
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.timeout.as_secs_f64();
                Err(Failure::from(format!("it hung: killed after {seconds:.0} s")))
            }
        }
    }

    /// Waits for its end; the last line that is JSON, if any. Fails if it failed, with what it said.
    pub fn finish(mut self) -> Result<Option<String>> {
        let (mut json, mut error) = (None, None);
        while let Some(line) = self.line()? {
            match line.strip_prefix(ERROR) {
                Some(text) => error = Some(text.to_owned()),
                None if line.starts_with('{') => json = Some(line),
                None => {}
            }
        }
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(json),
            false => {
                let status = format!("its process failed, {status}");
                Err(Failure::from(error.unwrap_or(status)))
            }
        }
    }

    /// Kills it as kill -9 does.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Running {
        Running::start(Command::new("sh").args(["-c", script]), timeout).unwrap()
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn the_last_json_line_is_the_result() {
        let result = shell("echo '{1}'; echo other; echo '{2}'; echo end", LONG).finish();
        assert_eq!(result.unwrap().unwrap(), "{2}");
    }

    #[test]
    fn a_child_that_hangs_is_killed() {
        let running = shell("echo '{1}'; exec sleep 600", Duration::from_millis(50));
        let pid = running.child.id();
        assert!(running.finish().unwrap_err().to_string().contains("hung"));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn what_a_failed_child_says_is_the_error() {
        let error = shell("echo 'error: no room'; exit 1", LONG).finish().unwrap_err();
        assert_eq!(error.to_string(), "no room");
        let error = shell("kill -9 $$", LONG).finish().unwrap_err();
        assert!(error.to_string().contains("signal: 9"), "{error}");
    }
}
