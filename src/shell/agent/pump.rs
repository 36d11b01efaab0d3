//! Carries an agent's output into a file that cannot grow without end, and never makes the agent wait.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;

/// Read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Kept of what comes after the limit: the last words of an agent say how it ended.
const TAIL_BYTES: usize = 256 * 1024;

/// A file with a head of limited length, then a note, then the tail.
#[derive(Debug)]
struct BoundedFile {
    file: File,
    room_bytes: u64,
    tail: VecDeque<u8>,
    dropped_bytes: u64,
}

impl BoundedFile {
    fn write(&mut self, bytes: &[u8]) {
        let fitting = usize::try_from(self.room_bytes).unwrap_or(usize::MAX).min(bytes.len());
        let (head, rest) = bytes.split_at(fitting);
        self.room_bytes -= head.len() as u64;
        // A full disk must not stop the agent: what cannot be written is dropped, and counted.
        if self.file.write_all(head).is_err() {
            self.dropped_bytes += head.len() as u64;
            self.room_bytes = 0;
        }
        self.tail.extend(rest);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
        self.dropped_bytes += surplus as u64;
    }

    /// Writes the note and the tail, if anything was held back; gives the number of bytes that are nowhere.
    fn finish(mut self) -> u64 {
        if self.tail.is_empty() && self.dropped_bytes == 0 {
            return 0;
        }
        let tail: Vec<u8> = self.tail.into();
        // The tail starts in the middle of a line when something before it was dropped.
        let start = if self.dropped_bytes == 0 {
            0
        } else {
            tail.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1)
        };
        let dropped_bytes = self.dropped_bytes + start as u64;
        let note = if dropped_bytes == 0 {
            String::new()
        } else {
            format!("\n{{\"type\":\"orchestrate_dropped\",\"bytes\":{dropped_bytes}}}\n")
        };
        let written = self
            .file
            .write_all(note.as_bytes())
            .and_then(|()| self.file.write_all(&tail[start..]));
        if written.is_err() {
            dropped_bytes + (tail.len() - start) as u64
        } else {
            dropped_bytes
        }
    }
}

/// A pump that runs until the writers are gone, or until it is told to end.
#[derive(Debug)]
pub(super) struct Pump {
    task: tokio::task::JoinHandle<u64>,
    end: oneshot::Sender<()>,
}

impl Pump {
    /// Starts carrying from `source` to the end of `file`, of which at most `bytes_max` are written.
    pub(super) fn start(source: impl AsyncRead + Unpin + Send + 'static, file: File, bytes_max: u64) -> Self {
        let (end, ended) = oneshot::channel();
        let room_bytes = bytes_max.saturating_sub(file.metadata().map_or(0, |metadata| metadata.len()));
        let bounded = BoundedFile {
            file,
            room_bytes,
            tail: VecDeque::new(),
            dropped_bytes: 0,
        };
        Self {
            task: tokio::spawn(carry(source, bounded, ended)),
            end,
        }
    }

    /// Waits for the writers to be gone, but not longer than `patience`: somebody may have escaped with the pipe. Gives the bytes that were dropped.
    pub(super) async fn finish(self, patience: std::time::Duration) -> u64 {
        let Self { mut task, end } = self;
        if let Ok(dropped) = tokio::time::timeout(patience, &mut task).await {
            return dropped.unwrap_or(0);
        }
        // The task may have ended in this very moment.
        let _ = end.send(());
        task.await.unwrap_or(0)
    }
}

async fn carry(mut source: impl AsyncRead + Unpin, mut target: BoundedFile, mut ended: oneshot::Receiver<()>) -> u64 {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = tokio::select! {
            count = source.read(&mut chunk) => count,
            _ = &mut ended => Ok(0),
        };
        match count {
            Ok(0) | Err(_) => return target.finish(),
            Ok(count) => target.write(&chunk[..count]),
        }
    }
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test says what it expects by failing")]
mod tests {
    use super::*;

    fn written(bytes_max: u64, chunks: &[&[u8]]) -> (String, u64) {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let mut bounded = BoundedFile {
            file: file.reopen().expect("reopened"),
            room_bytes: bytes_max,
            tail: VecDeque::new(),
            dropped_bytes: 0,
        };
        for chunk in chunks {
            bounded.write(chunk);
        }
        let dropped = bounded.finish();
        (std::fs::read_to_string(file.path()).expect("text"), dropped)
    }

    #[test]
    fn output_below_the_limit_is_kept_as_it_is() {
        assert_eq!(written(100, &[b"one\n", b"two\n"]), ("one\ntwo\n".to_owned(), 0));
    }

    #[test]
    fn output_a_little_above_the_limit_is_kept_too_because_it_fits_the_tail() {
        assert_eq!(written(6, &[b"one\n", b"two\n"]), ("one\ntwo\n".to_owned(), 0));
    }

    #[test]
    fn output_far_above_the_limit_keeps_its_head_and_its_last_lines() {
        let flood = "x".repeat(99) + "\n";
        let mut chunks: Vec<&[u8]> = vec![b"first\n"];
        chunks.extend(std::iter::repeat_n(flood.as_bytes(), 10_000));
        chunks.push(b"last\n");
        let (text, dropped) = written(1_000, &chunks);
        assert!(text.starts_with("first\n") && text.ends_with("\nlast\n"));
        assert!(text.contains(&format!("{{\"type\":\"orchestrate_dropped\",\"bytes\":{dropped}}}")));
        assert!(text.len() < 1_000 + TAIL_BYTES + 100);
        assert!(dropped > 700_000);
    }
}
