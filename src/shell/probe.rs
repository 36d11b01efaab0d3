//! Small questions to the machine: is a program there and what does it call itself, how much room is on a disk.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A program that says its version takes less, even from a cold disk.
const DEADLINE: Duration = Duration::from_secs(15);
/// What is read of an answer.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What a program answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is no such program.
    Missing,
    /// It did not end in time.
    Silent,
    /// It ended.
    Ended {
        /// With exit status 0.
        success: bool,
        /// What it printed, trimmed.
        output: String,
    },
}

/// Runs a program in a directory, with nothing on standard input, and waits for its answer.
pub fn ask(directory: &Path, program: &str, arguments: &[&str]) -> Answer {
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return Answer::Missing;
    };
    let Some(stdout) = child.stdout.take() else {
        return Answer::Silent;
    };
    let (sender, receiver) = mpsc::channel();
    // Reading happens aside, so that a program that neither prints nor ends cannot hold us.
    std::thread::spawn(move || {
        let mut output = Vec::new();
        let _ = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut output);
        let _ = sender.send(output);
    });
    match receiver.recv_timeout(DEADLINE) {
        Ok(output) => match child.wait() {
            Ok(status) => {
                let output = String::from_utf8_lossy(&output).trim().to_owned();
                Answer::Ended {
                    success: status.success(),
                    output,
                }
            }
            Err(_) => Answer::Silent,
        },
        Err(_) => {
            let _ = child.kill();
            let _ = child.wait();
            Answer::Silent
        }
    }
}

/// Where a program is found: by its path when it has a slash, else along `PATH`.
pub fn find_program(directory: &Path, program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    if program.contains('/') {
        return Some(directory.join(program)).filter(is_program);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|entry| entry.join(program))
        .find(is_program)
}

/// Bytes that a process without privileges may still write on the disk of `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether this process may make files in a directory.
pub fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_or_is_missing() {
        let here = Path::new("/");
        let answer = ask(here, "sh", &["-c", "echo ' hello '; exit 3"]);
        assert_eq!(
            answer,
            Answer::Ended {
                success: false,
                output: "hello".to_owned()
            }
        );
        assert_eq!(ask(here, "no-such-program-anywhere", &[]), Answer::Missing);
        assert!(find_program(here, "sh").is_some());
        assert!(find_program(here, "./etc").is_none(), "a directory is no program");
        assert!(find_program(here, "no-such-program-anywhere").is_none());
    }

    #[test]
    fn a_disk_has_some_room() {
        assert!(free_bytes(&std::env::temp_dir()).unwrap() > 0);
        assert!(free_bytes(Path::new("/no/such/place")).is_none());
    }
}
