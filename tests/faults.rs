//! The faults of tests/faults still fit the generated system: each names requirements that exist, and its text is where it says, once.

#![expect(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// So many were promised.
const FAULTS_MIN: usize = 80;

#[derive(Deserialize)]
struct Faults {
    fault: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    name: String,
    about: String,
    requirements: Vec<String>,
    file: String,
    find: String,
    replace: String,
}

#[derive(Deserialize)]
struct Requirements {
    requirement: Vec<Requirement>,
}

#[derive(Deserialize)]
struct Requirement {
    id: String,
    checks: Vec<String>,
}

#[test]
fn every_fault_fits_the_generated_system_and_every_group_has_some() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(project.join("specs/requirements.toml")).unwrap();
    let requirements = toml::from_str::<Requirements>(&text).unwrap().requirement;
    let (mut names, mut groups) = (BTreeSet::new(), BTreeSet::new());
    for entry in fs::read_dir(project.join("tests/faults")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for fault in toml::from_str::<Faults>(&text).unwrap().fault {
            let file = project.join("generated").join(&fault.file);
            let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let count = text.matches(&fault.find).count();
            assert_eq!(
                count, 1,
                "the text of `{}` is {count} times in {}",
                fault.name, fault.file
            );
            assert_ne!(fault.find, fault.replace, "`{}` changes nothing", fault.name);
            assert!(
                fault.about.ends_with('.'),
                "`{}` says in a sentence what is wrong",
                fault.name
            );
            assert!(!fault.requirements.is_empty(), "`{}` violates nothing", fault.name);
            for id in &fault.requirements {
                assert!(
                    requirements.iter().any(|requirement| requirement.id == *id),
                    "`{}` names {id}, which does not exist",
                    fault.name
                );
                groups.extend(id.split_once('-').map(|(group, _)| group.to_owned()));
            }
            assert!(
                names.insert(fault.name.clone()),
                "there are two faults `{}`",
                fault.name
            );
        }
    }
    assert!(names.len() >= FAULTS_MIN, "{} faults", names.len());
    // What only files show is judged by fewer of them.
    let asked: BTreeSet<String> = requirements
        .iter()
        .filter(|requirement| requirement.checks.iter().any(|section| section != "static"))
        .filter_map(|requirement| requirement.id.split_once('-'))
        .map(|(group, _)| group.to_owned())
        .collect();
    let without: Vec<&String> = asked.difference(&groups).collect();
    assert!(without.is_empty(), "no fault in {without:?}");
}
