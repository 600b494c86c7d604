//! The stream's contract: what comes, in what order, once; and what a socket may cost.

mod binary;
mod closes;
mod flow;
mod input;
mod live;
mod messages;
mod resume;
mod retention;
mod roles;
mod text;
mod volume;
mod wire;
