//! Globs as automata, so that "can two of them match the same path" and "does one lie inside others" are decided, not guessed.
//!
//! The grammar is globset's with literal separators: `*` and `?` stay within a directory, `**` as a whole component crosses them, `[a-z]`, `{a,b}`, `\`.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// Longer globs are refused: they are mistakes.
const CHARACTERS_MAX: usize = 512;
/// `{a,{b,c}}` in each other.
const BRACES_MAX: usize = 8;

/// A glob that has been read.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// Transitions from each state; the last state accepts.
    states: Vec<State>,
    /// What every match starts with.
    prefix: String,
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Without reading anything.
    skips: Vec<usize>,
    /// Reading one character.
    reads: Vec<(Read, usize)>,
}

#[derive(Clone, Debug)]
enum Read {
    One(char),
    /// Any but `/`.
    Within,
    /// Any at all.
    Any,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Read {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::One(own) => *own == c,
            Self::Within => c != '/',
            Self::Any => true,
            Self::Class { negated, ranges } => ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated,
        }
    }
}

impl Glob {
    /// Reads a glob, or says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > CHARACTERS_MAX {
            return Err(format!("a glob has at most {CHARACTERS_MAX} characters"));
        }
        let characters: Vec<char> = text.chars().collect();
        let mut builder = Builder {
            characters: &characters,
            index: 0,
            states: vec![State::default()],
        };
        let end = builder.sequence(0, 0)?;
        if builder.index < characters.len() {
            return Err("a `}` closes nothing".to_owned());
        }
        let accept = builder.state();
        builder.skip(end, accept);
        let prefix = text.chars().take_while(|c| !"*?[{\\".contains(*c)).collect();
        Ok(Self {
            states: builder.states,
            prefix,
        })
    }

    /// Whether a path can exist that both match, decided cheaply; `true` means perhaps.
    pub(super) fn may_meet(&self, other: &Self) -> bool {
        self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix)
    }

    #[cfg(test)]
    fn matches(&self, path: &str) -> bool {
        let mut current = self.closure([0]);
        for c in path.chars() {
            current = self.step(&current, c);
        }
        self.accepts(&current)
    }

    fn closure(&self, start: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = start.into_iter().collect();
        while let Some(state) = open.pop() {
            if found.insert(state) {
                open.extend(
                    self.states
                        .get(state)
                        .into_iter()
                        .flat_map(|state| state.skips.iter().copied()),
                );
            }
        }
        found
    }

    fn step(&self, current: &BTreeSet<usize>, c: char) -> BTreeSet<usize> {
        let next = current
            .iter()
            .filter_map(|state| self.states.get(*state))
            .flat_map(|state| {
                state
                    .reads
                    .iter()
                    .filter(|(read, _)| read.takes(c))
                    .map(|(_, target)| *target)
            });
        self.closure(next.collect::<Vec<_>>())
    }

    fn accepts(&self, current: &BTreeSet<usize>) -> bool {
        current.contains(&(self.states.len() - 1))
    }

    /// Characters that stand for all that the glob can tell apart.
    fn alphabet(&self, into: &mut BTreeSet<char>) {
        for (read, _) in self.states.iter().flat_map(|state| &state.reads) {
            match read {
                Read::One(c) => {
                    into.insert(*c);
                }
                Read::Class { ranges, .. } => {
                    for (low, high) in ranges {
                        into.extend([*low, *high]);
                        into.extend(neighbour(*low, false));
                        into.extend(neighbour(*high, true));
                    }
                }
                Read::Within | Read::Any => {}
            }
        }
    }
}

fn neighbour(c: char, after: bool) -> Option<char> {
    let code = u32::from(c);
    if after {
        code.checked_add(1)
    } else {
        code.checked_sub(1)
    }
    .and_then(char::from_u32)
}

/// Steps that comparisons of globs may still take together. A plan made to waste time runs out of them, and is refused.
#[derive(Debug)]
pub(super) struct Effort(pub(super) u64);

/// There were too many globs, or too intricate ones, to compare.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exhausted;

impl Effort {
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }
}

/// A path that both match, the shortest there is; `None` when there is none.
pub(super) fn meeting(one: &Glob, other: &Glob, effort: &mut Effort) -> Result<Option<String>, Exhausted> {
    effort.spend(1)?;
    if !one.may_meet(other) {
        return Ok(None);
    }
    search(&[one, other], effort, |accepted| {
        accepted.iter().all(|accepted| *accepted)
    })
}

/// A path that `inner` matches and none of `outer` does; `None` when `inner` lies inside them altogether.
pub(super) fn outside(inner: &Glob, outer: &[Glob], effort: &mut Effort) -> Result<Option<String>, Exhausted> {
    let globs: Vec<&Glob> = std::iter::once(inner)
        .chain(outer.iter().filter(|outer| inner.may_meet(outer)))
        .collect();
    search(&globs, effort, |accepted| {
        accepted.first() == Some(&true) && !accepted.iter().skip(1).any(|accepted| *accepted)
    })
}

/// Breadth first through the product of the automata, until what they accept together is what is sought. The first glob must stay alive.
fn search(globs: &[&Glob], effort: &mut Effort, sought: impl Fn(&[bool]) -> bool) -> Result<Option<String>, Exhausted> {
    let mut letters: BTreeSet<char> = ['/', 'x'].into();
    for glob in globs {
        glob.alphabet(&mut letters);
    }
    // One that no glob names stands for all the others.
    letters.extend(
        ('a'..='z')
            .chain('\u{e000}'..='\u{e0ff}')
            .find(|c| !letters.contains(c)),
    );
    letters.remove(&'\0');
    let start: Vec<BTreeSet<usize>> = globs.iter().map(|glob| glob.closure([0])).collect();
    let mut seen: HashMap<Vec<BTreeSet<usize>>, usize> = HashMap::from([(start.clone(), 0)]);
    // Where each state was reached from, to spell the path.
    let mut trail: Vec<(usize, char)> = vec![(0, '\0')];
    let mut open = VecDeque::from([(start, 0)]);
    while let Some((current, index)) = open.pop_front() {
        // A path has no empty component; those paths exist for the automata only.
        let path = spelled(&trail, index);
        let accepted: Vec<bool> = globs
            .iter()
            .zip(&current)
            .map(|(glob, states)| glob.accepts(states))
            .collect();
        if sought(&accepted) && !path.is_empty() && !path.ends_with('/') {
            return Ok(Some(path));
        }
        for letter in &letters {
            if *letter == '/' && (path.is_empty() || path.ends_with('/')) {
                continue;
            }
            effort.spend(1 + current.iter().map(|states| states.len() as u64).sum::<u64>())?;
            let next: Vec<BTreeSet<usize>> = globs
                .iter()
                .zip(&current)
                .map(|(glob, states)| glob.step(states, *letter))
                .collect();
            if next.first().is_none_or(BTreeSet::is_empty) {
                continue;
            }
            let known = trail.len();
            // The last letter matters too: after a slash, another may not follow.
            let mut key = next.clone();
            key.push(BTreeSet::from([usize::from(*letter == '/')]));
            if seen.insert(key, known).is_none() {
                trail.push((index, *letter));
                open.push_back((next, known));
            }
        }
    }
    Ok(None)
}

fn spelled(trail: &[(usize, char)], mut index: usize) -> String {
    let mut reversed = Vec::new();
    while index != 0 {
        let Some((before, letter)) = trail.get(index) else {
            break;
        };
        reversed.push(*letter);
        index = *before;
    }
    reversed.iter().rev().collect()
}

struct Builder<'t> {
    characters: &'t [char],
    index: usize,
    states: Vec<State>,
}

impl Builder<'_> {
    fn state(&mut self) -> usize {
        self.states.push(State::default());
        self.states.len() - 1
    }

    fn skip(&mut self, from: usize, to: usize) {
        if let Some(state) = self.states.get_mut(from) {
            state.skips.push(to);
        }
    }

    fn read(&mut self, from: usize, read: Read, to: usize) {
        if let Some(state) = self.states.get_mut(from) {
            state.reads.push((read, to));
        }
    }

    fn peek(&self) -> Option<char> {
        self.characters.get(self.index).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.index += 1;
        Some(c)
    }

    /// Reads until the end, or until a `,` or `}` that belongs to a brace around it; gives the state it ends in.
    fn sequence(&mut self, mut at: usize, depth: usize) -> Result<usize, String> {
        while let Some(c) = self.peek() {
            if c == '}' || depth > 0 && c == ',' {
                return Ok(at);
            }
            let component_start = self.index == 0 || self.characters.get(self.index - 1) == Some(&'/');
            self.index += 1;
            at = match c {
                '*' if self.peek() == Some('*') => self.double_star(at, component_start)?,
                '*' => {
                    self.read(at, Read::Within, at);
                    let next = self.state();
                    self.skip(at, next);
                    next
                }
                '?' => self.one(at, Read::Within),
                '[' => {
                    let class = self.class()?;
                    self.one(at, class)
                }
                '{' => self.brace(at, depth)?,
                '\\' => {
                    let escaped = self.next().ok_or("a `\\` stands before nothing")?;
                    self.one(at, Read::One(escaped))
                }
                c => self.one(at, Read::One(c)),
            };
        }
        if depth > 0 {
            Err("a `{` is not closed".to_owned())
        } else {
            Ok(at)
        }
    }

    fn one(&mut self, at: usize, read: Read) -> usize {
        let next = self.state();
        self.read(at, read, next);
        next
    }

    /// `**/` is nothing or any directories; `/**` at the end is anything inside; elsewhere the stars are ordinary ones.
    fn double_star(&mut self, at: usize, component_start: bool) -> Result<usize, String> {
        self.index += 1;
        let star = self.state();
        self.skip(at, star);
        let next = self.state();
        match self.peek() {
            Some('/') if component_start => {
                self.index += 1;
                self.read(star, Read::Any, star);
                self.read(star, Read::One('/'), next);
                self.skip(at, next);
                Ok(next)
            }
            None if component_start => {
                self.read(star, Read::Any, star);
                self.read(star, Read::Any, next);
                Ok(next)
            }
            Some(_) | None => Err("`**` must be a whole component: `a/**`, `**/b`, `a/**/b`".to_owned()),
        }
    }

    fn class(&mut self) -> Result<Read, String> {
        let unclosed = || "a `[` is not closed".to_owned();
        let negated = matches!(self.peek(), Some('!' | '^'));
        if negated {
            self.index += 1;
        }
        let mut ranges = Vec::new();
        loop {
            let low = self.next().ok_or_else(unclosed)?;
            if low == ']' && !ranges.is_empty() {
                return Ok(Read::Class { negated, ranges });
            }
            let upper = self.characters.get(self.index + 1).copied();
            if self.peek() == Some('-') && upper.is_some_and(|upper| upper != ']') {
                self.index += 1;
                let high = self.next().ok_or_else(unclosed)?;
                if high < low {
                    return Err(format!("the range `{low}-{high}` is the wrong way round"));
                }
                ranges.push((low, high));
            } else {
                ranges.push((low, low));
            }
        }
    }

    fn brace(&mut self, at: usize, depth: usize) -> Result<usize, String> {
        if depth >= BRACES_MAX {
            return Err(format!("braces may be {BRACES_MAX} deep"));
        }
        let end = self.state();
        loop {
            let branch = self.state();
            self.skip(at, branch);
            let branch_end = self.sequence(branch, depth + 1)?;
            self.skip(branch_end, end);
            match self.next() {
                Some(',') => {}
                Some('}') => return Ok(end),
                Some(_) | None => return Err("a `{` is not closed".to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(text: &str) -> Glob {
        Glob::parse(text).unwrap()
    }

    fn meet(one: &str, other: &str) -> Option<String> {
        meeting(&glob(one), &glob(other), &mut Effort(1_000_000)).unwrap()
    }

    #[test]
    fn globs_that_share_a_path_meet_and_name_it() {
        assert_eq!(meet("src/**", "src/auth/*.rs").as_deref(), Some("src/auth/.rs"));
        assert_eq!(meet("**/*.ts", "tests/**").as_deref(), Some("tests/.ts"));
        assert_eq!(meet("a/{b,c}/*", "a/[c-d]/x").as_deref(), Some("a/c/x"));
        assert_eq!(
            meet(
                "infrastructure/database/*",
                "infrastructure/database/migrations/002-logs.sql"
            ),
            None
        );
        assert_eq!(meet("docs/*.md", "docs/api/*.md"), None);
        assert_eq!(meet("a/**/b", "a/b").as_deref(), Some("a/b"));
        assert_eq!(meet("a/**", "a"), None);
        assert_eq!(meet("[!a]x", "ax"), None);
    }

    #[test]
    fn a_glob_lies_inside_others_or_shows_a_path_that_does_not() {
        let lies = |inner: &str, outer: &[&str]| {
            let outer: Vec<Glob> = outer.iter().map(|text| glob(text)).collect();
            outside(&glob(inner), &outer, &mut Effort(1_000_000)).unwrap()
        };
        assert_eq!(lies("tests/auth/**/*.test.ts", &["tests/auth/**"]), None);
        assert_eq!(lies("a/{b,c}", &["a/b", "a/c"]), None);
        assert_eq!(lies("a/*", &["a/b"]).as_deref(), Some("a/a"));
        assert_eq!(lies("docs/*.md", &["docs/**", "src/**"]), None);
        assert_eq!(lies("src/main.rs", &["docs/**"]).as_deref(), Some("src/main.rs"));
    }

    #[test]
    fn broken_globs_say_what_is_wrong() {
        for bad in ["a[", "a{b", "b}", "x**", "**x", "a\\", "[z-a]", "{{{{{{{{{a}}}}}}}}}"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
    }

    /// The oracle is the crate that decides at run time.
    #[test]
    fn globs_match_what_globset_matches() {
        let pieces = [
            "a", "b", "*", "?", "**", "/", "/", "[ab]", "[!a]", "{a,b}", "{a/,*}", ".", "**/", "/**",
        ];
        let paths: Vec<String> = (0..4_usize.pow(5))
            .map(|mut number| {
                let mut path = String::new();
                for _ in 0..5 {
                    path.push_str(["a", "b", "/", ""][number % 4]);
                    number /= 4;
                }
                path
            })
            .filter(|path| !path.is_empty() && !path.starts_with('/') && !path.ends_with('/') && !path.contains("//"))
            .collect();
        let mut seed: u64 = 1;
        let mut compared = 0;
        for _ in 0..600 {
            let mut text = String::new();
            for _ in 0..5 {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            let Ok(own) = Glob::parse(&text) else { continue };
            let Ok(theirs) = globset::GlobBuilder::new(&text).literal_separator(true).build() else {
                continue;
            };
            let theirs = theirs.compile_matcher();
            for path in &paths {
                compared += 1;
                assert_eq!(own.matches(path), theirs.is_match(path), "{text} on {path}");
            }
        }
        assert!(compared > 10_000);
    }
}
