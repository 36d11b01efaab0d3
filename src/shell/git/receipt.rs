//! The receipt of a landing: written as trailers of the merge commit, read back by everyone who wants proof.

use sha2::{Digest as _, Sha256};

use crate::core::command::LandMerge;
use crate::core::event::GateOutcome;
use crate::ids::Oid;
use crate::plan::Gate;
use crate::tags::Message;

const RUN: &str = "Orchestrate-Run";
const SOURCE: &str = "Orchestrate-Source";
const ONTO: &str = "Orchestrate-Onto";
const TREE: &str = "Orchestrate-Tree";
const GATE: &str = "Orchestrate-Gate";
const GATE_COMMAND: &str = "Orchestrate-Gate-Command";
const GATE_RESULT: &str = "Orchestrate-Gate-Result";
const GATE_DURATION: &str = "Orchestrate-Gate-Duration-Ms";

/// Longer commands are told by their digest alone.
const COMMAND_MAX_BYTES: usize = 500;

/// The SHA-256 of a gate's command, in hexadecimal.
pub fn digest_of(text: &str) -> String {
    hexadecimal(&Sha256::digest(text.as_bytes()))
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a landed merge says about its gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LandedGate {
    /// The plan had no gate at that level.
    None,
    /// The command with this digest passed.
    Passed {
        /// SHA-256 of the command.
        digest: String,
        /// It failed once before it passed on the same tree.
        flaky: bool,
    },
}

/// A receipt as it stands in a merge commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LandedReceipt {
    /// The run that landed it.
    pub run_id: String,
    /// The commit that was merged: the second parent.
    pub source: Oid,
    /// Where the target stood: the first parent.
    pub onto: Oid,
    /// The tree that the gate ran on.
    pub tree: Oid,
    /// The gate.
    pub gate: LandedGate,
    /// How long the gate ran, in milliseconds.
    pub duration_ms: u64,
}

impl LandedReceipt {
    /// Reads the receipt of a commit message; says what is wrong when there is none or it is not whole.
    pub fn read(message: &Message) -> Result<Self, String> {
        let value = |key: &str| {
            message
                .trailer(key)
                .map(str::to_owned)
                .ok_or_else(|| format!("the trailer {key} is missing"))
        };
        let digest = value(GATE)?;
        let gate = match (digest.as_str(), value(GATE_RESULT)?.as_str()) {
            ("none", "none") => LandedGate::None,
            (_, "passed") => LandedGate::Passed { digest, flaky: false },
            (_, "flaky") => LandedGate::Passed { digest, flaky: true },
            (_, other) => return Err(format!("the gate's result is `{other}`")),
        };
        Ok(Self {
            run_id: value(RUN)?,
            source: Oid::new(value(SOURCE)?),
            onto: Oid::new(value(ONTO)?),
            tree: Oid::new(value(TREE)?),
            gate,
            duration_ms: value(GATE_DURATION)?
                .parse()
                .map_err(|_| format!("the trailer {GATE_DURATION} is not a number"))?,
        })
    }
}

/// The message of a landing's commit, with its receipt.
pub(super) fn message_of(land: &LandMerge) -> String {
    let (digest, command) = match &land.receipt.gate {
        Gate::None => ("none".to_owned(), None),
        Gate::Command(command) => (digest_of(command), Some(command.trim())),
    };
    let result = match &land.receipt.outcome {
        None => "none",
        Some(GateOutcome::Passed) => "passed",
        Some(GateOutcome::Flaky) => "flaky",
        Some(GateOutcome::Failed { .. }) => "failed",
        Some(GateOutcome::TimedOut { .. }) => "timed-out",
    };
    let mut text = format!(
        "{}\n\n{RUN}: {}\n{SOURCE}: {}\n{ONTO}: {}\n{TREE}: {}\n{GATE}: {digest}\n",
        land.subject, land.receipt.run_id, land.source, land.onto, land.tree
    );
    if let Some(command) =
        command.filter(|command| !command.contains(['\n', '\r']) && command.len() <= COMMAND_MAX_BYTES)
    {
        text.push_str(&format!("{GATE_COMMAND}: {command}\n"));
    }
    text.push_str(&format!(
        "{GATE_RESULT}: {result}\n{GATE_DURATION}: {}\n",
        land.receipt.duration_ms
    ));
    text
}

/// Whether the proof allows the landing: what the gate said fits what the plan demands.
pub(super) fn proves(land: &LandMerge) -> bool {
    match (&land.receipt.gate, &land.receipt.outcome) {
        (Gate::None, None) => true,
        (Gate::Command(_), Some(outcome)) => outcome.passes(),
        (Gate::None, Some(_)) | (Gate::Command(_), None) => false,
    }
}
