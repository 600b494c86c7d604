//! What a sandbox must refuse: each item of the list is tried inside a real sandbox, and must be denied.

mod agent;
mod filesystem;
mod kernel;
mod links;
mod namespaces;
mod network;
mod probe;
mod processes;
mod resources;
mod surroundings;
