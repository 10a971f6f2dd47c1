//! The write path: the line of commits ([`queue`]), the group that the owner of the log commits ([`group`]), the log
//! itself ([`log`]) and the judging of transactions ([`history`]).

pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod log;
pub(crate) mod queue;
