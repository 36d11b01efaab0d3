//! The stable codes of findings, and the page behind each.

/// A code of a finding, for example `E0201`. It never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(&'static str);

impl Code {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// What there is to say about a code.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Which.
    pub code: Code,
    /// Markdown; the first line is `# CODE: title`.
    pub text: &'static str,
}

impl Page {
    /// The page's title without the code.
    pub fn title(&self) -> &'static str {
        let heading = self.text.lines().next().unwrap_or_default();
        heading.split_once(": ").map_or(heading, |(_, title)| title)
    }
}

/// The page of a code, written in any case.
pub fn page(code: &str) -> Option<&'static Page> {
    PAGES
        .iter()
        .find(|page| page.code.as_str().eq_ignore_ascii_case(code.trim()))
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        $($(#[$doc])* pub const $name: Code = Code($code);)*

        /// Every page, in the order of the codes.
        pub const PAGES: &[Page] = &[
            $(Page { code: $name, text: include_str!(concat!("codes/", $code, ".md")) },)*
        ];
    };
}

codes! {
    /// Not YAML.
    SYNTAX = "E0101",
    /// Too large, too deep, too many of something.
    TOO_MUCH = "E0102",
    /// A key that the format does not have.
    UNKNOWN_KEY = "E0103",
    /// A key that must be there is not.
    MISSING_KEY = "E0104",
    /// A key twice in one mapping.
    DUPLICATE_KEY = "E0105",
    /// A list where a text belongs, and the like.
    WRONG_TYPE = "E0106",
    /// The right type in the wrong form: a duration without a unit, and the like.
    MALFORMED_VALUE = "E0107",
    /// An id with a character that ids cannot have.
    INVALID_ID = "E0108",
    /// A number out of its range.
    OUT_OF_RANGE = "E0109",
    /// A list that must hold something is empty.
    EMPTY_LIST = "E0110",
    /// A text that must say something is empty.
    EMPTY_TEXT = "E0111",
    /// A version of the format that this program does not know.
    UNSUPPORTED_VERSION = "E0112",
    /// A level without a gate that does not say so.
    GATE_LEFT_OUT = "E0113",
    /// A key that the driver needs is missing.
    DRIVER_NEEDS = "E0114",
    /// A path or glob that can never match a file of the repository.
    INVALID_PATH = "E0115",
    /// The plan cannot be read.
    UNREADABLE = "E0116",
    /// An id twice.
    DUPLICATE_ID = "E0201",
    /// A phase needs a phase that does not exist.
    UNKNOWN_PHASE = "E0202",
    /// An agent needs somebody who does not exist.
    UNKNOWN_AGENT = "E0203",
    /// Phases wait for each other.
    PHASE_CYCLE = "E0204",
    /// Agents wait for each other.
    AGENT_CYCLE = "E0205",
    /// A need on another team that can never be met.
    UNREACHABLE_NEED = "E0206",
    /// Two on one branch.
    SHARED_BRANCH = "E0207",
    /// Not a branch name.
    INVALID_BRANCH = "E0208",
    /// Branch names that cannot exist beside each other.
    NESTED_BRANCH = "E0209",
    /// Two own the same path.
    OVERLAPPING_OWNERSHIP = "E0210",
    /// A deliverable that its agent may not write.
    FOREIGN_DELIVERABLE = "E0211",
    /// The prompts' directory is missing.
    MISSING_PROMPTS = "E0301",
    /// A prompt's file is missing.
    MISSING_PROMPT = "E0302",
    /// The specifications' directory is missing or empty.
    MISSING_SPECS = "E0303",
    /// A template that does not parse.
    TEMPLATE_SYNTAX = "E0304",
    /// A template uses a variable that does not exist.
    UNKNOWN_VARIABLE = "E0305",
    /// A template includes or extends one that does not exist.
    UNKNOWN_TEMPLATE = "E0306",
    /// A template that parses but does not render.
    TEMPLATE_FAILS = "E0307",
    /// Something in `workspace` that has no effect.
    UNUSED_WORKSPACE = "W0101",
    /// A key of another driver.
    UNUSED_SETTING = "W0102",
    /// The same need twice.
    REPEATED_NEED = "W0201",
    /// A prompt that does not tell how the work is completed.
    SILENT_PROMPT = "W0301",
}
