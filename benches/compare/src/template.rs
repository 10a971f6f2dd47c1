//! Loaded databases, made once and used by many measurements: those that only read work on it in place, those that
//! write get a copy. Used by `run.rs`. A database must never be shared by measurements that change it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::{Failure, Result};
use crate::plan::Job;

/// What a loaded database depends on: engine, compression, keys and the size of the values.
type Name = (&'static str, bool, u64, usize);

struct Template {
    /// The directory, or why it could not be loaded.
    loaded: Option<std::result::Result<PathBuf, String>>,
    /// How many measurements are still to come.
    uses: usize,
}

/// The loaded databases of one run.
pub struct Templates {
    parent: PathBuf,
    templates: BTreeMap<Name, Template>,
    count: usize,
}

fn name(job: &Job) -> Name {
    (job.engine.name, job.compress, job.keys, job.value_bytes)
}

impl Templates {
    /// For the measurements of one run, below `parent`.
    pub fn new(parent: &Path, jobs: &[Job]) -> Templates {
        let mut templates = BTreeMap::new();
        for job in jobs.iter().filter(|job| job.workload.loaded) {
            let template = templates.entry(name(job));
            template.or_insert(Template { loaded: None, uses: 0 }).uses += 1;
        }
        Templates { parent: parent.to_path_buf(), templates, count: 0 }
    }

    /// The database for a measurement, loaded by `load` into a fresh directory if nobody has. A load that failed is not
    /// tried again.
    pub fn get(&mut self, job: &Job, load: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let Some(template) = self.templates.get_mut(&name(job)) else {
            return Err(Failure::from("a measurement that was not announced"));
        };
        if template.loaded.is_none() {
            let path = self.parent.join(format!("template-{}", self.count));
            self.count += 1;
            fs::create_dir(&path)?;
            template.loaded = Some(match load(&path) {
                Ok(()) => Ok(path),
                Err(error) => {
                    let _ = fs::remove_dir_all(path);
                    Err(format!("the load failed: {error}"))
                }
            });
        }
        match &template.loaded {
            Some(Ok(path)) => Ok(path.clone()),
            Some(Err(error)) => Err(Failure::from(error.clone())),
            None => Err(Failure::from("invariant: it was just loaded")),
        }
    }

    /// A measurement is done: the last one removes the database. One that failed may have left it in any state, and the
    /// next will load another.
    pub fn done(&mut self, job: &Job, failed: bool) -> Result<()> {
        if !job.workload.loaded {
            // It has made its own, of the same name.
            return Ok(());
        }
        let Some(template) = self.templates.get_mut(&name(job)) else { return Ok(()) };
        template.uses -= 1;
        if (template.uses == 0 || failed)
            && let Some(Ok(path)) = &template.loaded
        {
            fs::remove_dir_all(path)?;
            template.loaded = None;
        }
        Ok(())
    }
}

/// Copies the files and folders in `from` into the existing folder `to`.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{engines, workload};

    fn job(workload: &str) -> Job {
        Job {
            engine: engines::named("esker").unwrap(),
            workload: workload::named(workload).unwrap(),
            compress: true,
            keys: 1000,
            value_bytes: 100,
        }
    }

    #[test]
    fn a_database_is_loaded_once_and_removed_behind_its_last_use() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = [job("read_hit"), job("fill_seq"), job("overwrite")];
        let mut templates = Templates::new(dir.path(), &jobs);
        let load = |path: &Path| Ok(fs::write(path.join("file"), "1")?);
        let first = templates.get(&jobs[0], load).unwrap();
        templates.done(&jobs[0], false).unwrap();
        // A fill of the same engine and size uses a database of its own.
        templates.done(&jobs[1], false).unwrap();
        let again = templates.get(&jobs[2], |_| Err("not again".into())).unwrap();
        assert_eq!(first, again);
        fs::create_dir(dir.path().join("copy")).unwrap();
        copy(&again, &dir.path().join("copy")).unwrap();
        templates.done(&jobs[2], false).unwrap();
        assert!(!again.exists() && dir.path().join("copy/file").exists());
    }

    #[test]
    fn a_failed_load_fails_every_use_and_a_failed_use_loads_anew() {
        let dir = tempfile::tempdir().unwrap();
        let jobs = [job("read_hit"), job("read_miss"), job("read_zipf")];
        let mut templates = Templates::new(dir.path(), &jobs);
        assert!(templates.get(&jobs[0], |_| Err("no".into())).is_err());
        templates.done(&jobs[0], true).unwrap();
        let error = templates.get(&jobs[1], |_| Ok(())).unwrap_err().to_string();
        assert_eq!(error, "the load failed: no");

        let mut templates = Templates::new(dir.path(), &jobs);
        let first = templates.get(&jobs[0], |_| Ok(())).unwrap();
        templates.done(&jobs[0], true).unwrap();
        assert!(!first.exists());
        assert_ne!(templates.get(&jobs[1], |_| Ok(())).unwrap(), first);
    }
}
