//! `kill -9` of the server, of the host, of both: sandboxes go on, what died comes back, nothing numbered is lost or doubled.
//!
//! `PLAYHOUSE_KILLS` raises the number of kills.

mod counters;
mod crash;
mod files;
mod full;
mod harvest;
mod orphans;
mod reconnect;
mod starts;
mod torn;
