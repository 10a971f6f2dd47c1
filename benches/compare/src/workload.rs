//! The workloads: what each one does, as data. `plan.rs` chooses among them, `child.rs` runs them through the modules
//! below. Nothing here may know an engine.

pub mod check;
pub mod drive;
pub mod read;
pub mod write;
pub mod ycsb;

/// One workload.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name on the command line and in the results.
    pub name: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// What it does.
    pub kind: Kind,
    /// Whether the database is loaded before the measured time.
    pub loaded: bool,
    /// Whether every write is synced.
    pub sync: bool,
    /// How many threads.
    pub threads: usize,
    /// The size of values where it is not the one given.
    pub values: Option<usize>,
    /// Whether engines that compress are measured without it too, when no mode is chosen.
    pub both_modes: bool,
    /// Whether a quick run has it.
    pub quick: bool,
    /// Whether it is run only when asked for by name.
    pub by_name: bool,
}

/// What a workload does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Puts every key, in key order or scattered.
    Fill { scattered: bool },
    /// Puts every key in scattered order, this many at a time.
    Batches(usize),
    /// The engine's bulk load.
    Bulk,
    /// Overwrites random keys, as many as there are.
    Overwrite,
    /// Deletes every key in scattered order.
    Delete,
    /// Puts new keys for the given time.
    Puts,
    /// Reads random keys that exist.
    Hit,
    /// Reads keys that do not exist.
    Miss,
    /// Reads keys by a Zipf distribution.
    Zipf,
    /// Reads this many entries from a random key on.
    Scan(usize),
    /// One of YCSB's mixes.
    Ycsb(ycsb::Mix),
    /// Reads random keys while a thread overwrites 20,000 a second.
    BesideWriter,
    /// Reads random keys after closing, dropping the page cache and opening.
    Cold,
    /// As `Cold`, in a control group with a quarter of the data as memory, this many keys at a time.
    Limited(usize),
    /// Opens after kill -9.
    Reopen,
}

const fn workload(name: &'static str, about: &'static str, kind: Kind) -> Workload {
    let loaded = !matches!(
        kind,
        Kind::Fill { .. } | Kind::Batches(_) | Kind::Bulk | Kind::Puts | Kind::Reopen
    );
    Workload {
        name,
        about,
        kind,
        loaded,
        sync: false,
        threads: 1,
        values: None,
        both_modes: false,
        quick: false,
        by_name: false,
    }
}

impl Workload {
    const fn quick(self) -> Workload {
        Workload { quick: true, ..self }
    }

    const fn by_name(self) -> Workload {
        Workload { by_name: true, ..self }
    }

    const fn both_modes(self) -> Workload {
        Workload { both_modes: true, ..self }
    }

    const fn threads(self, threads: usize) -> Workload {
        Workload { threads, ..self }
    }

    const fn values(self, bytes: usize) -> Workload {
        Workload { values: Some(bytes), ..self }
    }

    const fn synced(self, threads: usize) -> Workload {
        Workload { sync: true, threads, ..self }
    }
}

const SCATTERED: Kind = Kind::Fill { scattered: true };
const IN_ORDER: Kind = Kind::Fill { scattered: false };

/// Every workload, in the order in which they are run and printed.
pub const WORKLOADS: &[Workload] = &[
    workload("fill_random", "single puts of every key, scattered", SCATTERED).quick(),
    workload("fill_seq", "single puts of every key, in order", IN_ORDER).quick(),
    workload("batch_1000", "batches of 1000, scattered", Kind::Batches(1000)).quick(),
    workload("bulk_load", "the engine's bulk load of sorted input", Kind::Bulk).quick(),
    workload("overwrite", "single puts of keys that exist", Kind::Overwrite).quick(),
    workload("delete", "single deletes of every key, scattered", Kind::Delete).quick(),
    workload("read_hit", "random gets of keys that exist", Kind::Hit).both_modes().quick(),
    workload("read_hit_2", "the same by 2 threads", Kind::Hit).both_modes().threads(2),
    workload("read_miss", "random gets of keys that do not exist", Kind::Miss).both_modes().quick(),
    workload("read_zipf", "gets, Zipf 0.99", Kind::Zipf).both_modes().quick(),
    workload("scan_100", "100 entries from a random key on", Kind::Scan(100)).both_modes().quick(),
    workload("ycsb_a", "YCSB A: half gets, half puts", Kind::Ycsb(ycsb::Mix::A)).by_name(),
    workload("ycsb_b", "YCSB B: 95% gets, 5% puts", Kind::Ycsb(ycsb::Mix::B)).by_name(),
    workload("ycsb_c", "YCSB C: gets", Kind::Ycsb(ycsb::Mix::C)).both_modes().by_name(),
    workload("ycsb_d", "YCSB D: 95% gets of new keys, 5% inserts", Kind::Ycsb(ycsb::Mix::D))
        .by_name(),
    workload("ycsb_e", "YCSB E: 95% scans, 5% inserts", Kind::Ycsb(ycsb::Mix::E))
        .both_modes()
        .by_name(),
    workload("ycsb_f", "YCSB F: half gets, half get and put", Kind::Ycsb(ycsb::Mix::F)).by_name(),
    workload("ycsb_a_2", "YCSB A by 2 threads", Kind::Ycsb(ycsb::Mix::A)).threads(2).quick(),
    workload("ycsb_b_2", "YCSB B by 2 threads", Kind::Ycsb(ycsb::Mix::B)).threads(2),
    workload("ycsb_c_2", "YCSB C by 2 threads", Kind::Ycsb(ycsb::Mix::C)).threads(2).both_modes(),
    workload("ycsb_d_2", "YCSB D by 2 threads", Kind::Ycsb(ycsb::Mix::D)).threads(2),
    workload("ycsb_e_2", "YCSB E by 2 threads", Kind::Ycsb(ycsb::Mix::E)).threads(2).both_modes(),
    workload("ycsb_f_2", "YCSB F by 2 threads", Kind::Ycsb(ycsb::Mix::F)).threads(2),
    workload("sync_1", "synced single puts, 1 writer", Kind::Puts).synced(1).quick(),
    workload("sync_2", "synced single puts, 2 writers", Kind::Puts).synced(2),
    workload("sync_8", "synced single puts, 8 writers", Kind::Puts).synced(8),
    workload("sync_32", "synced single puts, 32 writers", Kind::Puts).synced(32).quick(),
    workload("read_beside_writer", "gets beside 20,000 puts a second", Kind::BesideWriter)
        .both_modes(),
    workload("cold", "gets after the page cache was dropped", Kind::Cold),
    workload("limited", "gets with a quarter of the data as memory", Kind::Limited(1)),
    workload("limited_16", "the same by gets of 16 keys", Kind::Limited(16)),
    workload("fill_1k", "fill_random, values of 1 KB", SCATTERED).values(1024),
    workload("overwrite_1k", "overwrite, values of 1 KB", Kind::Overwrite).values(1024),
    workload("read_1k", "read_hit, values of 1 KB", Kind::Hit).values(1024).both_modes(),
    workload("scan_1k", "scan_100, values of 1 KB", Kind::Scan(100)).values(1024).both_modes(),
    workload("fill_16k", "fill_random, values of 16 KB", SCATTERED).values(16384),
    workload("overwrite_16k", "overwrite, values of 16 KB", Kind::Overwrite).values(16384),
    workload("read_16k", "read_hit, values of 16 KB", Kind::Hit).values(16384).both_modes(),
    workload("reopen", "open after kill -9 with a full log", Kind::Reopen).quick(),
    workload("growth_fill", "fill_random at growing sizes", SCATTERED),
    workload("growth_read", "read_hit at growing sizes", Kind::Hit),
];

/// The workload called `name`.
pub fn named(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}

impl Workload {
    /// Whether it leaves the entries as they were.
    pub fn reads_only(&self) -> bool {
        use ycsb::Mix;
        match self.kind {
            Kind::Hit | Kind::Miss | Kind::Zipf | Kind::Scan(_) | Kind::Cold => true,
            Kind::Limited(_) | Kind::Ycsb(Mix::C) => true,
            Kind::Fill { .. } | Kind::Batches(_) | Kind::Bulk | Kind::Overwrite => false,
            Kind::Delete | Kind::Puts | Kind::Ycsb(_) | Kind::BesideWriter | Kind::Reopen => false,
        }
    }

    /// Whether it only writes, so that amplifications mean something.
    pub fn writes_only(&self) -> bool {
        matches!(
            self.kind,
            Kind::Fill { .. } | Kind::Batches(_) | Kind::Bulk | Kind::Overwrite | Kind::Delete
        )
    }
}
