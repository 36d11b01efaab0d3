//! The long-lived `git update-ref --stdin`: one process for all changes of refs, each a transaction of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::GitError;
use super::process::base_command;
use super::repository::Git;

/// git itself gives up on a locked ref after a second; hooks of the user may take longer.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How long git may take to give its locks back.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What the reflog says of every change. The commit that a branch moves to says the rest.
const REASON: &str = "orchestrate";

/// The process between two transactions.
pub(super) struct RefProcess {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

/// A change of refs between its lock and its commit. Dropping it before ends the process, which gives the lock back and changes nothing.
pub(super) struct RefTransaction<'a> {
    process: RefProcess,
    /// Where the process waits for the next transaction.
    home: &'a Mutex<Option<RefProcess>>,
}

impl Git {
    /// Begins a change of refs.
    pub(super) fn ref_transaction(&self) -> Result<RefTransaction<'_>, GitError> {
        // Whoever finds the place empty starts a process of its own: transactions of different refs need not wait for each other.
        let waiting = self
            .ref_process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .and_then(RefProcess::if_alive);
        let process = match waiting {
            Some(process) => process,
            None => RefProcess::start(&self.top_level)?,
        };
        Ok(RefTransaction {
            process,
            home: &self.ref_process,
        })
    }

    /// One change of one ref, in the words of `git update-ref --stdin`.
    pub(super) fn change_ref(&self, line: &str) -> Result<(), GitError> {
        let mut transaction = self.ref_transaction()?;
        transaction.prepare(line)?;
        transaction.commit()
    }
}

impl RefTransaction<'_> {
    /// Locks the ref and verifies its old value.
    pub(super) fn prepare(&mut self, line: &str) -> Result<(), GitError> {
        self.process.say(&format!("start\n{line}\nprepare\n"))?;
        self.process.expect("start: ok")?;
        self.process.expect("prepare: ok")
    }

    /// Makes the change.
    pub(super) fn commit(mut self) -> Result<(), GitError> {
        self.process.say("commit\n")?;
        self.process.expect("commit: ok")?;
        let replaced = self
            .home
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(self.process);
        // One that came back meanwhile ends here, when nobody waits for the place any more.
        drop(replaced);
        Ok(())
    }
}

impl RefProcess {
    fn start(directory: &Path) -> Result<Self, GitError> {
        let mut child = base_command(directory)
            .args(["update-ref", "-m", REASON, "--stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| GitError::Missing { source })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(GitError::Failed {
                command: "update-ref".to_owned(),
                detail: "no pipes".to_owned(),
            });
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            child,
            stdin: Some(stdin),
            lines,
        })
    }

    /// The process, unless somebody ended it while it waited.
    fn if_alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    fn say(&mut self, text: &str) -> Result<(), GitError> {
        let said = self
            .stdin
            .as_mut()
            .is_some_and(|stdin| stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).is_ok());
        if said { Ok(()) } else { Err(self.failure()) }
    }

    fn expect(&mut self, wanted: &str) -> Result<(), GitError> {
        match self.lines.recv_timeout(TRANSACTION_TIMEOUT) {
            Ok(line) if line == wanted => Ok(()),
            Ok(_) | Err(_) => Err(self.failure()),
        }
    }

    fn failure(&mut self) -> GitError {
        self.end();
        let mut detail = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            // What cannot be read cannot be told.
            let _ = stderr.read_to_string(&mut detail);
        }
        GitError::Failed {
            command: "update-ref --stdin".to_owned(),
            detail: detail.trim().to_owned(),
        }
    }

    /// Ends the process through the end of its input: then it gives its locks back, which it could not when it were killed.
    fn end(&mut self) {
        drop(self.stdin.take());
        let deadline = Instant::now() + END_PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if Instant::now() > deadline {
                // It fails only when the process is gone by now.
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for RefProcess {
    fn drop(&mut self) {
        self.end();
    }
}
