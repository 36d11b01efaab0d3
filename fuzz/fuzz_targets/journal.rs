//! Fuzzes `journal_record`: `cargo +nightly fuzz run journal`.
#![no_main]

#[path = "../targets.rs"]
#[allow(dead_code, reason = "one of its targets is used here")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::journal_record(bytes));
