//! Fuzzes `plan_text`: `cargo +nightly fuzz run plan`.
#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "one of its targets is used here")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::plan_text(bytes));
