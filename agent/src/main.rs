//! The init process of every sandbox.
#![allow(dead_code)]

mod environment;
mod files;

fn main() {}
