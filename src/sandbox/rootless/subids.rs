//! The ids that an ordinary user may hand out: /etc/subuid and /etc/subgid, and the two programs that map them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::super::{probe::Lack, ranges::Ids};

/// A range of ids that belong to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) count: u32,
}

/// The subordinate ids of a user, and who maps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SubIds {
    pub(super) users: Span,
    pub(super) groups: Span,
    pub(super) newuidmap: PathBuf,
    pub(super) newgidmap: PathBuf,
}

impl SubIds {
    /// How many there are of both kinds.
    pub(super) fn count(&self) -> u32 {
        self.users.count.min(self.groups.count)
    }
}

/// Those of the user of this process.
pub(super) fn of_this_user() -> Result<SubIds, Lack> {
    let uid = rustix::process::getuid().as_raw();
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    let name = user.map(|user| user.name).unwrap_or_default();
    let spans = |path: &str| widest(&fs::read_to_string(path).unwrap_or_default(), &name, uid);
    let (Some(users), Some(groups)) = (spans("/etc/subuid"), spans("/etc/subgid")) else {
        return Err(needed(&name, uid));
    };
    let (Some(newuidmap), Some(newgidmap)) = (program("newuidmap"), program("newgidmap")) else {
        return Err(Lack {
            what: "newuidmap and newgidmap".to_owned(),
            how: "install uidmap (on Fedora: shadow-utils)".to_owned(),
        });
    };
    let found = SubIds { users, groups, newuidmap, newgidmap };
    if Ids::subordinate(found.count()).ranges() == 0 { Err(needed(&name, uid)) } else { Ok(found) }
}

fn needed(name: &str, uid: u32) -> Lack {
    let who = if name.is_empty() { uid.to_string() } else { name.to_owned() };
    Lack {
        what: format!("subordinate ids of {who} in /etc/subuid and /etc/subgid"),
        how: format!(
            "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}, with numbers that nobody has"
        ),
    }
}

/// The widest range of a user in a file of `name-or-id:first:count` lines.
fn widest(text: &str, name: &str, uid: u32) -> Option<Span> {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let owner = fields.next()?;
            let span = Span { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
            let fits = span.first.checked_add(span.count).is_some();
            let ours = (!name.is_empty() && owner == name) || owner.parse() == Ok(uid);
            (fits && ours).then_some(span)
        })
        .max_by_key(|span| span.count)
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin", "/usr/local/bin"].map(|dir| Path::new(dir).to_owned()))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_range_of_a_user_counts_by_name_or_id() {
        let text = "ada:100000:10\nbob:1:2\n1000:200000:65536\nada:4294967295:65536\nada:x:1\nada\n";
        assert_eq!(widest(text, "ada", 1000), Some(Span { first: 200_000, count: 65_536 }));
        assert_eq!(widest(text, "bob", 7), Some(Span { first: 1, count: 2 }));
        assert_eq!(widest(text, "", 7), None);
        assert!(needed("ada", 1000).how.contains("ada"));
    }
}
