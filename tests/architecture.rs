//! The architecture, tested: who may import whom, who alone may name which library, and that every file is short and used.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A top-level module, and the crate's modules that it may name.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("invariant", &[]),
    ("seldom", &[]),
    ("sandbox", &[]),
    ("host", &["seldom", "sandbox"]),
    ("doctor", &["sandbox"]),
    ("cluster", &[]),
    ("store", &["clock"]),
    ("actors", &["clock", "invariant", "seldom", "cluster", "store"]),
    ("http", &["clock", "cluster", "store", "actors", "config"]),
    ("config", &["store", "actors"]),
    ("control", &["clock", "actors", "http", "store", "config", "operator", "server"]),
    ("operator", &["clock", "cluster", "store", "actors", "http", "config", "control", "server"]),
    ("server", &["clock", "sandbox", "host", "cluster", "store", "actors", "http", "config", "control", "operator"]),
    ("bench", &[]),
];

/// A library, and the only module that may name it.
const ONLY_IN: &[(&str, &str)] = &[
    ("redb", "src/store/metadata"),
    ("opendal", "src/store/blobs"),
    ("ractor_cluster", "src/cluster"),
    ("libcontainer", "src/sandbox"),
    ("bincode", "protocol"),
];

/// No file is longer; one that wants to be holds two concepts.
const LINES: usize = 700;

fn sources(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from(dir)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no sources below {dir:?}");
    found
}

/// A file's code: without comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a source");
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The crate's modules that a piece of code names, in paths and in `use crate::{…}` groups.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0;
            let mut word = String::new();
            for character in group.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    ',' if depth == 0 => word.clear(),
                    _ if depth == 0 && (character.is_alphanumeric() || character == '_') => word.push(character),
                    ':' if depth == 0 && !word.is_empty() => {
                        named.insert(std::mem::take(&mut word));
                    }
                    _ => {}
                }
            }
        } else {
            named.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    named
}

#[test]
fn imports_go_one_way() {
    for (module, may) in MAY_IMPORT {
        let dir = format!("src/{module}");
        let mut files = if Path::new(&dir).is_dir() { sources(&dir) } else { Vec::new() };
        files.extend(Some(PathBuf::from(format!("src/{module}.rs"))).filter(|file| file.exists()));
        assert!(!files.is_empty(), "no module {module}");
        for file in files {
            for named in named_modules(&code(&file)) {
                let known = MAY_IMPORT.iter().any(|(other, _)| *other == named);
                assert!(
                    !known || named == *module || may.contains(&named.as_str()),
                    "{}: {module} must not name {named}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn every_module_has_its_place_in_the_direction() {
    let lib = fs::read_to_string("src/lib.rs").expect("lib.rs");
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        assert!(MAY_IMPORT.iter().any(|(known, _)| *known == module), "say what {module} may import");
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    for file in ["src", "agent/src", "protocol/src", "quiet/src"].iter().flat_map(|dir| sources(dir)) {
        let code = code(&file);
        for (library, place) in ONLY_IN {
            let names = code.contains(&format!("{library}::"));
            assert!(!names || file.starts_with(place), "{}: only {place} may name {library}", file.display());
        }
    }
}

#[test]
fn no_file_holds_two_concepts() {
    for file in ["src", "agent", "protocol", "quiet", "tests"].iter().flat_map(|dir| sources(dir)) {
        let lines = fs::read_to_string(&file).expect("a source").lines().count();
        assert!(lines <= LINES, "{}: {lines} lines", file.display());
    }
}

#[test]
fn every_file_is_a_module() {
    for dir in ["src", "agent/src", "protocol/src", "quiet/src"] {
        let files = sources(dir);
        let all: String = files.iter().map(|file| code(file)).collect::<Vec<_>>().join("\n");
        for file in files {
            let stem = file.file_stem().and_then(|stem| stem.to_str()).expect("a name");
            let name = if stem == "mod" {
                file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a folder")
            } else {
                stem
            };
            let declared = ["main", "lib", "src"].contains(&name)
                || all.contains(&format!("mod {name};"))
                || all.contains(&format!("#[path = \"{stem}.rs\"]"));
            assert!(declared, "{}: no module of that name is declared", file.display());
        }
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled apart, so that this file is not its own finding.
    let words = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("TO", "DO:"),
        concat!("FIX", "ME"),
    ];
    for file in ["src", "agent", "protocol", "quiet", "tests"].iter().flat_map(|dir| sources(dir)) {
        let text = fs::read_to_string(&file).expect("a source");
        for word in words {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}
