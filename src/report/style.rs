//! How a stream may be written to: with colour or not, with more than ASCII or not, live or line by line. Meaning never hangs on colour alone.

use std::io::IsTerminal;

/// What the environment says; taken as an argument so that tests need no process of their own.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The stream is a terminal.
    pub terminal: bool,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CI` is set and not empty.
    pub ci: bool,
    /// `TERM` is `dumb`.
    pub dumb: bool,
    /// The locale's characters are Unicode.
    pub unicode: bool,
}

impl Surroundings {
    /// Reads the environment of this process, for this stream.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        // The first of these that is set decides, as in every C program.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_default()
            .to_ascii_lowercase();
        Self {
            terminal: stream.is_terminal(),
            no_color: set("NO_COLOR"),
            ci: set("CI"),
            dumb: std::env::var_os("TERM").is_some_and(|term| term == "dumb"),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// How a stream is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Escape sequences for colour are allowed.
    pub colour: bool,
    /// Characters beyond ASCII are allowed.
    pub unicode: bool,
    /// The screen may be redrawn.
    pub live: bool,
}

impl Style {
    /// Neither colour, nor Unicode, nor redrawing.
    pub const PLAIN: Self = Self {
        colour: false,
        unicode: false,
        live: false,
    };

    /// What the surroundings allow.
    pub fn for_surroundings(surroundings: &Surroundings) -> Self {
        let capable = surroundings.terminal && !surroundings.dumb;
        Self {
            colour: capable && !surroundings.no_color,
            unicode: surroundings.unicode && !surroundings.dumb,
            live: capable && !surroundings.ci,
        }
    }

    /// What this process's environment allows on this stream.
    pub fn of(stream: &impl IsTerminal) -> Self {
        Self::for_surroundings(&Surroundings::of(stream))
    }

    /// The text in a colour, where there is any.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match (self.colour, tone.code()) {
            (true, Some(code)) => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            (true, None) | (false, _) => text.to_owned(),
        }
    }

    /// The mark in front of a line.
    pub fn glyph(self, mark: Mark) -> &'static str {
        let (unicode, ascii) = match mark {
            Mark::Waiting => ("·", "."),
            Mark::Running => ("▶", ">"),
            Mark::Done => ("✓", "+"),
            Mark::Merged => ("●", "*"),
            Mark::Failed => ("✗", "x"),
            Mark::Asking => ("?", "?"),
            Mark::Warning => ("!", "!"),
        };
        if self.unicode { unicode } else { ascii }
    }

    /// What stands where a text was cut.
    pub fn ellipsis(self) -> &'static str {
        if self.unicode { "…" } else { "..." }
    }

    /// Between a source and a target.
    pub fn arrow(self) -> &'static str {
        if self.unicode { "→" } else { "->" }
    }
}

/// What a colour stands for; a word or a mark always says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As any text.
    Normal,
    /// Of little interest.
    Faint,
    /// A heading.
    Strong,
    /// All is well.
    Good,
    /// Work goes on.
    Active,
    /// A human should look.
    Warning,
    /// It went wrong.
    Bad,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Normal => None,
            Self::Faint => Some("2"),
            Self::Strong => Some("1"),
            Self::Good => Some("32"),
            Self::Active => Some("36"),
            Self::Warning => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// A mark in front of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Not begun.
    Waiting,
    /// Under way.
    Running,
    /// Done, not merged.
    Done,
    /// Merged.
    Merged,
    /// Given up.
    Failed,
    /// Waits for an answer.
    Asking,
    /// Something to look at.
    Warning,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_and_redrawing_need_a_capable_terminal_and_leave() {
        let terminal = Surroundings {
            terminal: true,
            unicode: true,
            ..Surroundings::default()
        };
        let style = |surroundings: Surroundings| Style::for_surroundings(&surroundings);
        assert_eq!(
            style(terminal.clone()),
            Style {
                colour: true,
                unicode: true,
                live: true
            }
        );
        assert_eq!(
            style(Surroundings {
                no_color: true,
                ..terminal.clone()
            }),
            Style {
                colour: false,
                unicode: true,
                live: true
            }
        );
        assert_eq!(
            style(Surroundings {
                ci: true,
                ..terminal.clone()
            }),
            Style {
                colour: true,
                unicode: true,
                live: false
            }
        );
        assert_eq!(
            style(Surroundings {
                dumb: true,
                ..terminal.clone()
            }),
            Style::PLAIN
        );
        assert_eq!(
            style(Surroundings {
                terminal: false,
                ..terminal
            }),
            Style {
                colour: false,
                unicode: true,
                live: false
            }
        );
    }

    #[test]
    fn without_colour_the_text_is_untouched() {
        assert_eq!(Style::PLAIN.paint(Tone::Bad, "failed"), "failed");
        assert_eq!(
            Style {
                colour: true,
                ..Style::PLAIN
            }
            .paint(Tone::Bad, "failed"),
            "\u{1b}[31mfailed\u{1b}[0m"
        );
    }
}
