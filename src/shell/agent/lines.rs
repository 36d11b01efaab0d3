//! Files and streams that agents write, as lines of bounded length.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// A longer line is counted and skipped: nothing that matters is that long, and memory is bounded.
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
    skipping: bool,
    overlong: u64,
}

impl LineSplitter {
    /// Hands every whole line in `bytes`, and in what came before, to `each`.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.pending.is_empty() {
                if line.len() > LINE_BYTES_MAX {
                    self.overlong += 1
                } else {
                    each(line)
                }
            } else {
                self.pending.extend_from_slice(line);
                // Taken, not cleared: one long line must not keep its memory for the rest of a long life.
                let whole = std::mem::take(&mut self.pending);
                if whole.len() > LINE_BYTES_MAX {
                    self.overlong += 1
                } else {
                    each(&whole)
                }
            }
        }
        if self.skipping {
            return;
        }
        if self.pending.len() + bytes.len() > LINE_BYTES_MAX {
            self.pending = Vec::new();
            self.skipping = true;
            self.overlong += 1;
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// How many lines were too long to be read.
    pub fn overlong(&self) -> u64 {
        self.overlong
    }

    /// Hands what stands behind the last line feed to `each`.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        let rest = std::mem::take(&mut self.pending);
        if !rest.is_empty() && !std::mem::take(&mut self.skipping) {
            each(&rest);
        }
    }
}

/// The last part of a text file, at most this many bytes; empty when it cannot be read.
pub fn end_of_file(path: &Path, bytes_max: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
        let mut text = Vec::new();
        file.take(bytes_max).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> (Vec<String>, u64) {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line| lines.push(String::from_utf8_lossy(line).into_owned()));
        }
        splitter.finish(|line| lines.push(String::from_utf8_lossy(line).into_owned()));
        (lines, splitter.overlong())
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        assert_eq!(
            split(&[b"one\ntw", b"o", b"\nthree"]),
            (vec!["one".into(), "two".into(), "three".into()], 0)
        );
        assert_eq!(
            split(&[b"\n\nx\n"]),
            (vec![String::new(), String::new(), "x".into()], 0)
        );
    }

    #[test]
    fn an_overlong_line_is_skipped_and_the_next_one_is_read() {
        let long = vec![b'x'; LINE_BYTES_MAX + 1];
        assert_eq!(split(&[&long, b"more\nnext\n"]), (vec!["next".into()], 1));
        let mut whole = long.clone();
        whole.extend(b"\nnext\n");
        assert_eq!(split(&[&whole]), (vec!["next".into()], 1));
        assert_eq!(
            split(&[&long[..LINE_BYTES_MAX], b"y\nnext\n"]),
            (vec!["next".into()], 1)
        );
        assert_eq!(split(&[b"first\n", &long]), (vec!["first".into()], 1));
    }
}
