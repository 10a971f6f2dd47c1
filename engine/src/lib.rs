//! An embeddable, durable, transactional LSM storage engine.
