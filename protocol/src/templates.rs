//! The templates a workspace can be made from.

/// A template: what its sandboxes find, and how its programs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Its name in the API.
    pub name: &'static str,
    /// One line for people.
    pub description: &'static str,
    /// What the Run button runs; `{file}` stands for the open file's path within `/workspace`.
    pub run_command: &'static str,
    /// Folders that tools make and that are kept with the environment, not in the tree.
    pub generated_folders: &'static [&'static str],
    /// The host's toolchains that it needs, by name.
    pub toolchains: &'static [&'static str],
}

/// Folders that are generated whatever the template.
const ALWAYS: &[&str] = &["node_modules", ".venv", "venv", "target", "__pycache__", ".pytest_cache", ".mypy_cache"];

/// Every template, the default first.
pub const TEMPLATES: &[Template] = &[
    Template {
        name: "python",
        description: "Python 3 with pip",
        run_command: "python3 {file}",
        generated_folders: ALWAYS,
        toolchains: &["python"],
    },
    Template {
        name: "node",
        description: "Node.js with npm",
        run_command: "node {file}",
        generated_folders: ALWAYS,
        toolchains: &["node"],
    },
    Template {
        name: "rust",
        description: "Rust with cargo",
        run_command: "cargo run",
        generated_folders: ALWAYS,
        toolchains: &["rust"],
    },
    Template {
        name: "go",
        description: "Go",
        run_command: "go run {file}",
        generated_folders: ALWAYS,
        toolchains: &["go"],
    },
    Template {
        name: "blank",
        description: "A shell and the usual tools",
        run_command: "sh {file}",
        generated_folders: ALWAYS,
        toolchains: &[],
    },
];

/// The template with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.name == name)
}
