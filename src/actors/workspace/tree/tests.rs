use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

fn file(n: u8) -> Node {
    let blob = BlobRef { hash: [n; 32], key: format!("key-{n}"), size: u64::from(n) };
    Node::File { blob, executable: false }
}

fn ids() -> impl FnMut() -> Uuid {
    let mut n = 0_u128;
    move || {
        n += 1;
        Uuid::from_u128(n)
    }
}

fn shown(tree: &Tree) -> BTreeMap<String, Node> {
    tree.iter().map(|(_, entry)| (entry.path.to_string(), entry.row.node.clone())).collect()
}

#[test]
fn the_longest_path_is_made_and_moved_to() {
    let mut tree = Tree::default();
    let mut fresh = ids();
    let deep = "/a".repeat(path::PATH_BYTES / 2 - 1) + "/f";
    let id = tree.put(&deep, file(1), Over::Nothing, NOW, &mut fresh).unwrap();
    assert_eq!(tree.len(), path::PATH_BYTES / 2);
    let parents = tree.iter().map(|(id, entry)| (entry.row.parent, id)).collect::<Vec<_>>();
    assert!(parents.windows(2).all(|pair| pair[1].0 == Some(pair[0].1)), "each lies in the one above it");
    tree.move_to(id, &deep.replace("/a", "/b"), NOW, &mut fresh).unwrap();
    tree.put("/b", file(2), Over::All, NOW, &mut fresh).unwrap();
    tree.put(&deep.replace("/a", "/b"), file(3), Over::All, NOW, &mut fresh).unwrap();
    assert_eq!(tree.len(), path::PATH_BYTES - 1);
}

#[test]
fn a_put_makes_parents_and_respects_what_is_there() {
    let mut tree = Tree::default();
    let mut fresh = ids();
    let id = tree.put("/a/b/c", file(1), Over::Nothing, NOW, &mut fresh).unwrap();
    assert_eq!(tree.len(), 3);
    assert_eq!(tree.put("/a/b/c", file(2), Over::Nothing, NOW, &mut fresh), Err(TreeError::Exists("/a/b/c".into())));
    assert_eq!(tree.put("/a/b/c", file(2), Over::Files, NOW, &mut fresh), Ok(id), "it keeps its id");
    assert_eq!(tree.put("/a/b", file(2), Over::Files, NOW, &mut fresh), Err(TreeError::Exists("/a/b".into())));
    let below = tree.put("/a/b/c/d", file(3), Over::Files, NOW, &mut fresh);
    assert_eq!(below, Err(TreeError::NotADirectory("/a/b/c".into())));
    tree.put("/a/b/c/d", file(3), Over::All, NOW, &mut fresh).unwrap();
    assert!(tree.find("/a/b/c").unwrap().1.row.node.is_directory());
    tree.put("/a", file(4), Over::All, NOW, &mut fresh).unwrap();
    assert_eq!(tree.len(), 1);
}

#[test]
fn a_directory_moves_as_one_row() {
    let mut tree = Tree::default();
    let mut fresh = ids();
    tree.put("/a/x", file(1), Over::Nothing, NOW, &mut fresh).unwrap();
    tree.put("/a-b", file(2), Over::Nothing, NOW, &mut fresh).unwrap();
    tree.accept();
    let (a, _) = tree.find("/a").unwrap();
    assert_eq!(tree.move_to(a, "/a/y", NOW, &mut fresh), Err(TreeError::IntoItself));
    tree.move_to(a, "/c/d", NOW, &mut fresh).unwrap();
    let delta = tree.delta();
    assert_eq!(delta.put.len(), 2, "the directory and its new parent");
    assert_eq!(delta.removed.iter().map(|path| &**path).collect::<Vec<_>>(), ["/a", "/a/x"]);
    assert_eq!(tree.iter().map(|(_, e)| e.path.to_string()).collect::<Vec<_>>(), ["/a-b", "/c", "/c/d", "/c/d/x"]);
    tree.rollback();
    assert_eq!(tree.iter().map(|(_, e)| e.path.to_string()).collect::<Vec<_>>(), ["/a", "/a-b", "/a/x"]);
}

#[test]
fn a_replaced_content_is_freed() {
    let mut tree = Tree::default();
    let mut fresh = ids();
    tree.put("/f", file(1), Over::Nothing, NOW, &mut fresh).unwrap();
    tree.accept();
    tree.put("/f", file(2), Over::Files, NOW, &mut fresh).unwrap();
    assert_eq!(tree.delta().freed.iter().map(|blob| &*blob.key).collect::<Vec<_>>(), ["key-1"]);
}

#[derive(Debug, Clone)]
enum Op {
    Put(String, Option<u8>, Over),
    Remove(String),
    Move(String, String),
}

fn a_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "a-", "c"]), 1..4)
        .prop_map(|names| names.iter().fold(String::new(), |path, name| path + "/" + name))
}

fn an_op() -> impl Strategy<Value = Op> {
    let over = prop::sample::select(vec![Over::Nothing, Over::Files, Over::All]);
    prop_oneof![
        4 => (a_path(), prop::option::of(1..9_u8), over).prop_map(|(path, node, over)| Op::Put(path, node, over)),
        1 => a_path().prop_map(Op::Remove),
        2 => (a_path(), a_path()).prop_map(|(from, to)| Op::Move(from, to)),
    ]
}

/// The same operations on a plain map of paths.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model(BTreeMap<String, Node>);

impl Model {
    fn remove(&mut self, path: &str) {
        self.0.retain(|at, _| !path::is_within(at, path));
    }

    fn parents(&mut self, path: &str, over: Over) -> Result<(), ()> {
        let mut at = path;
        let mut above = Vec::new();
        while let Some(parent) = path::parent(at) {
            above.push(parent);
            at = parent;
        }
        for parent in above.into_iter().rev() {
            match self.0.get(parent) {
                Some(Node::Directory) => {}
                Some(_) if over != Over::All => return Err(()),
                _ => {
                    self.0.insert(parent.to_owned(), Node::Directory);
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, path: &str, node: Node, over: Over) -> Result<(), ()> {
        match self.0.get(path) {
            Some(Node::Directory) if node == Node::Directory && over != Over::Nothing => return Ok(()),
            Some(Node::Directory) if over != Over::All => return Err(()),
            Some(_) if over == Over::Nothing || (over == Over::Files && node == Node::Directory) => return Err(()),
            Some(_) => self.remove(path),
            None => {}
        }
        self.parents(path, over)?;
        self.0.insert(path.to_owned(), node);
        Ok(())
    }

    fn move_to(&mut self, from: &str, to: &str) -> Result<(), ()> {
        if !self.0.contains_key(from) || self.0.contains_key(to) || path::is_within(to, from) {
            return Err(());
        }
        self.parents(to, Over::Nothing)?;
        let moved: Vec<_> =
            self.0.iter().filter(|(at, _)| path::is_within(at, from)).map(|(at, n)| (at.clone(), n.clone())).collect();
        self.remove(from);
        self.0.extend(moved.into_iter().map(|(at, node)| (format!("{to}{}", &at[from.len()..]), node)));
        Ok(())
    }
}

proptest! {
    #[test]
    fn the_tree_is_a_map_of_paths(txns in prop::collection::vec((prop::collection::vec(an_op(), 1..5), any::<bool>()), 1..12)) {
        let mut tree = Tree::default();
        let mut model = Model::default();
        let mut rows: HashMap<Uuid, FileRow> = HashMap::new();
        let mut seen: BTreeMap<String, Uuid> = BTreeMap::new();
        let mut fresh = ids();
        for (ops, lands) in txns {
            let mut next = model.clone();
            let mut done = true;
            for op in ops {
                let (by_tree, by_model) = match op {
                    Op::Put(path, node, over) => {
                        let node = node.map_or(Node::Directory, file);
                        (tree.put(&path, node.clone(), over, NOW, &mut fresh).map_err(|_| ()).map(|_| ()), next.put(&path, node, over))
                    }
                    Op::Remove(path) => {
                        if let Some((id, _)) = tree.find(&path) {
                            tree.remove(id);
                        }
                        next.remove(&path);
                        (Ok(()), Ok(()))
                    }
                    Op::Move(from, to) => match tree.find(&from) {
                        Some((id, _)) => (tree.move_to(id, &to, NOW, &mut fresh).map_err(|_| ()), next.move_to(&from, &to)),
                        None => (Ok(()), Ok(())),
                    },
                };
                prop_assert_eq!(by_tree, by_model);
                if by_tree.is_err() {
                    done = false;
                    break;
                }
            }
            if done && lands {
                let delta = tree.delta();
                for id in &delta.put {
                    rows.insert(*id, tree.get(*id).unwrap().row.clone());
                }
                for id in &delta.gone {
                    rows.remove(id);
                }
                // What is told suffices to follow the tree.
                for path in &delta.removed {
                    seen.remove(&**path);
                }
                for id in &delta.changed {
                    seen.insert(tree.get(*id).unwrap().path.to_string(), *id);
                }
                tree.accept();
                model = next;
            } else {
                tree.rollback();
            }
            prop_assert_eq!(shown(&tree), model.0.clone());
            prop_assert_eq!(&seen, &tree.iter().map(|(id, e)| (e.path.to_string(), id)).collect::<BTreeMap<_, _>>());
            let loaded = Tree::load(rows.clone()).unwrap();
            prop_assert_eq!(shown(&loaded), model.0.clone(), "the rows make the same tree");
        }
        for prefix in ["/", "/a", "/a-", "/b/c"] {
            let listed: Vec<String> = tree.within(prefix, None).map(|(_, e)| e.path.to_string()).collect();
            let expected: Vec<String> = model.0.keys().filter(|path| path::is_within(path, prefix)).cloned().collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
