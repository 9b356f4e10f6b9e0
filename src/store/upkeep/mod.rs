//! Maintains an existing database: gives space back, looks for damage, makes backups, counts.

pub(crate) mod background;
pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod stat;
pub(crate) mod verify;
