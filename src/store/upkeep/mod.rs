//! Looking after a database that is there: giving space back, looking for damage, saving what is whole, copying,
//! counting.

pub(crate) mod background;
pub(crate) mod backup;
pub(crate) mod compact;
pub(crate) mod stat;
pub(crate) mod verify;
