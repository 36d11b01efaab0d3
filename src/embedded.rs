//! The shipped project, built into the program: the finished work that the replay agent commits, and the plan, prompts and specifications.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The finished work (`generated/`): path below it, and content; sorted by path.
pub fn files() -> &'static [(&'static str, &'static [u8])] {
    GENERATED
}

/// Whether this path of [`files`] is executable.
pub fn is_executable(path: &str) -> bool {
    GENERATED_EXECUTABLE.binary_search(&path).is_ok()
}

/// The project around it (`phases.yaml`, `prompts/`, `specs/`): path from the top, and content; sorted by path.
pub fn project() -> &'static [(&'static str, &'static [u8])] {
    PROJECT
}

/// Whether this path of [`project`] is executable.
pub fn is_project_executable(path: &str) -> bool {
    PROJECT_EXECUTABLE.binary_search(&path).is_ok()
}
