//! The write path: the line of commits ([`queue`]), the group that the owner of the log commits ([`group`]), the log
//! itself ([`log`]), the next segment ([`spare`]), segments to be used again ([`retired`]), the judging of transactions
//! ([`history`]), and what a commit writes ([`writes`]).

pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod queue;
pub(crate) mod retired;
pub(crate) mod spare;
pub(crate) mod writes;
