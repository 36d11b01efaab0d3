//! What the integration tests share.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]
#![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

pub mod agents;
pub mod claude;
pub mod endpoint;
