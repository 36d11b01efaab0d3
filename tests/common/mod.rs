//! What several integration tests share.

pub(crate) mod story;
pub(crate) mod told;
