//! Path patterns of the plan: what an actor may write, what it must deliver.

use globset::{GlobBuilder, GlobMatcher};

use super::error::GitError;

/// A list of patterns in gitignore's spirit: `*` stays within a directory, `**` crosses them, a slash at the end means everything below.
pub struct PathGlobs {
    patterns: Vec<(String, GlobMatcher)>,
}

impl PathGlobs {
    /// Compiles the patterns.
    pub fn new(patterns: &[String]) -> Result<Self, GitError> {
        let patterns = patterns
            .iter()
            .map(|pattern| {
                let text = pattern.strip_prefix("./").unwrap_or(pattern);
                let text = if text.ends_with('/') {
                    format!("{text}**")
                } else {
                    text.to_owned()
                };
                GlobBuilder::new(&text)
                    .literal_separator(true)
                    .build()
                    .map(|glob| (pattern.clone(), glob.compile_matcher()))
                    .map_err(|error| GitError::BadGlob {
                        pattern: pattern.clone(),
                        detail: error.kind().to_string(),
                    })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// Whether any pattern matches the path.
    pub fn matches(&self, path: &str) -> bool {
        self.patterns.iter().any(|(_, matcher)| matcher.is_match(path))
    }

    /// The patterns that no path matches, in their order.
    pub fn unmatched(&self, paths: &[String]) -> Vec<String> {
        self.patterns
            .iter()
            .filter(|(_, matcher)| !paths.iter().any(|path| matcher.is_match(path)))
            .map(|(pattern, _)| pattern.clone())
            .collect()
    }
}
