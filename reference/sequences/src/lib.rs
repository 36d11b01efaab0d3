//! Request sequences for two implementations at once, and what it means that they answer the same.
//!
//! Nothing here knows how a request travels: whoever compares two hosts sends the requests of [`steps`] to both and gives both answers to [`same`].

pub mod same;
pub mod shrink;
pub mod steps;

pub use same::Same;
pub use steps::{Known, Step, sequence};

/// The seed data's superadmin.
pub const ROOT: &str = "00000000-0000-4000-8000-000000000001";
/// The seed data's user, who has been given `production`.
pub const USER: &str = "00000000-0000-4000-8000-000000000002";

/// The tables, each before those that it references.
pub const TABLES: [&str; 8] = [
    "logs",
    "usage_logs",
    "api_keys",
    "projects",
    "user_instance_access",
    "users",
    "instances",
    "organizations",
];
