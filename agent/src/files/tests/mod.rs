//! The whole of it on real directories, against a node that keeps a tree.

mod convergence;
mod environment;
mod hostile;
mod lacking;
mod node;
mod reports;
