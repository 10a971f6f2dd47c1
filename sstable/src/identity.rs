//! The check that opening a database makes of each of its sstables: the file is there, has its length and its identity.
//! The rest of the file is judged when it is first used.

use std::io;
use std::path::Path;

use esker_base::names::FileKind;
use esker_base::{Error, Result};
use esker_vfs::{Fs, OpenMode};

use crate::format::{HEADER_LEN, decode_header};
use crate::reader::{Identity, defect_at};
