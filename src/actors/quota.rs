//! What one user, workspace or sandbox may hold, so that no client can grow the stores, a node's memory or a host
//! without bound. Everything is refused as `quota_exceeded` (403) but idempotency keys, whose oldest go, and process
//! records, of which the ones that ended first go.
//!
//! What a program writes into its sandbox is bounded by the sandbox's disk, what it prints by the retention settings.

/// The most entries of one workspace's tree: it is held in memory whole, at some 500 bytes each.
pub const TREE_ENTRIES: usize = 200_000;
/// The most members of a workspace.
pub const MEMBERS: usize = 1_000;
/// The most share links of a workspace.
pub const LINKS: usize = 1_000;
/// The most people that the links of a workspace let in.
pub const GRANTS: usize = 10_000;
/// The most programs that run in one workspace's sandbox at once.
pub const RUNNING: usize = 256;
/// The most processes that a workspace lists; past it the ones that ended first go, with their output.
pub const LISTED: usize = 1_000;
/// The most answers that a workspace keeps under idempotency keys.
pub const ANSWERS: usize = 20_000;
/// The most answers that a sandbox keeps under idempotency keys.
pub const SANDBOX_ANSWERS: usize = 1_000;
/// The most workspaces that a user makes and deletes in a day, in those it may have: each leaves a mark for so long.
const DELETED_TIMES: usize = 4;

/// What depends on a user's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// The most workspaces that a user owns.
    pub workspaces: usize,
    /// The most bytes of a workspace's files that clients write; the default sandbox's disk has to hold them.
    pub tree_bytes: u64,
    /// The most sandboxes of the workspaces that a user owns, at a time.
    pub sandboxes: usize,
}

const FREE: Quota = Quota { workspaces: 5_000, tree_bytes: 8 << 30, sandboxes: 500 };
const PAID: Quota = Quota { workspaces: 50_000, tree_bytes: 16 << 30, sandboxes: 5_000 };

impl Quota {
    /// Of a tier; one that isn't known gets the least.
    #[must_use]
    pub fn of(tier: &str) -> &'static Self {
        if tier == "paid" { &PAID } else { &FREE }
    }

    /// How many deleted workspaces are remembered for a user before it has to wait.
    #[must_use]
    pub const fn deleted(&self) -> usize {
        self.workspaces * DELETED_TIMES
    }
}

const _: () = assert!(FREE.workspaces <= PAID.workspaces && FREE.tree_bytes <= PAID.tree_bytes);
const _: () = assert!(FREE.sandboxes <= PAID.sandboxes && LISTED >= RUNNING);
