//! The victim: a process of its own that works on a database until it is killed, and says on its standard output what
//! was acknowledged.
//!
//! `esker-sim victim` runs it; nobody calls that but the checks. Every report is one line in one write, so what the
//! parent has not read when the process dies is still in the pipe. It ends by itself when nobody reads any more.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use esker::{Db, Durability, ErrorKind};

use super::script::Script;
use super::writers::{self, Ack, Report, Rooms};

/// What a victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Follow the scripts for ever.
    Write,
    /// Follow them until so many reports or an error, and look at what an error has left.
    WriteSome(u64),
    /// Open, flush and close, again and again.
    Reopen,
    /// Fill a log of this many MiB that is never flushed, and wait.
    FillLog(u64),
    /// Run out of descriptors, and get them back.
    Descriptors,
}

/// All that a victim is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orders {
    /// What to do.
    pub task: Task,
    /// Where the database is.
    pub directory: PathBuf,
    /// The seed of the scripts.
    pub seed: u64,
    /// The seed of the options.
    pub options: u64,
    /// Where each thread's script goes on.
    pub starts: Vec<u64>,
}

impl Orders {
    /// The victim's command line after the program's name.
    pub fn arguments(&self) -> Vec<String> {
        let task = match self.task {
            Task::Write => "write".to_string(),
            Task::WriteSome(reports) => format!("write={reports}"),
            Task::Reopen => "reopen".to_string(),
            Task::FillLog(mib) => format!("fill-log={mib}"),
            Task::Descriptors => "descriptors".to_string(),
        };
        let directory = self.directory.display().to_string();
        let mut arguments = vec!["victim".to_string(), task, directory];
        arguments.extend([self.seed.to_string(), self.options.to_string()]);
        arguments.extend(self.starts.iter().map(u64::to_string));
        arguments
    }

    /// Reads what [`Orders::arguments`] made, without its first word.
    fn parse(arguments: &[String]) -> Option<Orders> {
        let [task, directory, seed, options, starts @ ..] = arguments else { return None };
        let task = match task.split_once('=') {
            Some(("write", reports)) => Task::WriteSome(reports.parse().ok()?),
            Some(("fill-log", mib)) => Task::FillLog(mib.parse().ok()?),
            None if task == "write" => Task::Write,
            None if task == "reopen" => Task::Reopen,
            None if task == "descriptors" => Task::Descriptors,
            _ => return None,
        };
        Some(Orders {
            task,
            directory: PathBuf::from(directory),
            seed: seed.parse().ok()?,
            options: options.parse().ok()?,
            starts: starts.iter().map(|start| start.parse().ok()).collect::<Option<_>>()?,
        })
    }

    /// The command that runs `program` as a victim, with all its output piped.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(self.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// One line of a victim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The database is open.
    Opened,
    /// The task is done.
    Done,
    /// A figure of the task's.
    Figure(String, u64),
    /// As writers report it.
    Report(Report),
}

impl Line {
    fn print(&self) -> String {
        match self {
            Line::Opened => "opened\n".to_string(),
            Line::Done => "done\n".to_string(),
            Line::Figure(label, count) => format!("figure {count} {label}\n"),
            Line::Report(Report::Ack(ack)) => {
                let Ack { thread, index, durability, seqs } = ack;
                let durability = *durability as u8;
                format!("ack {thread} {index} {durability} {} {}\n", seqs.0, seqs.1)
            }
            Line::Report(Report::Synced(seq)) => format!("synced {seq}\n"),
            Line::Report(Report::Refused { thread, kind, message }) => {
                format!("refused {thread} {kind} {}\n", message.replace('\n', " "))
            }
            Line::Report(Report::Wrong(message)) => {
                format!("wrong {}\n", message.replace('\n', " "))
            }
        }
    }

    /// Reads what [`Line::print`] made. `None` for anything else, such as a line that was cut.
    pub fn parse(line: &str) -> Option<Line> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        match word {
            "opened" => Some(Line::Opened),
            "done" => Some(Line::Done),
            "figure" => {
                let (count, label) = rest.split_once(' ')?;
                Some(Line::Figure(label.to_string(), count.parse().ok()?))
            }
            "ack" => {
                let mut words = rest.split(' ');
                let (thread, index) = (number(words.next())?, number(words.next())?);
                let durability = match words.next()? {
                    "0" => Durability::Volatile,
                    "1" => Durability::Buffered,
                    "2" => Durability::Sync,
                    _ => return None,
                };
                let seqs = (number(words.next())?, number(words.next())?);
                Some(Line::Report(Report::Ack(Ack { thread, index, durability, seqs })))
            }
            "synced" => Some(Line::Report(Report::Synced(rest.parse().ok()?))),
            "refused" => {
                let mut words = rest.splitn(3, ' ');
                let thread = number(words.next())?;
                let (kind, message) = (words.next()?.to_string(), words.next()?.to_string());
                Some(Line::Report(Report::Refused { thread, kind, message }))
            }
            "wrong" => Some(Line::Report(Report::Wrong(rest.to_string()))),
            _ => None,
        }
    }
}

/// Runs as a victim; `arguments` are what follows the word `victim`.
pub fn run(arguments: &[String]) -> ExitCode {
    let Some(orders) = Orders::parse(arguments) else {
        eprintln!("this command is for the checks of esker-sim only");
        return ExitCode::from(2);
    };
    let result = match orders.task {
        Task::Write => write(&orders, u64::MAX),
        Task::WriteSome(reports) => write(&orders, reports),
        Task::Reopen => reopen(&orders),
        Task::FillLog(mib) => fill_log(&orders, mib),
        Task::Descriptors => super::descriptors::run_victim(&orders),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (kind, message) = (format!("{:?}", error.kind()), error.to_string());
            say(&Line::Report(Report::Refused { thread: 0, kind, message }));
            ExitCode::SUCCESS
        }
    }
}

/// Says `line`; false if nobody listens.
pub(super) fn say(line: &Line) -> bool {
    // One line goes out in one write: the standard output is buffered by lines.
    std::io::stdout().lock().write_all(line.print().as_bytes()).is_ok()
}

fn write(orders: &Orders, reports_max: u64) -> esker::Result<()> {
    let db = writers::options(orders.options).open(&orders.directory)?;
    say(&Line::Opened);
    let rooms = Rooms::open(&db)?;
    let scripts = orders.starts.iter().enumerate().map(|(thread, start)| {
        let mut script = Script::new(orders.seed, thread as u64);
        script.advance_to(*start);
        script
    });
    let stop = AtomicBool::new(false);
    let reports = AtomicU64::new(0);
    writers::run(&db, &rooms, scripts.collect(), &stop, &|report| {
        say(&Line::Report(report)) && reports.fetch_add(1, Ordering::Relaxed) + 1 < reports_max
    });
    if let Some(cause) = db.metrics().read_only_cause {
        say(&Line::Figure("databases that turned read-only".to_string(), 1));
        match check_read_only(&db, &rooms) {
            Ok(()) => {}
            Err(message) => {
                say(&Line::Report(Report::Wrong(format!("{message}, after: {cause}"))));
            }
        }
    }
    say(&Line::Done);
    // Dropping closes it; what cannot be closed was reported by the writers.
    Ok(())
}

/// A database that has turned read-only takes no write of any kind, and reads go on.
fn check_read_only(db: &Db, rooms: &Rooms) -> Result<(), String> {
    let shared = &rooms.shared;
    for durability in [Durability::Volatile, Durability::Buffered, Durability::Sync] {
        let mut batch = db.batch();
        batch.put(shared, "refused", "refused");
        let blocking = db.write_with(batch.clone(), durability);
        let submitted = db.submit_with(batch.clone(), durability).and_then(|p| p.wait().map(drop));
        let transaction = db.transaction().and_then(|mut transaction| {
            transaction.put(shared, "refused", "refused")?;
            transaction.commit_with(durability)
        });
        for result in [blocking, submitted, transaction, db.sync()] {
            match result {
                Err(error) if error.kind() == ErrorKind::ReadOnly => {}
                other => return Err(format!("a {durability:?} write said {other:?}")),
            }
        }
    }
    for keyspace in rooms.own.iter().chain([shared]) {
        for entry in keyspace.iter() {
            let (key, _) = entry.map_err(|error| format!("a walk said {error:?}"))?;
            let read = keyspace.get(&key).map_err(|error| format!("a get said {error:?}"))?;
            if read.is_none() || key == "refused" {
                return Err(format!("{key:?} reads as {read:?}"));
            }
        }
    }
    Ok(())
}

fn reopen(orders: &Orders) -> esker::Result<()> {
    for round in 0.. {
        let db = writers::options(orders.options + round).open(&orders.directory)?;
        if !say(&Line::Opened) {
            break;
        }
        if round % 2 == 0 {
            db.flush()?;
        }
        db.close()?;
    }
    Ok(())
}

fn fill_log(orders: &Orders, mib: u64) -> esker::Result<()> {
    let db = Db::builder().memory_budget_bytes(1 << 30).open(&orders.directory)?;
    say(&Line::Opened);
    let keyspace = db.keyspace("log")?;
    let (entries, next) = (mib << 20 >> 8, AtomicU64::new(0));
    std::thread::scope(|scope| {
        let run = || -> esker::Result<()> {
            loop {
                let at = next.fetch_add(100, Ordering::Relaxed);
                if at >= entries {
                    return Ok(());
                }
                let mut batch = db.batch();
                for key in at..entries.min(at + 100) {
                    let mut rng = super::script::choices(orders.seed, &[6, key]);
                    let value: Vec<u8> = (0..27).flat_map(|_| rng.number().to_le_bytes()).collect();
                    batch.put(&keyspace, rng.number().to_be_bytes(), value);
                }
                db.write_with(batch, Durability::Buffered)?;
            }
        };
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(run)).collect();
        threads.into_iter().try_for_each(|thread| {
            let panicked = |_| esker::Error::new(ErrorKind::Io, "a writer panicked");
            thread.join().map_err(panicked)?
        })
    })?;
    say(&Line::Figure("entries".to_string(), entries));
    say(&Line::Figure("log bytes".to_string(), db.metrics().wal_bytes));
    say(&Line::Done);
    // Until somebody kills this process, or nobody waits for it any more.
    while say(&Line::Opened) {
        db.world().clock.sleep(std::time::Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lines_and_orders_are_read_as_they_were_written() {
        let durability = Durability::Buffered;
        let refused = Report::Refused {
            thread: 1,
            kind: "NoSpace".to_string(),
            message: "cannot write x".to_string(),
        };
        for line in [
            Line::Opened,
            Line::Done,
            Line::Figure("entries in all".to_string(), 8),
            Line::Report(Report::Ack(Ack { thread: 2, index: 7, durability, seqs: (9, 11) })),
            Line::Report(Report::Synced(5)),
            Line::Report(refused),
            Line::Report(Report::Wrong("no such key".to_string())),
        ] {
            assert_eq!(Line::parse(line.print().trim_end()), Some(line));
        }
        assert_eq!(Line::parse("ack 1 2 3"), None);
        for task in
            [Task::Write, Task::WriteSome(9), Task::Reopen, Task::FillLog(64), Task::Descriptors]
        {
            let starts = vec![1, 2, 3];
            let orders = Orders { task, directory: "/x y".into(), seed: 4, options: 5, starts };
            assert_eq!(Orders::parse(&orders.arguments()[1..]), Some(orders));
        }
    }
}
